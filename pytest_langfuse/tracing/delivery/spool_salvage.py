"""Reading a damaged spool, and counting the rest."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from pytest_langfuse.tracing.delivery.export_body import ExportBody, public_keys_in, spans_in
from pytest_langfuse.tracing.delivery.spool_files import BUSY, Destination
from pytest_langfuse.tracing.delivery.spool_totals import SpoolTotals, newest, totals_of

#: So many reads may fail: beyond that, what is left are small parts between damaged ones.
_MOST_FAILURES = 20_000
#: Where the last id is not known: so many beyond the last one that was read.
_BEYOND = 1 << 12


class Salvage(NamedTuple):
    """The batches of a damaged file."""

    bodies: list[ExportBody]
    #: Spans that can't be read; `None` if nobody knows how many these are.
    lost: int | None

    @property
    def spans(self) -> int:
        """Spans that could be read."""
        return sum(body.spans for body in self.bodies)


class _Row(NamedTuple):
    key: int
    spans: int
    body: object
    public_key: object
    base_url: object


def salvage(path: Path, destination: Destination, noted: SpoolTotals | None) -> Salvage:
    """Return what can be read of a file that nobody has open; `noted` are the totals beside it."""
    bodies: list[ExportBody] = []
    totals, foreign = noted, 0
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Lets SQLite open a file that was cut.
        db.execute("PRAGMA writable_schema = ON")
        with suppress(sqlite3.Error):
            totals = newest(noted, totals_of(db))
        for row in _rows(db, totals):
            if not isinstance(row.body, bytes) or not row.spans or spans_in(row.body) != row.spans:
                continue
            if _is_for(destination, row, row.body):
                bodies.append(ExportBody(row.body, row.spans))
            else:
                foreign += row.spans
    read = sum(body.spans for body in bodies) + foreign
    return Salvage(bodies, None if totals is None else max(totals.spans - read, 0))


def _is_for(destination: Destination, row: _Row, data: bytes) -> bool:
    if row.public_key:
        return row.public_key == destination.public_key and row.base_url in {destination.base_url, ""}
    # A row of version 0.1 names its project in the body only.
    return public_keys_in(data) <= {destination.public_key}


def _rows(db: sqlite3.Connection, totals: SpoolTotals | None) -> Iterator[_Row]:
    """Yield the rows that can be read, the oldest first.

    A read goes on up to the damage. What is beyond is read in two halves, each by itself, until all that fails are
    single rows. Large parts come first.
    """
    named = {row[1] for row in db.execute("PRAGMA table_info(batches)")} >= {"public_key", "base_url"}
    names = "public_key, base_url" if named else "'', ''"
    rows = f"SELECT id, spans, body, {names} FROM batches NOT INDEXED"  # noqa: S608
    found: dict[int, _Row] = {}
    # First without a look at the ids: a wrong one would be taken for the end.
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            for row in db.execute(f"{rows} ORDER BY id {order}"):
                found.setdefault(row[0], _Row(*row))
    last_id = 0 if totals is None else totals.last_id
    # The last id may be damaged itself.
    parts: deque[tuple[int, int | None]] = deque([(1, last_id), (last_id + 1, None)])
    failures = 0
    while parts and failures < _MOST_FAILURES:
        first, last = parts.popleft()
        try:
            for row in db.execute(
                f"{rows} WHERE id BETWEEN ? AND ? ORDER BY id", (first, (1 << 62) if last is None else last)
            ):
                found.setdefault(row[0], _Row(*row))
                first = row[0] + 1
        except sqlite3.DatabaseError:
            failures += 1
            end = first + _BEYOND if last is None else last
            if first < end:
                middle = (first + end) // 2
                parts += [(first, middle), (middle + 1, end)]
    return iter(found[key] for key in sorted(found))
