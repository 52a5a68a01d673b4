"""The files of a spool: their names, their locks, and what is in them."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from pytest_langfuse.tracing.delivery.export_body import ExportBody, public_keys_in, spans_in
from pytest_langfuse.tracing.delivery.file_lock import FileLock, private
from pytest_langfuse.tracing.delivery.spool_totals import SpoolTotals, count_rows, totals_of
from pytest_langfuse.tracing.failures import logger

#: So many processes may share one `spool_path`.
MOST_FILES = 256

#: How long to wait for somebody who reads or writes the file with a tool (seconds).
BUSY = 1.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY,
    spans INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    body BLOB NOT NULL,
    public_key TEXT NOT NULL DEFAULT '',
    base_url TEXT NOT NULL DEFAULT ''
)
"""
#: A row of version 0.1 names its project in the body only, and no address.
_MINE = "public_key = ? AND base_url IN (?, '')"
#: Result codes of SQLite.
_READ_ONLY, _SHORT_READ = 8, 522
_MOST_SPANS_IN_A_ROW = 1_000_000


class Destination(NamedTuple):
    """The project that spans belong to: nobody else may get them."""

    public_key: str = ""
    base_url: str = ""


class StoredRow(NamedTuple):
    """A row, without its body."""

    key: int
    spans: int
    size: int


class SpoolFile:
    """A database of encoded spans, open in this process and in no other one. Not thread-safe.

    SQLite's own lock keeps all others out while it is open: it is on the file itself, so nobody can remove the one
    without the other.

    Keys of rows are counted from `first_key`, those of the database from 1.

    Raises:
        sqlite3.Error: The disk is full or failed, another process has it open (see `is_busy`), or it is damaged (see
            `is_damage`).
        OSError: The file can't be opened.
    """

    def __init__(self, path: Path, destination: Destination, *, first_key: int = 1) -> None:
        self.path, self._destination = path, destination
        self._shift = first_key - 1
        private(path)
        # Each statement is a transaction, unless it is inside one.
        self._db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            # Without shared memory, too: a process dies of it when somebody cuts that file.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_SCHEMA)
            self._migrate()
            count_rows(self._db)
            self.identity = identity(path)
            self._seen = self._look()
        except BaseException:
            self._db.close()
            raise

    def _migrate(self) -> None:
        """Name the project of each row of version 0.1, which has the body only."""
        columns = {row[1] for row in self._db.execute("PRAGMA table_info(batches)")}
        if {"public_key", "base_url"} <= columns:
            return
        with self._transaction():
            for name in ("public_key", "base_url"):
                if name not in columns:
                    self._db.execute(f"ALTER TABLE batches ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")
            for (key,) in self._db.execute("SELECT id FROM batches").fetchall():
                (data,) = self._db.execute("SELECT body FROM batches WHERE id = ?", (key,)).fetchone()
                found = public_keys_in(data) if isinstance(data, bytes) else set()
                if len(found) == 1:
                    self._db.execute("UPDATE batches SET public_key = ? WHERE id = ?", (*found, key))

    def rows(self) -> Iterator[StoredRow]:
        """Yield the rows of this destination, the oldest first."""
        for key, spans, kind, size in self._db.execute(
            f"SELECT id, spans, typeof(body), length(body) FROM batches WHERE {_MINE} ORDER BY id",  # noqa: S608
            self._destination,
        ):
            if not (isinstance(spans, int) and 0 < spans <= _MOST_SPANS_IN_A_ROW):
                spans = spans_in(self.body(key + self._shift) or b"") or 1  # noqa: PLW2901 - garbage
            yield StoredRow(key + self._shift, spans, size if kind == "blob" else 0)

    def foreign(self) -> int:
        """Return how many spans of other projects are in it."""
        (spans,) = self._db.execute(
            f"SELECT COALESCE(SUM(MAX(CAST(spans AS INTEGER), 1)), 0) FROM batches WHERE NOT ({_MINE})",  # noqa: S608
            self._destination,
        ).fetchone()
        return int(spans)

    def write(self, bodies: Mapping[int, ExportBody], *, without: Iterable[int] = ()) -> None:
        """Remove rows, and add bodies under their keys: all of it, or nothing."""
        with self._transaction():
            self._db.executemany("DELETE FROM batches WHERE id = ?", [(key - self._shift,) for key in without])
            self._db.executemany(
                "INSERT INTO batches (id, spans, bytes, body, public_key, base_url) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (key - self._shift, body.spans, len(body.data), body.data, *self._destination)
                    for key, body in bodies.items()
                ],
            )

    def body(self, key: int) -> bytes | None:
        """Return the body of a row; `None` if there is none."""
        row = self._db.execute("SELECT body FROM batches WHERE id = ?", (key - self._shift,)).fetchone()
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    def totals(self) -> SpoolTotals:
        """Return how many spans should be in it."""
        return totals_of(self._db) or SpoolTotals()

    def count_again(self, spans: int) -> None:
        """Correct the totals: so many spans are in it."""
        if self.totals().spans != spans:
            self._db.execute("UPDATE totals SET spans = ?", (spans,))

    def last_key(self) -> int:
        """Return the highest key that is in use; that before the first if there is none."""
        return self._shift + int(self._db.execute("SELECT COALESCE(MAX(id), 0) FROM batches").fetchone()[0])

    def disturbed(self) -> str | None:
        """Return what somebody has done to it; SQLite goes on writing to a file that was deleted or cut."""
        found = self._look()
        for part, (before, size) in self._seen.items():
            now_at_path, now_size = found[part]
            if now_at_path is None:
                return f"{part} was removed"
            if now_at_path != before:
                return f"{part} was replaced"
            if now_size < size:
                return f"{part} was cut"
        self._seen = found
        return None

    def _look(self) -> dict[Path, tuple[tuple[int, int] | None, int]]:
        return {part: _identity_and_size(part) for part in (self.path, _log_of(self.path))}

    def touch(self) -> None:
        """Give it the time of now, so that whoever removes old files leaves it."""
        for part in (self.path, _log_of(self.path)):
            with suppress(OSError):
                os.utime(part)

    def is_empty(self) -> bool:
        """Return whether it has no row, of any project."""
        return self._db.execute("SELECT 1 FROM batches LIMIT 1").fetchone() is None

    def close(self) -> None:
        """Close it."""
        self._db.close()

    def remove(self) -> None:
        """Close and delete it, which gives its space back even on a full disk."""
        self._db.close()
        for path in _parts(self.path):
            path.unlink(missing_ok=True)

    def remove_log(self) -> None:
        """Delete the log of a file that was replaced, after `close`: SQLite would apply it to the other file."""
        log = _log_of(self.path)
        if identity(log) == self._seen[log][0]:
            log.unlink(missing_ok=True)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise


