"""A queue as the forwarder reads it: its messages, and the partitions that this process has."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pytest_langfuse.tracing.log_text import readable

#: Names of headers (Kafka) and attributes (SQS) of a message.
PUBLIC_KEY_HEADER = "x-langfuse-public-key"
TYPE_HEADER = "x-langfuse-type"
DEAD_REASON_HEADER = "x-langfuse-dead-reason"
DEAD_DETAIL_HEADER = "x-langfuse-dead-detail"
DEAD_STATUS_HEADER = "x-langfuse-dead-status"

#: The type of a message that has no `x-langfuse-type`, and that of a score.
SPANS, SCORE = "spans", "score"


class AssignedPartition:
    """A partition from its assignment to this process until it is revoked, and which of its messages are open.

    Messages are opened in the order of their positions and done in any order. For one thread.
    """

    __slots__ = ("_done", "_open", "leaving", "next", "number", "revoked")

    def __init__(self, number: int) -> None:
        self.number = number
        #: It is being taken away: what of it is not on the wire must not be sent any more.
        self.leaving = False
        #: Another process may have it now: nothing of it can be committed here.
        self.revoked = False
        #: The position behind the last message of which all before it are done; `None` before the first.
        self.next: int | None = None
        self._open: deque[int] = deque()
        self._done: set[int] = set()

    @property
    def open(self) -> int:
        """The number of positions from the oldest open one on."""
        return len(self._open)

    @property
    def oldest(self) -> int | None:
        """The position of the oldest open message; `None` without one."""
        return self._open[0] if self._open else None

    def opened(self, position: int) -> None:
        """Add a message that was read."""
        self._open.append(position)

    def done(self, position: int) -> None:
        """Settle a message: it was delivered, dead-lettered or dropped on purpose."""
        waiting = self._open
        if not waiting or waiting[0] != position:
            self._done.add(position)
            return
        settled = self._done
        self.next = waiting.popleft() + 1
        while waiting and waiting[0] in settled:
            settled.discard(waiting[0])
            self.next = waiting.popleft() + 1


@dataclass(slots=True, eq=False)
class QueueMessage:
    """A message of a queue: encoded spans, or a score."""

    body: bytes
    #: The trace id in 32 hex digits, as bytes; `None` if the queue has no keys.
    key: bytes | None
    #: As they came, for the dead letter.
    headers: Sequence[tuple[str, bytes | None]]
    #: The project; empty if the message names none.
    public_key: str
    #: `SPANS`, `SCORE`, or a type that nobody knows.
    kind: str
    partition: AssignedPartition
    position: int
    #: When the broker got it, in seconds since 1970.
    time: float
    #: Parts of it that are neither delivered nor dead-lettered.
    open_parts: int = 1
    #: A part of it was dropped, because its partition was taken away: it comes again, to whoever has that now.
    dropped: bool = False

    @property
    def title(self) -> str:
        """Text for logs that names this message."""
        name = f"message {self.position} of partition {self.partition.number}"
        return f"{name} (key {readable(self.key.decode('utf-8', 'replace'), 40)})" if self.key else name


class DeadLetter(NamedTuple):
    """A message, or a part of one, that nobody takes, and why."""

    message: QueueMessage
    body: bytes
    #: In lower case: `http_400`, `unknown_project`.
    reason: str
    detail: str
    #: The HTTP status; `None` if it was never sent.
    status: int | None


class AssignmentWatcher(Protocol):
    """Is told, in the thread that polls, which partitions this process has."""

    def assigned(self, assignments: Sequence[AssignedPartition]) -> None:
        """Partitions came."""

    def revoked(self, assignments: Sequence[AssignedPartition]) -> None:
        """Partitions go; until this returns, no other process gets them, and what is done can be committed."""

    def lost(self, assignments: Sequence[AssignedPartition]) -> None:
        """Partitions are gone: others may have them already."""


class QueueSource(Protocol):
    """A queue that the forwarder drains. All methods are called in one thread.

    A message stays open until it is acknowledged; open messages come again after a crash, or to another process.
    """

    #: For messages: the queue's address, without secrets.
    name: str

    def start(self, watcher: AssignmentWatcher) -> None:
        """Connect. Partitions come later, through `watcher`, during `poll`."""

    def poll(self, most: int, timeout: float) -> list[QueueMessage]:
        """Return at most so many messages; wait `timeout` seconds for them, and let the watcher know of changes.

        Raises:
            SourceFailed: The queue can't be read any more, whatever is tried.
        """

    def acknowledge(self, messages: Iterable[QueueMessage]) -> None:
        """Note that messages are done. Those of revoked assignments are passed over."""

    def commit(self, *, wait: bool) -> None:
        """Let the queue know what is done: everything up to the oldest open message. `wait`: until it has noted it."""

    def pause(self) -> None:
        """Return no messages from `poll` until `resume`."""

    def resume(self) -> None:
        """Return messages again."""

    def bury(self, letter: DeadLetter, stored: Callable[[str | None], None]) -> None:
        """Store a dead letter. `stored` gets `None`, or the error, in this call, `confirm_letters` or `poll`."""

    def confirm_letters(self) -> None:
        """Call `stored` for the dead letters of which the outcome is known now."""

    def lag(self) -> int | None:
        """Return how many messages wait that were not acknowledged; `None` if it is unknown."""

    def problems(self) -> list[str]:
        """Return why nothing is read now, a sentence each; nothing while it is, or would be if there were messages.

        A process without partitions, because others have all of them, stands by: that is not a problem.
        """

    def at_end(self) -> bool:
        """Return whether all was read that was there when the partitions came; false before they have come."""

    def close(self, timeout: float) -> None:
        """Leave the queue, within `timeout` seconds; what is done was committed before."""


class SourceFailed(Exception):  # noqa: N818 - ends the command with its text
    """The queue can't be read any more."""
