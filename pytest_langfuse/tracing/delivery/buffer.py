"""Encoded spans that wait for Langfuse, within bounds: in memory, or in a storage that a subclass adds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pytest_langfuse.tracing.delivery import owner
from pytest_langfuse.tracing.delivery.export_body import ExportBody, without_oldest
from pytest_langfuse.tracing.delivery.owner import Owner
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger


@dataclass(slots=True, eq=False)
class Batch:
    """A body in a buffer."""

    #: Without its bytes while these are in the storage only.
    body: ExportBody
    #: Of its row in the storage; 0 if it is in memory only.
    key: int = 0
    #: Bytes.
    size: int = field(default=-1)
    #: To be sent without others, after Langfuse refused it together with them.
    alone: bool = False
    #: How often the server answered it with an internal error (5xx).
    tries: int = 0
    #: How many requests had been accepted at the first of these.
    since: int = 0
    #: Written by another process: nobody knows whether it is what it should be.
    unchecked: bool = False
    #: For whom it is sent.
    owner: Owner | None = field(default_factory=lambda: owner.current())  # noqa: PLW0108 - a harness replaces it

    def __post_init__(self) -> None:
        """Measure it."""
        if self.size < 0:
            self.size = len(self.body.data)


class BufferFailed(Exception):  # noqa: N818 - reads as what happened
    """The storage of a buffer can't be used: the disk is full, or its file can't be read or written."""


class BatchQueue:
    """Batches in order, with the number of their spans and bytes."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self.spans = self.size = 0

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        """Yield them, the oldest first."""
        return iter(self._batches)

    @property
    def oldest(self) -> Batch:
        """The one that `pop` is going to return."""
        return self._batches[0]

    def pop(self) -> Batch:
        """Take the oldest."""
        batch = self._batches.popleft()
        self.spans -= batch.body.spans
        self.size -= batch.size
        return batch

    def add(self, batches: Iterable[Batch]) -> None:
        """Add batches as the newest."""
        for batch in batches:
            self._batches.append(batch)
            self._count(batch)

    def put_back(self, batches: Sequence[Batch]) -> None:
        """Add batches, themselves in order, as the oldest."""
        for batch in reversed(batches):
            self._batches.appendleft(batch)
            self._count(batch)

    def _count(self, batch: Batch) -> None:
        self.spans += batch.body.spans
        self.size += batch.size


@dataclass(slots=True)
class _Room:
    """Makes room for a new body: whole batches that go, and the first spans of one more."""

    victims: list[Batch]
    dropped: int = 0
    #: The rest of the last victim.
    rest: ExportBody | None = None
    fits: bool = True


