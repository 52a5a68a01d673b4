"""Messages that wait for one project and endpoint, and the groups in which they are posted."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from pytest_langfuse.tracing.delivery.export_body import ExportBody, halves
from pytest_langfuse.tracing.forward.post_formats import PostFormat
from pytest_langfuse.tracing.forward.project_keys import Project
from pytest_langfuse.tracing.forward.queue_source import QueueMessage
from pytest_langfuse.tracing.monotonic import now

#: So many spans at most in one request, however small they are.
MOST_SPANS = 4096


class Part(NamedTuple):
    """A message, or some of its spans."""

    message: QueueMessage
    data: bytes
    #: Spans, or scores.
    items: int


@dataclass(slots=True, eq=False)
class Group:
    """Parts that are posted as one request."""

    lane: Lane
    parts: list[Part]
    size: int
    #: Failures that this group alone may have caused, and what the lane had had accepted at the first and the last.
    tries: int = 0
    accepted_before: int = 0
    accepted_last: int = 0
    #: It is not sent again before.
    not_before: float = 0.0
    #: The number of pauses that there had been when it was sent.
    pauses: tuple[int, int] = (0, 0)
    #: Not 0 if a share is sent in place of all: the number of such probes so far.
    probes: int = 0
    #: Of a probe: the group that it is a share of, which waits for the answer.
    rest: Group | None = None
    waits_for_probe: bool = False
    #: In place of parts: what was accepted before, and is sent again to see whether anything is.
    control: bytes = b""

    @property
    def items(self) -> int:
        """Spans, or scores."""
        return sum(part.items for part in self.parts)

    @property
    def data(self) -> list[bytes]:
        """The content of the request."""
        return [self.control] if self.control else [part.data for part in self.parts]

    @property
    def suspect(self) -> bool:
        """True if others were accepted since it failed for the first time."""
        return bool(self.tries) and self.lane.accepted > self.accepted_before

    def due(self, at: float) -> bool:
        """Return whether it may be sent now."""
        return self.not_before <= at and not self.waits_for_probe

    def failed(self) -> None:
        """Count a failure that this group may have caused."""
        accepted = self.lane.accepted
        if not self.tries:
            self.accepted_before = accepted
        self.tries += 1
        self.accepted_last = accepted

    def split(self) -> list[Group]:
        """Return two halves; itself if it has one span or score only."""
        if len(self.parts) > 1:
            middle = len(self.parts) // 2
            return [self._with(self.parts[:middle]), self._with(self.parts[middle:])]
        halved = _halved(self.parts[0])
        return [self._with([part]) for part in halved] if len(halved) > 1 else [self]

    def probe(self) -> Group:
        """Take out the share that is to be sent next: halves in turn, then quarters, and so on, then all again.

        A group of which one message makes Langfuse fail looks as one that is sent to a Langfuse that is down; a share
        without that message does not. Shares are joined again (`rejoin`), so that an outage leaves one group.
        """
        shares = 2 ** ((self.probes + 1).bit_length() - 1)
        if shares > self.items:
            self.probes = 0
            return self
        while len(self.parts) < shares and (divided := [half for part in self.parts for half in _halved(part)]):
            if len(divided) == len(self.parts):
                break
            self.parts = divided
        share = -(-len(self.parts) // shares)
        if share == len(self.parts):
            return self
        probe = self._with(self.parts[:share])
        probe.rest, self.waits_for_probe = self, True
        self.hold(self.parts[share:])
        return probe

    def release(self) -> None:
        """Of a probe that was answered: the others need not wait any more."""
        if self.rest is not None:
            self.rest.waits_for_probe, self.rest.probes, self.rest = False, 0, None

    def rejoin(self) -> Group:
        """Of a probe that failed: return the group that it was taken from, with it at the end, to be sent."""
        whole = self.rest
        if whole is None:
            return self
        whole.waits_for_probe = False
        whole.hold([*whole.parts, *self.parts])
        if whole in self.lane.again:
            self.lane.again.remove(whole)
        return whole

    def take_leaving(self) -> list[Part]:
        """Take out, and return, what belongs to partitions that are taken away."""
        taken = [part for part in self.parts if part.message.partition.leaving]
        if taken:
            self.hold([part for part in self.parts if not part.message.partition.leaving])
        return taken

    def hold(self, parts: list[Part]) -> None:
        """Take these parts in place of those it has."""
        self.parts, self.size = parts, _size(parts)

    def _with(self, parts: list[Part]) -> Group:
        return Group(self.lane, parts, _size(parts), self.tries, self.accepted_before, self.accepted_last)


def _halved(part: Part) -> list[Part]:
    """Return the halves of a part; itself if it has one span or score, or can't be read."""
    message, data, items = part
    if items <= 1:
        return [part]
    try:
        bodies = halves(ExportBody(data, items))
    except Exception:  # noqa: BLE001 - protobuf's own error class has no types; it can't be read, so not be split
        return [part]
    message.open_parts += len(bodies) - 1
    return [Part(message, body.data, body.spans) for body in bodies]


