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
    #: Failures that this group alone may have caused, and how much had been accepted at the first of them.
    tries: int = 0
    accepted_before: int = 0
    #: It is not sent again before.
    not_before: float = 0.0
    #: The number of pauses that there had been when it was sent.
    pauses: tuple[int, int] = (0, 0)

    @property
    def items(self) -> int:
        """Spans, or scores."""
        return sum(part.items for part in self.parts)

    def split(self) -> list[Group]:
        """Return two halves; itself if it has one span or score only."""
        if len(self.parts) > 1:
            middle = len(self.parts) // 2
            return [self._with(self.parts[:middle]), self._with(self.parts[middle:])]
        message, data, items = self.parts[0]
        if items <= 1:
            return [self]
        try:
            bodies = halves(ExportBody(data, items))
        except Exception:  # noqa: BLE001 - protobuf's own error class has no types; it can't be read, so not be split
            return [self]
        message.open_parts += len(bodies) - 1
        return [self._with([Part(message, body.data, body.spans)]) for body in bodies]

    def _with(self, parts: list[Part]) -> Group:
        return Group(self.lane, parts, _size(parts), self.tries, self.accepted_before)


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
    #: Why this project's key is refused; empty while it is not.
    refused: str = ""
    _fresh_is_next: bool = False

    def add(self, part: Part) -> None:
        """Append a part."""
        if not self.fresh:
            self.since = now()
        self.fresh.append(part)
        self.size += len(part.data)
        self.items += part.items

    def waits(self) -> bool:
        """Return whether something is to be sent."""
        return bool(self.fresh or self.again)

    def ready(self, at: float, linger: float) -> bool:
        """Return whether there is something to send now: what is small waits `linger` seconds for more."""
        if at < self.not_before or (self.failures and self.in_flight):
            return False
        if any(group.not_before <= at for group in self.again):
            return True
        full = self.size >= self.largest or self.items >= MOST_SPANS
        return bool(self.fresh) and (full or at - self.since >= linger)

    def cut(self, at: float) -> Group:
        """Return the next group: new parts and groups that failed take turns, so that neither stops the other."""
        self._fresh_is_next = not self._fresh_is_next
        due = None if self._fresh_is_next and self.fresh else self._due(at)
        return self._cut_fresh() if due is None else due

    def _due(self, at: float) -> Group | None:
        for group in self.again:
            if group.not_before <= at:
                self.again.remove(group)
                return group
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
            taken += take_leaving(group)
        self.again = deque(group for group in self.again if group.parts)
        return taken


def take_leaving(group: Group) -> list[Part]:
    """Take out of a group, and return, what belongs to partitions that are taken away."""
    taken = [part for part in group.parts if part.message.partition.leaving]
    if taken:
        group.parts = [part for part in group.parts if not part.message.partition.leaving]
        group.size = _size(group.parts)
    return taken


def _size(parts: list[Part]) -> int:
    return sum(len(part.data) for part in parts)