def is_damage(error: BaseException) -> bool:
    """Return whether the error says that the file itself is unusable, now and later."""
    code = _code(error)
    # SQLITE_ERROR (another schema than ours), SQLITE_CORRUPT, SQLITE_NOTADB; SQLITE_IOERR_SHORT_READ: it was cut.
    return isinstance(error, sqlite3.DatabaseError) and (code & 0xFF in {1, 11, 26} or code == _SHORT_READ)


def damage(what: str) -> sqlite3.DatabaseError:
    """Return an error that says what SQLite does not notice itself."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = 11  # SQLITE_CORRUPT
    return error


def is_busy(error: BaseException) -> bool:
    """Return whether the error says that another process has the file open."""
    return _code(error) & 0xFF in {5, 6}  # SQLITEBUSY, SQLITE_LOCKED


def is_read_only(error: BaseException) -> bool:
    """Return whether the error says that the file was opened without the permission to write it."""
    return _code(error) & 0xFF == _READ_ONLY


def is_setting(error: BaseException) -> bool:
    """Return whether the error is one of the path, which the user has to change, and not one of the disk."""
    if isinstance(error, (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        return True
    return _code(error) & 0xFF in {_READ_ONLY, 14}  # SQLITE_CANTOPEN


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", None) or 0


def move_aside(path: Path, why: BaseException | str, *, rescued: int, lost: int | None) -> None:
    """Move a damaged file out of the way, with its log of changes, for whoever wants to look into it."""
    aside = path.with_name(f"{path.name}.unreadable")
    logger.warning(
        "The spool %s can't be read (%s): moved to %s. %d of its spans could be read, %s lost.",
        path, why, aside, rescued, "an unknown number is" if lost is None else f"{lost} are",
    )  # fmt: skip
    for part, target in zip(_parts(path), _parts(aside), strict=True):
        target.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            part.replace(target)


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one that comes under the same path later; `None` if there is none."""
    return _identity_and_size(path)[0]


def _identity_and_size(path: Path) -> tuple[tuple[int, int] | None, int]:
    try:
        found = path.stat()
    except OSError:
        return None, 0
    return (found.st_dev, found.st_ino), found.st_size


def first_free(base: Path, destination: Destination, *, skip_unusable: bool) -> tuple[Path, FileLock]:
    """Return the first file of `base` that no process owns and that has no spans of another project, with its lock.

    Raises:
        OSError: There is none.
        OSError, sqlite3.Error: One can't be used, and these are not skipped or there is no other one.
    """
    unusable: OSError | sqlite3.Error | None = None
    for path in files_of(base):
        try:
            lock = FileLock.acquire(lock_of(path))
            if lock is None:
                continue
            try:
                if _is_free(path, destination):
                    return path, lock
            except BaseException:
                lock.release()
                raise
            lock.release()
        except (OSError, sqlite3.Error) as error:
            # A full disk, or a missing directory, is the same for all of them.
            if not skip_unusable or not is_setting(error) or not base.parent.is_dir():
                raise
            unusable = unusable or error
    if unusable is not None:
        raise unusable
    message = f"{MOST_FILES} processes or projects already use {base}"
    raise OSError(message)


def _is_free(path: Path, destination: Destination) -> bool:
    for part in (path, _log_of(path)):
        if part.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(part))
    try:
        file = SpoolFile(path, destination)
    except sqlite3.Error as error:
        if is_busy(error):
            # Its owner lives, only its lock was removed. Or somebody looks into it.
            return False
        if is_damage(error):
            # Whoever opens it next moves it aside.
            return True
        raise
    try:
        spans = file.foreign()
    except sqlite3.Error as error:
        if is_damage(error):
            return True
        raise
    finally:
        file.close()
    if spans:
        logger.warning("%s has %d spans of another project: they stay there, another file is used.", path, spans)
    return not spans


def files_of(base: Path) -> list[Path]:
    """Return all files that processes with the spool path `base` may use."""
    return [base, *(base.with_name(f"{base.name}.{number}") for number in range(1, MOST_FILES))]


def lock_of(path: Path) -> Path:
    """Return the path of the lock of a spool file."""
    return path.with_name(f"{path.name}.lock")


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _parts(path: Path) -> list[Path]:
    return [path, _log_of(path), path.with_name(f"{path.name}-shm")]
