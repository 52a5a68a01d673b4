"""Both trees of a failed assertion as two columns of the same length, for reports that show them side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from pytest_langfuse.expect.text.diff import Diff, Row
from pytest_langfuse.expect.text.fold import folded
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording.observation import Observation

State = Literal["same", "missing", "extra", "changed", "moved"]
#: Lines that are shown at most.
_MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class Cell:
    """A line of one of the trees. `number` is that of the difference, from 1; `None` for a line that is the same."""

    text: str
    state: State
    observation: Observation | None
    number: int | None


@dataclass(frozen=True, slots=True)
class SideBySide:
    """The lines of both trees, in pairs; `None` where one of them has no line."""

    pairs: list[tuple[Cell | None, Cell | None]]
    sentences: list[str]


def side_by_side(diff: Diff) -> SideBySide:
    """Return the trees of a diff, in full but for parts that are equal and far from any difference."""
    diff = diff.in_full()
    rows = folded(diff.rows)
    states, numbers = _states(rows), dict[int, int]()
    pairs: list[tuple[Cell | None, Cell | None]] = []
    for about, group in _groups(rows[:_MOST]):
        if not about:
            for row in group:
                text = _text(row)
                cell = Cell(text, "same", row.captured, None)
                pairs.append((cell, cell))
            continue
        number = numbers.setdefault(about, len(numbers) + 1)
        expected = [Cell(_text(row), states[about], row.captured, number) for row in group if row.mark == "-"]
        captured = [Cell(_text(row), states[about], row.captured, number) for row in group if row.mark == "+"]
        length = max(len(expected), len(captured))
        pairs += zip(_filled(expected, length), _filled(captured, length), strict=True)
    if len(rows) > _MOST:
        cell = Cell(f"# {len(rows) - _MOST:,} more lines", "same", None, None)
        pairs.append((cell, cell))
    return SideBySide(pairs, list(diff.sentences))


def _groups(rows: list[Row]) -> Iterator[tuple[int, list[Row]]]:
    """Yield rows of one difference that follow one another, and those that are the same with 0."""
    for about, group in groupby(rows, key=_about):
        yield about, list(group)


def _about(row: Row) -> int:
    return 0 if row.mark == " " else id(row.about)


def _states(rows: list[Row]) -> dict[int, State]:
    """Return the state of the rows of each difference: those that are apart have moved."""
    states: dict[int, State] = {}
    for about, group in _groups(rows):
        marks = {row.mark for row in group}
        if about in states:
            states[about] = "moved"
        elif len(marks) > 1:
            states[about] = "changed"
        else:
            states[about] = "missing" if "-" in marks else "extra"
    return states


def _filled(cells: list[Cell], length: int) -> list[Cell | None]:
    return [*cells, *[None] * (length - len(cells))]


def _text(row: Row) -> str:
    return f"{Style().indent(row.depth)}{row.text}"
