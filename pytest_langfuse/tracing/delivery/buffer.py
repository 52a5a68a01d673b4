"""Encoded spans that wait for Langfuse, in memory, within bounds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pytest_langfuse.tracing.delivery.export_body import ExportBody, without_oldest


@dataclass(slots=True, eq=False)
class Batch:
    """A body in a buffer."""

    body: ExportBody
    key: int = 0
    #: To be sent without others, after Langfuse refused it together with them.
    alone: bool = False
    #: How often the server answered it with an internal error (5xx).
    tries: int = 0
    #: How many requests had been accepted at the first of these.
    since: int = 0


class BufferFailed(Exception):  # noqa: N818 - reads as what happened
    """The storage of a buffer failed: the disk is full, or its file can't be read or written."""


class Buffer(Protocol):
    """Holds bodies until they are sent. All methods are thread-safe; counts include what was taken and not yet removed.

    Any method may raise `BufferFailed`; then nothing has changed.
    """

    #: Whether what is in it outlives the process.
    durable: bool

    def put(self, body: ExportBody) -> int:
        """Add a body, and return how many spans were dropped to make room, the oldest first."""

    def take(self, spans: int, size: int) -> list[Batch]:
        """Return the oldest batches: at most so many spans and bytes in total, but at least one batch if there is any.

        They stay in the buffer until `remove`, and are given to nobody else until `give_back`.
        """

    def remove(self, batches: Sequence[Batch]) -> None:
        """Remove batches that were delivered or given up."""

    def give_back(self, batches: Sequence[Batch], *, last: bool = False) -> None:
        """Return batches that are to be tried again, before all others or, with `last`, after them."""

    def replace(self, batch: Batch, bodies: Sequence[ExportBody]) -> None:
        """Replace a taken batch by its parts."""

    def counts(self) -> tuple[int, int]:
        """Return the spans and the bytes in it."""

    def recover(self) -> Iterator[int]:
        """Take over what earlier processes left, and yield the number of spans of each part. May wait for the disk."""

    def close(self) -> None:
        """Release what the buffer holds."""

    def before_fork(self) -> None:
        """Close what must not be open over a fork."""

    def after_fork_in_parent(self) -> None:
        """Open it again."""

    def after_fork(self) -> None:
        """Start empty in a forked child: what waits is the parent's to send."""


class MemoryBuffer:
    """A `Buffer` that ends with the process."""

    durable = False

    def __init__(self, *, max_spans: int, max_bytes: int) -> None:
        self._max_spans, self._max_bytes = max_spans, max_bytes
        self._lock = threading.Lock()
        self._waiting: deque[Batch] = deque()
        self._spans = self._bytes = 0

    def put(self, body: ExportBody) -> int:
        """See `Buffer`. A body that is too large for the buffer is itself what has to go."""
        with self._lock:
            dropped = self._make_room(body)
            if self._spans + body.spans > self._max_spans or self._bytes + len(body.data) > self._max_bytes:
                return dropped + body.spans
            self._waiting.append(self._counted(Batch(body)))
            return dropped

    def take(self, spans: int, size: int) -> list[Batch]:
        """See `Buffer`."""
        with self._lock:
            taken: list[Batch] = []
            while self._waiting:
                first = self._waiting[0]
                spans -= first.body.spans
                size -= len(first.body.data)
                if taken and (first.alone or spans < 0 or size < 0):
                    break
                taken.append(self._waiting.popleft())
                if first.alone:
                    break
            return taken

    def remove(self, batches: Sequence[Batch]) -> None:
        """See `Buffer`."""
        with self._lock:
            for batch in batches:
                self._discounted(batch)

    def give_back(self, batches: Sequence[Batch], *, last: bool = False) -> None:
        """See `Buffer`."""
        with self._lock:
            if last:
                self._waiting.extend(batches)
            else:
                self._waiting.extendleft(reversed(batches))

    def replace(self, batch: Batch, bodies: Sequence[ExportBody]) -> None:
        """See `Buffer`."""
        with self._lock:
            self._discounted(batch)
            self._waiting.extendleft(self._counted(Batch(body)) for body in reversed(bodies))

    def counts(self) -> tuple[int, int]:
        """See `Buffer`."""
        with self._lock:
            return self._spans, self._bytes

    def recover(self) -> Iterator[int]:
        """See `Buffer`. Nothing outlives a process."""
        return iter(())

    def close(self) -> None:
        """See `Buffer`."""

    def before_fork(self) -> None:
        """See `Buffer`."""

    def after_fork_in_parent(self) -> None:
        """See `Buffer`."""

    def after_fork(self) -> None:
        """See `Buffer`."""
        self._lock = threading.Lock()
        self._waiting = deque()
        self._spans = self._bytes = 0

    def _make_room(self, body: ExportBody) -> int:
        dropped = 0
        while self._waiting and (
            self._spans + body.spans > self._max_spans or self._bytes + len(body.data) > self._max_bytes
        ):
            oldest = self._waiting.popleft()
            self._discounted(oldest)
            excess = self._spans + oldest.body.spans + body.spans - self._max_spans
            if 0 < excess < oldest.body.spans and self._bytes + len(body.data) <= self._max_bytes:
                # No more than has to go: the rest of the oldest batch stays.
                rest = without_oldest(oldest.body, excess)
                if self._bytes + len(rest.data) + len(body.data) <= self._max_bytes:
                    self._waiting.appendleft(self._counted(replace(oldest, body=rest)))
                    return dropped + excess
            dropped += oldest.body.spans
        return dropped

    def _counted(self, batch: Batch) -> Batch:
        self._spans += batch.body.spans
        self._bytes += len(batch.body.data)
        return batch

    def _discounted(self, batch: Batch) -> None:
        self._spans -= batch.body.spans
        self._bytes -= len(batch.body.data)
