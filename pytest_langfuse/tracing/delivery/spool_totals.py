"""The number of spans that a spool should have, kept where damage to its rows does not reach it.

SQLite's triggers keep it in a table with one row, and the lock file, beside the database, has a copy of it: what is
missing after damage, a cut or the loss of the whole file is known, without anybody who could have counted it.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

_SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS totals (
    id INTEGER PRIMARY KEY,
    spans INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    changes INTEGER NOT NULL
)
""",
    """
CREATE TRIGGER IF NOT EXISTS count_added AFTER INSERT ON batches BEGIN
    UPDATE totals SET spans = spans + NEW.spans, last_id = MAX(last_id, NEW.id), changes = changes + 1;
END
""",
    """
CREATE TRIGGER IF NOT EXISTS count_removed AFTER DELETE ON batches BEGIN
    UPDATE totals SET spans = spans - OLD.spans, changes = changes + 1;
END
""",
)
_SIZE = 64


class SpoolTotals(NamedTuple):
    """The totals of a spool after one of its changes."""

    #: Of all projects.
    spans: int = 0
    #: The highest id that a row has had.
    last_id: int = 0
    #: Rows that were added or removed since the database was made.
    changes: int = 0

    @property
    def as_text(self) -> bytes:
        """Return what stands in the lock file: always as many bytes, which a full disk has room for."""
        return f"{self.spans} spans, last id {self.last_id}, {self.changes} changes".ljust(_SIZE - 1).encode() + b"\n"


def totals_from(text: bytes) -> SpoolTotals | None:
    """Read the text of a lock file; `None` if there is nothing in it."""
    words = text.decode("ascii", errors="replace").replace(",", "").split()
    try:
        return SpoolTotals(int(words[0]), int(words[4]), int(words[5]))
    except (IndexError, ValueError):
        return None


def newest(one: SpoolTotals | None, other: SpoolTotals | None) -> SpoolTotals | None:
    """Return the totals after the later change: a database that was cut has lost its last ones."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda totals: totals.changes)


def count_rows(db: sqlite3.Connection) -> None:
    """Let a database count its rows from now on.

    Raises:
        sqlite3.Error: It can't be written, or is damaged.
    """
    for statement in _SCHEMA:
        db.execute(statement)
    if db.execute("SELECT 1 FROM totals").fetchone() is None:
        # The file is new, or of an earlier version.
        db.execute(
            "INSERT INTO totals SELECT 1, COALESCE(SUM(CASE WHEN typeof(spans) = 'integer' THEN spans END), 0), "
            "COALESCE(MAX(id), 0), 0 FROM batches"
        )


def totals_of(db: sqlite3.Connection) -> SpoolTotals | None:
    """Return the totals of a database; `None` if their row can't be read.

    Raises:
        sqlite3.Error: It is damaged there.
    """
    row = db.execute("SELECT spans, last_id, changes FROM totals").fetchone()
    if row is None or not all(isinstance(value, int) and value >= 0 for value in row):
        return None
    return SpoolTotals(*row)
