"""Encoded spans that wait for Langfuse, in a file that outlives the process.

A file belongs to one process at a time: the one that holds the lock of `FILE.lock` and has `FILE` open, which SQLite
lets nobody else open meanwhile. A second process with the same `spool_path` uses `FILE.1`, a third `FILE.2`. Both locks
go with their process, however that ends, and the next process that starts takes over what the dead ones left. Each row
names its project and address: another project's are left alone. After a crash between Langfuse's confirmation and the
removal from the file, a batch is sent a second time: delivery is at least once.

While the disk is full or fails, batches stay in memory, within the same limits, and are written as soon as that works
again. A damaged file is moved aside, and another one is used. A file that somebody removes, replaces or cuts is left,
and what can be read of it goes on.

SQLite's write-ahead log with `synchronous=NORMAL` keeps all of it over a crash or SIGKILL of the process; a power
failure may cost the last moments.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pytest_langfuse.tracing.delivery.buffer import Batch, BatchQueue, BufferFailed, MemoryBuffer
from pytest_langfuse.tracing.delivery.export_body import ExportBody, spans_in
from pytest_langfuse.tracing.delivery.file_lock import FileLock
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.delivery.spool_files import (
    Destination,
    SpoolFile,
    damage,
    files_of,
    first_free,
    identity,
    is_busy,
    is_damage,
    is_read_only,
    is_setting,
    lock_of,
    move_aside,
)
from pytest_langfuse.tracing.delivery.spool_salvage import salvage
from pytest_langfuse.tracing.delivery.spool_totals import SpoolTotals, newest, totals_from
from pytest_langfuse.tracing.failures import failures, logger
from pytest_langfuse.tracing.monotonic import now

#: After a failure of the disk, nothing is written for so long (seconds).
RETRY_AFTER = 1.0
#: Files in use get the time of now so often (seconds): some systems remove what was not changed for days.
TOUCH_EVERY = 60.0

_FAULTS = (sqlite3.Error, OSError)
_T = TypeVar("_T")


class Spool(MemoryBuffer):
    """A buffer in a SQLite file.

    Raises:
        BufferFailed: The path can't be used: a setting that has to be changed. A disk that is full or fails is not an
            error; then the buffer is in memory.
    """

    durable = True

    def __init__(
        self,
        path: Path,
        *,
        max_spans: int,
        max_bytes: int,
        ledger: SpanLedger | None = None,
        destination: Destination = Destination(),  # noqa: B008 - immutable
    ) -> None:
        self._base, self._destination = path, destination
        super().__init__(max_spans=max_spans, max_bytes=max_bytes, ledger=ledger)
        try:
            self._claim(skip_unusable=False)
        except _FAULTS as error:
            if is_setting(error):
                raise BufferFailed(str(error)) from error
            self._failed(error)

    def _clear(self) -> None:
        super()._clear()
        self._file: SpoolFile | None = None
        self._path: Path | None = None
        self._owned: FileLock | None = None
        #: Keys of rows that are to be removed as soon as that is possible.
        self._doomed: set[int] = set()
        #: What a process before this one left in the file, until `recover`.
        self._found: list[Batch] = []
        #: Spans that were in the file, and are lost; until `recover`, too.
        self._found_lost = 0
        #: Spans that are in the file.
        self._stored = 0
        #: There may be batches that could not be written.
        self._behind = False
        #: Rows of the file have keys from here on; those below were in a file that is gone.
        self._first_key = self._next_key = 1
        #: Of the file when it was opened last.
        self._identity: tuple[int, int] | None = None
        self._retry_at = self._touch_at = 0.0
        #: Files of dead processes hold more than there is room for.
        self.more_to_recover = False

    # -- the file ---------------------------------------------------------------------------------------------------

    def _claim(self, *, skip_unusable: bool = True) -> None:
        """Lock a file and open it; what is in it is left to `recover`."""
        path, lock = first_free(self._base, self._destination, skip_unusable=skip_unusable)
        try:
            file, found, lost = self._opened(path, lock, first_key=self._first_key)
            self._use(file)
        except BaseException:
            lock.release()
            raise
        self._path, self._owned = path, lock
        self._found += found
        self._found_lost += lost
        self.more_to_recover = True

    def _use(self, file: SpoolFile) -> None:
        self._next_key = max(self._next_key, file.last_key() + 1)
        self._file, self._identity = file, file.identity

    def _opened(self, path: Path, lock: FileLock, *, first_key: int = 1) -> tuple[SpoolFile, list[Batch], int]:
        """Open a file; list what is in it, and count what was lost of it.

        A damaged one is moved aside; what can be read of it goes on.
        """
        noted = totals_from(lock.noted())
        file = None
        try:
            file = SpoolFile(path, self._destination, first_key=first_key)
            found = [
                Batch(ExportBody(b"", row.spans), key=row.key, size=row.size, unchecked=True) for row in file.rows()
            ]
            lost = self._missing(file, noted, sum(batch.body.spans for batch in found))
        except sqlite3.Error as error:
            if file is not None:
                file.close()
            if not is_damage(error):
                raise
            found, lost = self._salvaged(path, lock, error)
            file = SpoolFile(path, self._destination, first_key=first_key)
        lock.note(file.totals().as_text)
        return file, found, lost

    def _salvaged(self, path: Path, lock: FileLock, error: BaseException) -> tuple[list[Batch], int]:
        """Return what can be read of a damaged file, and how many spans are lost; move the file aside."""
        left = salvage(path, self._destination, totals_from(lock.noted()))
        move_aside(path, error, rescued=left.spans, lost=left.lost)
        lock.note(SpoolTotals().as_text)
        if left.lost is None:
            self.damage = f"an unknown number of spans of the spool {path} is lost: {error}"
        return [Batch(body) for body in left.bodies], left.lost or 0

    def _missing(self, file: SpoolFile, noted: SpoolTotals | None, found: int) -> int:
        """Return how many spans should be in a file and are not: it was removed or cut while no process used it."""
        there = found + file.foreign()
        if there > file.totals().spans:
            raise damage("its rows have more spans than were written")
        totals = newest(noted, file.totals()) or SpoolTotals()
        lost = max(totals.spans - there, 0)
        if lost:
            logger.warning("The spool %s should have %d spans, %d are lost.", file.path, totals.spans, lost)
        file.count_again(there)
        return lost

    def _ready(self) -> SpoolFile | None:
        """Return the file, opened again if it is closed; `None` while the disk fails.

        Keys are chosen after that: if the file has to be left, those from before mean nothing any more.
        """
        if now() < self._retry_at:
            return None
        try:
            self._look_after()
            if self._file is None:
                self._open()
        except _FAULTS as error:
            self._failed(error)
        return self._file

    def _look_after(self) -> None:
        """Leave the open file if somebody has removed, replaced or cut it; else keep it, and its lock, from harm."""
        if self._file is None or self._owned is None:
            return
        if (what := self._file.disturbed()) is not None:
            self._leave(what)
            return
        with suppress(OSError):
            # Without a lock, too, nobody else can open the file now.
            self._owned.renew()
        if now() >= self._touch_at:
            self._touch_at = now() + TOUCH_EVERY
            self._file.touch()
            self._owned.touch()

    def _open(self) -> None:
        if self._owned is not None and self._path is not None and self._is_ours(self._path, self._owned):
            try:
                self._use(SpoolFile(self._path, self._destination, first_key=self._first_key))
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._leave(error)
            else:
                return
        self._claim()

    def _is_ours(self, path: Path, lock: FileLock) -> bool:
        """Return whether the file is still this process's, which has had it closed."""
        try:
            held = lock.renew()
        except OSError:
            if not path.parent.is_dir():
                raise
            held = False
        same = identity(path) == self._identity
        if held and (same or (not self._stored and not path.exists())):
            return True
        with self._ledger.lock:
            if same:
                self._hand_over(path)
            self._abandon(held=held)
        return False

    def _hand_over(self, path: Path) -> None:
        """Leave what is in the file to the process that has its lock now, and that counts it."""
        kept, theirs = BatchQueue(), BatchQueue()
        for batch in self._waiting:
            (theirs if batch.key >= self._first_key else kept).add([batch])
        self._waiting = kept
        self._found = [batch for batch in self._found if not batch.key]
        self._ledger.handed_over(theirs.spans)
        logger.warning("Another process has taken over the spool %s, with %d spans.", path, theirs.spans)

    def _abandon(self, *, held: bool = True) -> None:
        """Use another file from now on. Keys of rows mean nothing any more: `_load` counts those batches as lost."""
        if held and self._owned is not None:
            self._owned.note(SpoolTotals().as_text)
        self._first_key = self._next_key
        self._doomed.clear()
        self._stored = 0
        self._behind = True
        self._identity = None
        if self._owned is not None:
            self._owned.release()
        self._path = self._owned = None

    def _failed(self, error: BaseException) -> None:
        failures.report(f"using the spool {self._path or self._base}; spans are kept in memory meanwhile", error)
        self._retry_at = now() + RETRY_AFTER
        if is_damage(error):
            self._leave(error)
        elif is_read_only(error):
            # SQLite goes on without the permission to write until the file is opened again.
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            _or_none(file.close)

    def _leave(self, why: BaseException | str, *, lost: int = 0) -> None:
        """Move what can be read of a file to memory, and the file out of the way, unless its path leads elsewhere."""
        file, path = self._file, self._path
        with self._ledger.lock:
            stored = [batch for batch in self._waiting if batch.key >= self._first_key]
        stored += [batch for batch in self._found if batch.key]
        rescued = 0
        for batch in stored:
            data = None if file is None else _or_none(file.body, batch.key)
            if data is not None and spans_in(data) == batch.body.spans:
                batch.body, batch.key, batch.unchecked = ExportBody(data, batch.body.spans), 0, False
                rescued += batch.body.spans
        lost += sum(batch.body.spans for batch in stored if batch.key)
        foreign = None if file is None else _or_none(file.foreign)
        self._close()
        if path is None or self._identity is None or identity(path) != self._identity:
            logger.warning(
                "The spool %s can't be used any more (%s). %d of its spans could be read, %d are lost.",
                path, why, rescued, lost,
            )  # fmt: skip
            if file is not None:
                _or_none(file.remove_log)
        elif file is not None and isinstance(why, str) and not lost and foreign == 0:
            logger.warning("The spool %s is made again (%s). No span is lost.", path, why)
            _or_none(file.remove)
        else:
            _or_none(functools.partial(move_aside, path, why, rescued=rescued, lost=lost))
        self._abandon()

    # -- see `MemoryBuffer` -------------------------------------------------------------------------------------------

    def take(self, spans: int, size: int, *, moved: Callable[[list[Batch]], None] | None = None) -> list[Batch]:
        """See `MemoryBuffer`. A file that somebody has removed is left before any batch is in between."""
        with self._writing:
            if self._stored:
                self._ready()
        return super().take(spans, size, moved=moved)

    def _write(self, batches: Sequence[Batch], *, rest: Batch | None = None, instead_of: Sequence[Batch] = ()) -> None:
        with self._writing:
            self._doom(instead_of)
            file = self._ready() if batches or rest or self._doomed or self._stored or self._behind else None
            placed: dict[int, Batch] = {}
            if rest is not None:
                # What is left of the oldest keeps its place in the file.
                old = instead_of[-1].key
                placed[old if old >= self._first_key else self._new_key()] = rest
            if self._behind:
                with self._ledger.lock:
                    batches = [*(batch for batch in self._waiting if not batch.key), *batches]
            placed |= {self._new_key(): batch for batch in batches}
            self._behind = not self._store(file, placed)

    def _new_key(self) -> int:
        """Return a key that no row of this process has had, whatever became of its file."""
        self._next_key += 1
        return self._next_key - 1

    def _store(self, file: SpoolFile | None, batches: Mapping[int, Batch]) -> bool:
        """Write batches, and remove what is to be removed. Return whether that worked."""
        doomed = set(self._doomed)
        if not batches and not doomed:
            return True
        if file is None:
            return False
        try:
            file.write({key: batch.body for key, batch in batches.items()}, without=doomed)
        except _FAULTS as error:
            if self._stored or batches or self._found or is_damage(error) or not self._start_over(file):
                self._failed(error)
            return False
        if self._owned is not None:
            self._owned.note(file.totals().as_text)
        self._doomed -= doomed
        for key, batch in batches.items():
            batch.key, batch.body = key, ExportBody(b"", batch.body.spans)
            self._stored += batch.body.spans
        return True

    def _start_over(self, file: SpoolFile) -> bool:
        """Delete a file that has no more spans of use: a full disk has no room for the removal of rows."""
        if _or_none(file.foreign) != 0:
            return False
        self._file = self._identity = None
        self._first_key = self._next_key
        self._doomed.clear()
        if self._owned is not None:
            self._owned.note(SpoolTotals().as_text)
        _or_none(file.remove)
        return True

    def _load(self, batches: Sequence[Batch]) -> list[Batch]:
        lost = []
        with self._writing:
            for batch in batches:
                if not batch.key:
                    continue
                data = self._read(batch)
                if data is None or (batch.unchecked and spans_in(data) != batch.body.spans):
                    lost.append(batch)
                else:
                    batch.body, batch.unchecked = ExportBody(data, batch.body.spans), False
            if lost and self._file is not None:
                # There is no saying what else is wrong with it, nor whether a removal of these rows would work.
                self._leave(damage("rows can't be read"), lost=sum(batch.body.spans for batch in lost))
        return lost

    def _read(self, batch: Batch) -> bytes | None:
        if batch.key < self._first_key or self._path is None:
            return None
        try:
            if self._file is None:
                if identity(self._path) is None:
                    return None
                self._use(SpoolFile(self._path, self._destination, first_key=self._first_key))
            if self._file is None:
                return None
            return self._file.body(batch.key)
        except _FAULTS as error:
            if is_damage(error):
                failures.report(f"reading the spool {self._path}", error)
                return None
            raise BufferFailed(str(error)) from error

    def _unload(self, batch: Batch) -> None:
        if batch.key >= self._first_key:
            batch.body = ExportBody(b"", batch.body.spans)
        elif batch.key:
            # Its file is gone; what is in memory is all that there is.
            batch.key, self._behind = 0, True

    def _delete(self, batches: Sequence[Batch]) -> None:
        with self._writing:
            self._doom(batches)
            self._store(self._ready() if self._doomed else None, {})

    def _doom(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            if batch.key >= self._first_key and batch.key not in self._doomed:
                self._doomed.add(batch.key)
                self._stored -= batch.body.spans

    def kept(self) -> int:
        """Write what is not written yet, and return how many spans outlive the process."""
        with self._writing:
            self._retry_at = 0.0
            if self._found or self._found_lost:
                self._adopt()
            self._write([])
            return self._stored

    def close(self) -> None:
        """See `MemoryBuffer`. The file is left to the next process."""
        with self._writing:
            self._retry_at = 0.0
            self._delete([])
            self._close()
            if self._owned is not None:
                self._owned.release()
                self._owned = None

    def before_fork(self) -> None:
        """See `MemoryBuffer`. SQLite's file locks do not belong to a child."""
        self._writing.acquire()
        self._look_after()
        self._close()

    def after_fork_in_parent(self) -> None:
        """See `MemoryBuffer`. A file with rows is not left closed: only an open one is safe from other processes."""
        if self._stored:
            self._ready()
        self._writing.release()

    def after_fork(self) -> None:
        """See `MemoryBuffer`. The child gets another file, when it needs one."""
        if self._owned is not None:
            self._owned.forget()
        self._clear()

    # -- what earlier processes left ----------------------------------------------------------------------------------

    def recover(self) -> Iterator[int]:
        """Take over what earlier processes left, and yield the number of spans of each part, which have ended now.

        The first part is this file's own; the others are files of processes that are gone. What there is no room for
        is left in their files: `more_to_recover` is true then.
        """
        self.more_to_recover = False
        yield self._adopt()
        for path in files_of(self._base):
            if path != self._path and not self.more_to_recover:
                yield self._move_from(path)

    def _adopt(self) -> int:
        """Let what was found in the own file wait; the limits may be lower than those of the process that left it."""
        with self._writing:
            self._ready()
            self.more_to_recover = False
            found, self._found = self._found, []
            lost, self._found_lost = self._found_lost, 0
            ended = spans = sum(batch.body.spans for batch in found)
            size = sum(batch.size for batch in found)
            with self._ledger.lock:
                excess = 0
                while excess < len(found) and not self._fits(spans, size):
                    spans, size = spans - found[excess].body.spans, size - found[excess].size
                    excess += 1
                self._ledger.ended(ended + lost)
                self._ledger.dropped("buffer_full", ended - spans)
                self._ledger.dropped("spool_damaged", lost)
                self._stored += sum(batch.body.spans for batch in found if batch.key)
                self._behind = self._behind or any(not batch.key for batch in found)
                self._waiting.put_back(found[excess:])
            self._delete(found[:excess])
            return ended + lost

    def _move_from(self, path: Path) -> int:
        """Move what is in a file that nobody owns; return how many spans that were, also if some can't be moved."""
        spans = 0
        try:
            if not path.exists() or (lock := FileLock.acquire(lock_of(path))) is None:
                return 0
            try:
                for moved in self._moved(path, lock):
                    spans += moved
            finally:
                lock.release()
        except _FAULTS as error:
            # Its owner may live, without the lock that somebody has removed.
            if not is_busy(error):
                failures.report(f"reading {path}", error)
        return spans

    def _moved(self, path: Path, lock: FileLock) -> Iterator[int]:
        other, found, lost = self._opened(path, lock)
        try:
            self._lose(lost)
            yield lost
            yield from self._moved_rows(other, lock, found)
        except sqlite3.Error as error:
            other.close()
            if not is_damage(error):
                raise
            found, lost = self._salvaged(path, lock, error)
            self._lose(lost)
            yield lost
            yield from self._moved_rows(None, lock, found)
        finally:
            other.close()

    def _moved_rows(self, other: SpoolFile | None, lock: FileLock, found: Sequence[Batch]) -> Iterator[int]:
        """Move batches that are in another file, or of a damaged one and in memory only."""
        for batch in found:
            in_file = other is not None and batch.key > 0
            data = other.body(batch.key) if other is not None and in_file else batch.body.data
            good = data is not None and spans_in(data) == batch.body.spans
            if not good:
                raise damage("rows can't be read")
            if not self._take_in(ExportBody(data or b"", batch.body.spans)):
                if in_file:
                    self.more_to_recover = True
                    return
                self._lose(batch.body.spans, "buffer_full")
            yield batch.body.spans
            if other is not None and in_file:
                other.write({}, without=[batch.key])
                lock.note(other.totals().as_text)
        if other is not None and other.is_empty():
            lock.note(SpoolTotals().as_text)
            other.remove()

    def _lose(self, spans: int, reason: str = "spool_damaged") -> None:
        with self._ledger.lock:
            self._ledger.ended(spans)
            self._ledger.dropped(reason, spans)

    def _take_in(self, body: ExportBody) -> bool:
        """Add a body of another file, if there is room for it in the buffer and on the disk."""
        with self._writing:
            with self._ledger.lock:
                if not self._fits(body.spans, len(body.data)):
                    return False
            batch = Batch(body)
            file = self._ready()
            if not self._store(file, {self._new_key(): batch}):
                return False
            with self._ledger.lock:
                self._ledger.ended(body.spans)
                self._waiting.add([batch])
            return True


def _or_none(call: Callable[..., _T], *arguments: object) -> _T | None:
    try:
        return call(*arguments)
    except _FAULTS as error:
        failures.report("using a damaged spool", error)
        return None
