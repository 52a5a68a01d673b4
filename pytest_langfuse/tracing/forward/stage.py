"""The place between the queue and Langfuse where messages may be held, changed or dropped: for sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pytest_langfuse.tracing.forward.queue_source import AssignedPartition, QueueMessage


class Staged(NamedTuple):
    """The decisions of a stage. A message that is in neither is held: the queue commits nothing beyond it."""

    #: To be delivered. A stage may replace `body`, not the other fields.
    deliver: Sequence[QueueMessage]
    #: Dropped on purpose; they count as done.
    drop: Sequence[QueueMessage]


class Stage(Protocol):
    """Sees each message before it is delivered. For one thread: that of the forwarder."""

    def take(self, messages: Sequence[QueueMessage], *, last: bool = False, read: bool = True) -> Staged:
        """Take what was read, often nothing, and return what is decided now, of these messages or earlier ones.

        It is called several times a second, so that time can decide. `last`: nothing more comes, decide on everything.
        `read`: the queue was asked for messages; without, that there are none means nothing.
        """

    @property
    def held(self) -> int:
        """The number of messages that are not decided on."""

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that it holds."""

    @property
    def message_overhead(self) -> int:
        """Bytes of memory that a message takes while it is held, beside its body."""

    @property
    def full(self) -> bool:
        """True if nothing more should be read for now."""

    def problems(self) -> list[str]:
        """Return why nothing is decided now, a sentence each."""

    def assigned(self, assignments: Sequence[AssignedPartition]) -> None:
        """This process got partitions; their messages come next."""

    def revoked(self, assignments: Sequence[AssignedPartition]) -> None:
        """This process loses partitions: forget their messages, which come again to whoever has the partition next."""

    def close(self) -> None:
        """Release what it holds."""


class EverythingPasses:
    """The stage without sampling."""

    held = held_bytes = message_overhead = 0
    full = False

    def take(self, messages: Sequence[QueueMessage], *, last: bool = False, read: bool = True) -> Staged:  # noqa: ARG002
        """See `Stage`."""
        return Staged(messages, ())

    def problems(self) -> list[str]:
        """See `Stage`."""
        return []

    def assigned(self, assignments: Sequence[AssignedPartition]) -> None:
        """See `Stage`."""

    def revoked(self, assignments: Sequence[AssignedPartition]) -> None:
        """See `Stage`."""

    def close(self) -> None:
        """See `Stage`."""