class MemoryBuffer:
    """Holds bodies until they are sent. Thread-safe.

    The limits hold for all that is in it. The ledger counts as held here what nobody has taken: what was taken is
    counted where it is, until it comes back.
    """

    #: Whether what is in it outlives the process.
    durable = False
    #: Whether `recover` has more to find, as soon as there is room.
    more_to_recover = False
    #: A loss that can't be counted, for whoever asks for the state; who takes it away.
    damage: str | None = None

    def __init__(self, *, max_spans: int, max_bytes: int, ledger: SpanLedger | None = None) -> None:
        self._max_spans, self._max_bytes = max_spans, max_bytes
        self._ledger = ledger or SpanLedger()
        self._ledger.watch(lambda: self._waiting.spans + self._held_here)
        self._clear()

    def _clear(self) -> None:
        #: One writer at a time: two must not make the same room.
        self._writing = threading.RLock()
        self._waiting = BatchQueue()
        #: Spans in the hands of one of the methods below.
        self._held_here = 0
        self._taken_spans = self._taken_bytes = 0

    def put(self, body: ExportBody, *, moved: Callable[[], None] | None = None) -> int:
        """Add a body, and return how many spans were dropped to make room, the oldest first.

        These are counted as "buffer_full". `moved` is called in the moment in which the buffer holds the body.
        A body that is too large for the buffer is itself what has to go.
        """
        with self._writing:
            with self._holding() as held:
                room = self._room_for(body)
                held.extend(room.victims)
            batch = Batch(body)
            try:
                self._trim(room, body)
                rest = None if room.rest is None else Batch(room.rest, owner=room.victims[-1].owner)
                self._write([batch] if room.fits else [], rest=rest, instead_of=room.victims)
            except BaseException:
                with self._ledger.lock:
                    self._held_here -= _spans(room.victims)
                    self._waiting.put_back(room.victims)
                raise
            with self._ledger.lock:
                self._held_here -= _spans(room.victims)
                if rest is not None:
                    self._waiting.put_back([rest])
                if room.fits:
                    self._waiting.add([batch])
                self._ledger.dropped("buffer_full", room.dropped)
                if moved is not None:
                    moved()
            return room.dropped

    def take(self, spans: int, size: int, *, moved: Callable[[list[Batch]], None] | None = None) -> list[Batch]:
        """Return the oldest batches: at most so many spans and bytes in total, but at least one batch if there is any.

        All have one owner. They belong to the caller until `remove`, `replace` or `give_back`; `moved(batches)` is
        called in the moment in which they do. What the storage has lost is counted as "spool_damaged".
        """
        with self._holding() as held:
            while self._waiting:
                oldest = self._waiting.oldest
                spans -= oldest.body.spans
                size -= oldest.size
                if held and (oldest.alone or spans < 0 or size < 0 or oldest.owner != held[0].owner):
                    break
                held.append(self._waiting.pop())
                if oldest.alone:
                    break
        if not held:
            return []
        lost: list[Batch] = []
        try:
            lost = self._load(held)
        except BaseException:
            with self._ledger.lock:
                self._held_here -= _spans(held)
                self._waiting.put_back(held)
            raise
        batches = [batch for batch in held if batch not in lost]
        with self._ledger.lock:
            self._held_here -= _spans(held)
            self._ledger.dropped("spool_damaged", _spans(lost))
            self._taken_spans += _spans(batches)
            self._taken_bytes += _size(batches)
            if moved is not None:
                moved(batches)
        return batches

    def remove(self, batches: Sequence[Batch]) -> None:
        """Remove taken batches that were delivered or given up."""
        self._delete(batches)
        with self._ledger.lock:
            self._returned(batches)

    def give_back(self, batches: Sequence[Batch], *, last: bool = False) -> None:
        """Return batches that are to be tried again, before all others or, with `last`, after them."""
        with self._ledger.lock:
            self._returned(batches)
            for batch in batches:
                self._unload(batch)
            if last:
                self._waiting.add(batches)
            else:
                self._waiting.put_back(batches)

    def replace(self, batch: Batch, bodies: Sequence[ExportBody], *, moved: Callable[[], None] | None = None) -> None:
        """Replace a taken batch by its parts."""
        parts = [Batch(body, owner=batch.owner) for body in bodies]
        with self._writing:
            self._write(parts, instead_of=[batch])
            with self._ledger.lock:
                self._returned([batch])
                self._waiting.put_back(parts)
                if moved is not None:
                    moved()

    def counts(self) -> tuple[int, int]:
        """Return the spans and the bytes in it, what was taken and not yet removed included."""
        with self._ledger.lock:
            return self._waiting.spans + self._held_here + self._taken_spans, self._waiting.size + self._taken_bytes

    # -- the storage: none ------------------------------------------------------------------------------------------

    def _write(self, batches: Sequence[Batch], *, rest: Batch | None = None, instead_of: Sequence[Batch] = ()) -> None:
        """Store batches, all or none, and remove others. What can't be stored stays in memory; nothing is raised."""

    def _load(self, batches: Sequence[Batch]) -> list[Batch]:  # noqa: ARG002
        """Give batches their bytes again, and return those that are lost."""
        return []

    def _unload(self, batch: Batch) -> None:
        """Forget the bytes of a batch that is stored."""

    def _delete(self, batches: Sequence[Batch]) -> None:
        """Remove batches from the storage; at once, or as soon as it allows that."""

    def kept(self) -> int:
        """Return how many of its spans outlive the process."""
        return 0

    def recover(self) -> Iterator[int]:
        """Take over what earlier processes left, and yield the number of spans of each part. May wait for the disk."""
        return iter(())

    def close(self) -> None:
        """Release what the buffer holds."""

    def before_fork(self) -> None:
        """Close what must not be open over a fork."""

    def after_fork_in_parent(self) -> None:
        """Open it again."""

    def after_fork(self) -> None:
        """Start empty in a forked child: what waits is the parent's to send."""
        self._clear()

    # ---------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _holding(self) -> Iterator[list[Batch]]:
        """Move batches from those that wait to the caller, who appends them to the list: they stay held here."""
        held: list[Batch] = []
        with self._ledger.lock:
            try:
                yield held
            finally:
                self._held_here += _spans(held)

    def _returned(self, batches: Sequence[Batch]) -> None:
        self._taken_spans -= _spans(batches)
        self._taken_bytes -= _size(batches)

    def _room_for(self, body: ExportBody) -> _Room:
        room = _Room([])
        while self._waiting and not self._fits(body.spans, len(body.data)):
            room.victims.append(self._waiting.pop())
        room.dropped = _spans(room.victims)
        room.fits = self._fits(body.spans, len(body.data))
        if not room.fits:
            room.dropped += body.spans
        return room

    def _fits(self, spans: int, size: int) -> bool:
        return (
            self._waiting.spans + self._taken_spans + spans <= self._max_spans
            and self._waiting.size + self._taken_bytes + size <= self._max_bytes
        )

    def _trim(self, room: _Room, body: ExportBody) -> None:
        """Keep the rest of the last victim if it may stay. A batch that was taken counts, too."""
        if not room.fits or not room.victims:
            return
        last = room.victims[-1]
        with self._ledger.lock:
            excess = self._waiting.spans + self._taken_spans + last.body.spans + body.spans - self._max_spans
        if not 0 < excess < last.body.spans or self._load([last]):
            return
        rest = without_oldest(last.body, excess)
        with self._ledger.lock:
            if self._fits(body.spans + rest.spans, len(body.data) + len(rest.data)):
                room.rest = rest
                room.dropped -= rest.spans


def _spans(batches: Iterable[Batch]) -> int:
    return sum(batch.body.spans for batch in batches)


def _size(batches: Iterable[Batch]) -> int:
    return sum(batch.size for batch in batches)