@dataclass(eq=False)
class Lane:
    """Parts for one project and endpoint: those that were never sent, and groups that have to be sent again."""

    project: Project
    posts: PostFormat
    #: Bytes of one request: fewer after an answer that it was too large.
    largest: int
    fresh: deque[Part] = field(default_factory=deque)
    again: deque[Group] = field(default_factory=deque)
    #: Of `fresh`.
    size: int = 0
    items: int = 0
    #: When the oldest of `fresh` came.
    since: float = 0.0
    #: Nothing is sent before; how often in a row it was put off; and how often in all.
    not_before: float = 0.0
    failures: int = 0
    pauses: int = 0
    in_flight: int = 0
    #: Requests that were accepted, and the smallest part of the last of them.
    accepted: int = 0
    proven: bytes = b""
    #: What was accepted is to be sent again, to see whether it still is.
    wants_control: bool = False
    #: Why this project's key is refused, why its rate is limited, why nobody answers; empty while it is not so.
    refused: str = ""
    limited: str = ""
    failing: str = ""
    _fresh_is_next: bool = False

    def add(self, part: Part) -> None:
        """Append a part."""
        if not self.fresh:
            self.since = now()
        self.fresh.append(part)
        self.size += len(part.data)
        self.items += part.items

    def took(self, group: Group) -> None:
        """Note that a group was accepted."""
        self.accepted += 1
        if group.parts:
            self.proven = min((part.data for part in group.parts), key=len)

    @property
    def busy(self) -> bool:
        """True while something is to be sent, or on the wire."""
        return self.waits() or bool(self.in_flight)

    def waits(self) -> bool:
        """Return whether something is to be sent."""
        return bool(self.fresh or self.again or self.wants_control)

    def ready(self, at: float, linger: float) -> bool:
        """Return whether there is something to send now: what is small waits `linger` seconds for more."""
        if at < self.not_before or (self.failures and self.in_flight):
            return False
        if self.wants_control or any(group.due(at) for group in self.again):
            return True
        full = self.size >= self.largest or self.items >= MOST_SPANS
        return bool(self.fresh) and (full or at - self.since >= linger)

    def cut(self, at: float) -> Group:
        """Return the next group: new parts and groups that failed take turns, so that neither stops the other."""
        if self.wants_control:
            self.wants_control = False
            return Group(self, [], len(self.proven), control=self.proven)
        self._fresh_is_next = not self._fresh_is_next
        due = None if self._fresh_is_next and self.fresh else self._due(at)
        return self._cut_fresh() if due is None else due

    def _due(self, at: float) -> Group | None:
        for group in self.again:
            if group.due(at):
                sent = group.probe() if group.probes else group
                if sent is group:
                    self.again.remove(group)
                return sent
        return None

    def _cut_fresh(self) -> Group:
        parts: list[Part] = []
        size = items = 0
        fresh, largest = self.fresh, self.largest
        while fresh:
            part = fresh[0]
            if parts and (size + len(part.data) > largest or items + part.items > MOST_SPANS):
                break
            fresh.popleft()
            parts.append(part)
            size += len(part.data)
            items += part.items
        self.size -= size
        self.items -= items
        self.since = now()
        return Group(self, parts, size)

    def take_leaving(self) -> list[Part]:
        """Take out and return what belongs to partitions that are taken away."""
        taken = [part for part in self.fresh if part.message.partition.leaving]
        kept = [part for part in self.fresh if not part.message.partition.leaving]
        self.fresh, self.size, self.items = deque(kept), _size(kept), sum(part.items for part in kept)
        for group in self.again:
            taken += group.take_leaving()
        self.again = deque(group for group in self.again if group.parts)
        return taken


def _size(parts: list[Part]) -> int:
    return sum(len(part.data) for part in parts)
