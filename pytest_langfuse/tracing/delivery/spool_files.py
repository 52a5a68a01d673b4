"""The files of a spool: their names, their locks, and what is in them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from pytest_langfuse.tracing.delivery.export_body import ExportBody, public_keys_in, spans_in
from pytest_langfuse.tracing.delivery.file_lock import FileLock, private
from pytest_langfuse.tracing.failures import logger

#: So many processes may share one `spool_path`.
MOST_FILES = 256

#: How long to wait for somebody who reads or writes the file with a tool (seconds).
_BUSY = 1.0

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
    """A database of encoded spans. Not thread-safe.

    Raises:
        sqlite3.Error: The disk is full or failed, or the database is damaged (see `is_damage`).
        OSError: The file can't be opened.
    """

    def __init__(self, path: Path, destination: Destination) -> None:
        self.path, self._destination = path, destination
        private(path)
        self._identity = identity(path)
        # Each statement is a transaction, unless it is inside one.
        self._db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_SCHEMA)
            self._migrate()
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
                spans = spans_in(self.body(key) or b"") or 1  # noqa: PLW2901 - garbage
            yield StoredRow(key, spans, size if kind == "blob" else 0)

    def rescued(self) -> list[tuple[int, bytes]]:
        """Return the spans and bodies that can be read in a damaged file: from both ends up to the damage."""
        found: dict[int, tuple[int, bytes]] = {}
        for order in ("ASC", "DESC"):
            with suppress(sqlite3.Error):
                for key, spans, body in self._db.execute(
                    f"SELECT id, spans, body FROM batches WHERE {_MINE} ORDER BY id {order}",  # noqa: S608
                    self._destination,
                ):
                    if key in found:
                        break
                    if isinstance(spans, int) and isinstance(body, bytes):
                        found[key] = (spans, body)
        return [found[key] for key in sorted(found)]

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
            self._db.executemany("DELETE FROM batches WHERE id = ?", [(key,) for key in without])
            self._db.executemany(
                "INSERT INTO batches (id, spans, bytes, body, public_key, base_url) VALUES (?, ?, ?, ?, ?, ?)",
                [(key, body.spans, len(body.data), body.data, *self._destination) for key, body in bodies.items()],
            )

    def body(self, key: int) -> bytes | None:
        """Return the body of a row; `None` if there is none."""
        row = self._db.execute("SELECT body FROM batches WHERE id = ?", (key,)).fetchone()
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    def last_key(self) -> int:
        """Return the highest key that is in use; 0 if there is none."""
        return int(self._db.execute("SELECT COALESCE(MAX(id), 0) FROM batches").fetchone()[0])

    def is_gone(self) -> bool:
        """Return whether its path leads elsewhere now: SQLite goes on writing to a file that was deleted."""
        return identity(self.path) != self._identity

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
    code = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    # SQLITE_ERROR (another schema than ours), SQLITE_CORRUPT, SQLITE_NOTADB.
    return code is not None and code & 0xFF in {1, 11, 26}


def is_setting(error: BaseException) -> bool:
    """Return whether the error is one of the path, which the user has to change, and not one of the disk."""
    if isinstance(error, (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in {8, 14}  # SQLITE_READONLY, SQLITE_CANTOPEN


def move_aside(path: Path, error: BaseException, *, rescued: int) -> None:
    """Move a damaged file out of the way, with its log of changes, for whoever wants to look into it."""
    aside = path.with_name(f"{path.name}.unreadable")
    logger.warning(
        "The spool %s can't be read (%s): moved to %s. %d of its spans could be read.", path, error, aside, rescued
    )
    for part, target in zip(_parts(path), _parts(aside), strict=True):
        target.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            part.replace(target)


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one that comes under the same path later; `None` if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def first_free(base: Path, destination: Destination) -> tuple[Path, FileLock]:
    """Return the first file of `base` that no process owns and that has no spans of another project, with its lock."""
    for path in files_of(base):
        if (lock := FileLock.acquire(lock_of(path))) is None:
            continue
        try:
            if not path.exists() or not _has_foreign(path, destination):
                return path, lock
        except BaseException:
            lock.release()
            raise
        lock.release()
    message = f"{MOST_FILES} processes or projects already use {base}"
    raise OSError(message)


def _has_foreign(path: Path, destination: Destination) -> bool:
    try:
        file = SpoolFile(path, destination)
    except sqlite3.Error:
        # Whoever opens it next decides what to do with it.
        return False
    try:
        spans = file.foreign()
    except sqlite3.Error:
        return False
    finally:
        file.close()
    if spans:
        logger.warning("%s has %d spans of another project: they stay there, another file is used.", path, spans)
    return spans > 0


def files_of(base: Path) -> list[Path]:
    """Return all files that processes with the spool path `base` may use."""
    return [base, *(base.with_name(f"{base.name}.{number}") for number in range(1, MOST_FILES))]


def lock_of(path: Path) -> Path:
    """Return the path of the lock of a spool file."""
    return path.with_name(f"{path.name}.lock")


def _parts(path: Path) -> list[Path]:
    return [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]
