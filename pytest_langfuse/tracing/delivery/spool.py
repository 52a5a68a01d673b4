"""Encoded spans that wait for Langfuse, in a file that outlives the process.

A file belongs to one process at a time; who holds the lock of `FILE.lock` owns `FILE`. A second process with the same
`spool_path` uses `FILE.1`, a third `FILE.2`. The lock goes with its process, however that ends, and the next process
that starts takes over what the dead ones left. After a crash between Langfuse's confirmation and the removal from the
file, a batch is sent a second time: delivery is at least once.

SQLite's write-ahead log with `synchronous=NORMAL` keeps all of it over a crash or SIGKILL of the process; a power
failure may cost the last moments.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytest_langfuse.tracing.delivery.buffer import Batch, BufferFailed
from pytest_langfuse.tracing.delivery.export_body import ExportBody, without_oldest
from pytest_langfuse.tracing.delivery.file_lock import FileLock
from pytest_langfuse.tracing.delivery.spool_files import connect, files_of, first_free, lock_of
from pytest_langfuse.tracing.failures import failures


@contextmanager
def _storage() -> Iterator[None]:
    """Raise `BufferFailed` for errors of SQLite and of the file system."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise BufferFailed(str(error)) from error


class Spool:
    """A `Buffer` in a SQLite file."""

    durable = True

    @_storage()
    def __init__(self, path: Path, *, max_spans: int, max_bytes: int) -> None:
        self._base = path
        self._max_spans, self._max_bytes = max_spans, max_bytes
        self._lock = threading.Lock()
        self._claim()

    def _claim(self) -> None:
        self._path, self._owned = first_free(self._base)
        self._taken: set[int] = set()
        #: Batches with a history, by key; their bodies are in the file only.
        self._known: dict[int, Batch] = {}
        self._open()
        #: Spans that a process before this one left in the file.
        self._found: int = self._spans

    def _open(self) -> None:
        self._db = connect(self._path)
        self._count()

    def _count(self) -> None:
        totals = self._db.execute("SELECT TOTAL(spans), TOTAL(bytes) FROM batches").fetchone()
        self._spans, self._bytes = map(int, totals)

    def recover(self) -> Iterator[int]:
        """See `Buffer`. The first part is this file's own; the others are files of processes that are gone."""
        found, self._found = self._found, 0
        yield found
        for path in files_of(self._base):
            if path != self._path:
                yield self._move_from(path)

    def _move_from(self, path: Path) -> int:
        """Move what is in a file that nobody owns; return how many spans that were, also if some can't be moved."""
        spans = 0
        try:
            if not path.exists() or (lock := FileLock.acquire(lock_of(path))) is None:
                return 0
            try:
                for moved in self._moved(path):
                    spans += moved
            finally:
                lock.release()
        except (sqlite3.Error, OSError) as error:
            failures.report(f"reading {path}", error)
        return spans

    def _moved(self, path: Path) -> Iterator[int]:
        other = connect(path)
        try:
            for key, count, size, body in other.execute("SELECT id, spans, bytes, body FROM batches").fetchall():
                with self._lock:
                    self._insert(ExportBody(body, count), size)
                yield count
                other.execute("DELETE FROM batches WHERE id = ?", (key,))
        finally:
            other.close()
        path.unlink()

    @_storage()
    def put(self, body: ExportBody) -> int:
        """See `Buffer`."""
        with self._lock, self._transaction():
            dropped = self._make_room(body)
            if self._spans + body.spans > self._max_spans or self._bytes + len(body.data) > self._max_bytes:
                return dropped + body.spans
            self._insert(body, len(body.data))
            return dropped

    @_storage()
    def take(self, spans: int, size: int) -> list[Batch]:
        """See `Buffer`."""
        with self._lock:
            taken: list[Batch] = []
            for key, count, length in self._db.execute("SELECT id, spans, bytes FROM batches ORDER BY id"):
                if key in self._taken:
                    continue
                spans -= count
                size -= length
                alone = key in self._known and self._known[key].alone
                if taken and (alone or spans < 0 or size < 0):
                    break
                taken.append(self._load(key, count))
                if alone:
                    break
            self._taken.update(batch.key for batch in taken)
            return taken

    @_storage()
    def remove(self, batches: Sequence[Batch]) -> None:
        """See `Buffer`."""
        with self._lock, self._transaction():
            self._delete(batches)

    @_storage()
    def give_back(self, batches: Sequence[Batch], *, last: bool = False) -> None:
        """See `Buffer`."""
        with self._lock:
            for batch in batches:
                self._taken.discard(batch.key)
                if last:
                    (batch.key,) = self._db.execute(
                        "UPDATE batches SET id = (SELECT MAX(id) + 1 FROM batches) WHERE id = ? RETURNING id",
                        (batch.key,),
                    ).fetchone()
                if batch.alone or batch.tries:
                    self._known[batch.key] = dataclasses.replace(batch, body=ExportBody(b"", batch.body.spans))

    @_storage()
    def replace(self, batch: Batch, bodies: Sequence[ExportBody]) -> None:
        """See `Buffer`. The parts go to the end: the first batch keeps the lowest key."""
        with self._lock, self._transaction():
            for body in bodies:
                self._insert(body, len(body.data))
            self._delete([batch])

    def counts(self) -> tuple[int, int]:
        """See `Buffer`."""
        with self._lock:
            return self._spans, self._bytes

    @_storage()
    def close(self) -> None:
        """See `Buffer`. The file is left to the next process."""
        with self._lock:
            self._db.close()
            self._owned.release()

    @_storage()
    def before_fork(self) -> None:
        """See `Buffer`. SQLite's file locks do not belong to a child."""
        self._lock.acquire()
        self._db.close()

    @_storage()
    def after_fork_in_parent(self) -> None:
        """See `Buffer`."""
        try:
            self._open()
        finally:
            self._lock.release()

    @_storage()
    def after_fork(self) -> None:
        """See `Buffer`. The child gets another file."""
        self._lock = threading.Lock()
        self._owned.forget()
        self._claim()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, in the file and in the counts."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._count()
            raise

    def _make_room(self, body: ExportBody) -> int:
        dropped = 0
        while self._spans + body.spans > self._max_spans or self._bytes + len(body.data) > self._max_bytes:
            oldest = self._oldest()
            if oldest is None:
                break
            excess = self._spans + body.spans - self._max_spans
            self._delete([oldest])
            if 0 < excess < oldest.body.spans and self._bytes + len(body.data) <= self._max_bytes:
                rest = without_oldest(oldest.body, excess)
                if self._bytes + len(rest.data) + len(body.data) <= self._max_bytes:
                    self._insert(rest, len(rest.data), key=oldest.key)
                    return dropped + excess
            dropped += oldest.body.spans
        return dropped

    def _oldest(self) -> Batch | None:
        for key, count in self._db.execute("SELECT id, spans FROM batches ORDER BY id"):
            if key not in self._taken:
                return self._load(key, count)
        return None

    def _load(self, key: int, spans: int) -> Batch:
        (data,) = self._db.execute("SELECT body FROM batches WHERE id = ?", (key,)).fetchone()
        known = self._known.pop(key, Batch(ExportBody(b"", 0), key))
        return dataclasses.replace(known, body=ExportBody(data, spans))

    def _insert(self, body: ExportBody, size: int, *, key: int | None = None) -> None:
        self._db.execute(
            "INSERT INTO batches (id, spans, bytes, body) VALUES (?, ?, ?, ?)", (key, body.spans, size, body.data)
        )
        self._spans += body.spans
        self._bytes += size

    def _delete(self, batches: Sequence[Batch]) -> None:
        self._db.executemany("DELETE FROM batches WHERE id = ?", [(batch.key,) for batch in batches])
        for batch in batches:
            self._taken.discard(batch.key)
            self._known.pop(batch.key, None)
            self._spans -= batch.body.spans
            self._bytes -= len(batch.body.data)
