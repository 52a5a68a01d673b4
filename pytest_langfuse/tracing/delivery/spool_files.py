"""The files of a spool: their names, their locks and their databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pytest_langfuse.tracing.delivery.file_lock import FileLock
from pytest_langfuse.tracing.failures import logger

#: So many processes may share one `spool_path`.
MOST_FILES = 256

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY,
    spans INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    body BLOB NOT NULL
)
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open or make a database. One that can't be read is moved aside and replaced by a new one."""
    try:
        return _open_database(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        aside = path.with_name(f"{path.name}.unreadable")
        logger.warning("%s can't be read (%s): moved to %s, its spans are lost.", path, error, aside)
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _open_database(path)


def _open_database(path: Path) -> sqlite3.Connection:
    # Each statement is a transaction; the spool's lock keeps threads apart.
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db


def first_free(base: Path) -> tuple[Path, FileLock]:
    """Return the first file of `base` that no process owns, with its lock."""
    for path in files_of(base):
        if (lock := FileLock.acquire(lock_of(path))) is not None:
            return path, lock
    message = f"{MOST_FILES} processes already use {base}"
    raise OSError(message)


def files_of(base: Path) -> list[Path]:
    """Return all files that processes with the spool path `base` may use."""
    return [base, *(base.with_name(f"{base.name}.{number}") for number in range(1, MOST_FILES))]


def lock_of(path: Path) -> Path:
    """Return the path of the lock of a spool file."""
    return path.with_name(f"{path.name}.lock")
