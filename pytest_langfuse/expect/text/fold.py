"""Leaving out what is equal and far from any difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_langfuse.expect.text.diff import Row

#: Equal rows that are shown above and below one that differs.
_CONTEXT: Final = 2
#: Levels above a row that differs of which the parents are shown; the outermost is shown always.
_ANCESTORS: Final = 20


def folded(rows: Sequence[Row]) -> list[Row]:
    """Rows that differ, those around them, and their ancestors; comments stand for runs of other rows."""
    keep = _near_difference(rows)
    _keep_ancestors(rows, keep)
    shown: list[Row] = []
    start = 0
    while start < len(rows):
        end = start
        while end < len(rows) and not keep[end]:
            end += 1
        if end - start > 1:
            depth = min(row.depth for row in rows[start:end])
            shown.append(Row(" ", depth, f"# {end - start:,} equal lines"))
            start = end
        else:
            # A comment in place of a single row would save nothing.
            shown.append(rows[start])
            start += 1
    return shown


def _near_difference(rows: Sequence[Row]) -> list[bool]:
    keep = [False] * len(rows)
    for index, row in enumerate(rows):
        if row.mark != " ":
            first, end = max(0, index - _CONTEXT), min(len(rows), index + _CONTEXT + 1)
            keep[first:end] = [True] * (end - first)
    return keep


def _keep_ancestors(rows: Sequence[Row], keep: list[bool]) -> None:
    # Going upwards, a row of less depth than the one kept last is an ancestor of it.
    last = lowest = 0
    for index in range(len(rows) - 1, -1, -1):
        depth = rows[index].depth
        if keep[index]:
            lowest = max(lowest, depth) if depth < last else depth
            last = depth
        elif depth < last:
            keep[index] = lowest - depth <= _ANCESTORS or depth == 0
            last = depth
