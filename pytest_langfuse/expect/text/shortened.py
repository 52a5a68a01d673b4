"""Leaving out lines of traces that are too long to read; what went wrong stays."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Final

from pytest_langfuse.expect.text.overview import OverviewLine
from pytest_langfuse.expect.text.render import Word

#: Levels of observations that are not left out, as long as there is room, the worst first.
_BAD: Final = ("ERROR", "WARNING")
#: Nearest ancestors that are shown of these.
_ANCESTORS: Final = 5


def shortened(lines: Sequence[OverviewLine], most: int | None) -> list[OverviewLine]:
    """Return `most` lines or fewer, and comments for those that are left out; all if `most` is `None`.

    The first lines are shown, and in the other half errors and warnings, wherever they are, below their ancestors.
    """
    if most is None or len(lines) <= most:
        return list(lines)
    keep = set(range(most // 2))
    parents = _parents(lines)
    for level in _BAD:
        for index, line in enumerate(lines):
            if index not in keep and line.observation is not None and line.observation.level == level:
                wanted = _with_ancestors(index, parents) - keep
                if len(keep) + len(wanted) > most:
                    break
                keep |= wanted
    for index in range(len(lines)):
        if len(keep) >= most:
            break
        keep.add(index)
    shown: list[OverviewLine] = []
    for is_kept, group in groupby(range(len(lines)), key=keep.__contains__):
        some = [lines[index] for index in group]
        shown += some if is_kept or len(some) == 1 else [_left_out(some)]
    return shown


def _parents(lines: Sequence[OverviewLine]) -> list[int]:
    """Return the line that each line is below; -1 for those at the left."""
    parents: list[int] = []
    above: list[int] = []
    for index, line in enumerate(lines):
        del above[line.depth :]
        parents.append(above[-1] if above else -1)
        above.append(index)
    return parents


def _with_ancestors(index: int, parents: Sequence[int]) -> set[int]:
    found = {index}
    while len(found) <= _ANCESTORS and (index := parents[index]) >= 0:
        found.add(index)
    return found


def _left_out(lines: Sequence[OverviewLine]) -> OverviewLine:
    members = [line.observation for line in lines if line.observation is not None]
    count = f"{len(members):,} more" if members else f"{len(lines):,} more lines"

    def words(_width: int | None, _without: Collection[str]) -> Sequence[Word]:
        return (Word(f"# {count} (-vv shows all)"),)

    return OverviewLine(min(line.depth for line in lines), words, members=members)
