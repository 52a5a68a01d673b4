"""Durations, tokens and cost of observations, as columns beside the lines of a trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pytest_langfuse.expect.text.cells import cells
from pytest_langfuse.expect.text.highlight import faint
from pytest_langfuse.expect.text.overview import DEPTH, OverviewLine
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.report.amounts import number_of, summed, total
from pytest_langfuse.report.figures import amount, duration, money
from pytest_langfuse.report.prices import cost_of

#: Columns that the lines have at least; cost, tokens and durations give way to them.
_LEAST: Final = 24
#: The keys of a line that the columns stand for.
_KEYS: Final = ("", "usage", "cost")
_GAP: Final = "  "
#: The columns are a comment, so that the lines can be pasted.
_START: Final = "# "


class Figures(NamedTuple):
    """Seconds, tokens and US dollars; `None` where nothing is known."""

    seconds: float | None = None
    tokens: float | None = None
    cost: float | None = None
    is_estimate: bool = False

    def texts(self) -> tuple[str, str, str]:
        """Return a cell for each column."""
        return (
            "" if self.seconds is None else duration(self.seconds),
            "" if self.tokens is None else f"{amount(self.tokens)} tok",
            "" if self.cost is None else money(self.cost, estimated=self.is_estimate),
        )


def _figures_of(one: Observation) -> Figures:
    tokens = total(one.usage) if one.usage else None
    cost, is_estimate = cost_of(one)
    record = one.record
    # Not `one.duration`: Langfuse keeps whole milliseconds.
    seconds = None if record.end_ns is None or not record.start_ns else (record.end_ns - record.start_ns) / 1e9
    return Figures(seconds, number_of(tokens), number_of(cost), is_estimate)


class TraceColumns:
    """Lines of traces with the figures of `observations` beside them, as wide as the style's columns."""

    def __init__(self, observations: Sequence[Observation], style: Style) -> None:
        self._style = style
        self._figures = {id(one): _figures_of(one) for one in observations}

    def total(self, observations: Sequence[Observation]) -> Figures:
        """Return the figures of several observations, from the first start to the last end."""
        found = [self._figures[id(one)] for one in observations]
        starts = [one.record.start_ns for one in observations if one.record.start_ns]
        ends = [one.record.end_ns for one in observations if one.record.end_ns]
        return Figures(
            (max(ends) - min(starts)) / 1e9 if starts and ends else None,
            summed(one.tokens for one in found),
            summed(one.cost for one in found),
            any(one.is_estimate for one in found),
        )

    def needs_total(self, observations: Sequence[Observation]) -> bool:
        """Return whether a sum says more than its parts: more than one observation has tokens or a cost."""
        return sum(one.tokens is not None or one.cost is not None for one in map(self._of, observations)) > 1

    def _of(self, one: Observation) -> Figures:
        return self._figures[id(one)]

    def beside(self, lines: Sequence[OverviewLine]) -> list[str]:
        """Return the lines in colour, with their columns; what there is no room for is on lines below them."""
        style = self._style
        rows = [self._texts_of(line) for line in lines]
        widths = self._widths(rows)
        beside = [_joined(row, widths) for row in rows]
        block = _width(widths)
        hidden = () if style.whole else [key for key, width in zip(_KEYS, widths, strict=True) if key and width]
        deepest = style.deepest(block, DEPTH)
        shown = [
            line.folded(style, block if figures else 0, deepest, hidden)
            for line, figures in zip(lines, beside, strict=True)
        ]
        room = max((cells(one.text) for (one, *_), figures in zip(shown, beside, strict=True) if figures), default=0)
        if style.columns is not None:
            # With -vv, what is longer pushes its columns aside.
            room = max(min(room, style.columns - block), 0)
        found: list[str] = []
        for (line, *below), figures in zip(shown, beside, strict=True):
            painted = line.painted(style)
            gap = " " * (room - cells(line.text)) + _GAP
            found.append(f"{painted}{gap}{faint(figures, style)}" if figures else painted)
            found += [one.painted(style) for one in below]
        return found

    def _texts_of(self, line: OverviewLine) -> tuple[str, ...]:
        if line.observation is not None:
            figures = self._of(line.observation)
        elif line.members:
            figures = self.total(line.members)
        else:
            return ("", "", "")
        return tuple(map(self._style.encodable, figures.texts()))

    def _widths(self, rows: Sequence[Sequence[str]]) -> list[int]:
        """Return the widths of the columns, 0 for those without room: the last ones give way to the lines."""
        widths = [max(map(len, column), default=0) for column in zip(*rows, strict=True)] or [0, 0, 0]
        columns = self._style.columns
        if columns is not None and not self._style.whole:
            for index in reversed(range(len(widths))):
                if columns - _width(widths) < _LEAST:
                    widths[index] = 0
        return widths


def _joined(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return a row of the columns; nothing if it has no figures."""
    shown = [text.rjust(width) for text, width in zip(row, widths, strict=True) if width]
    return f"{_START}{_GAP.join(shown)}".rstrip() if any(map(str.strip, shown)) else ""


def _width(widths: Iterable[int]) -> int:
    """Return the cells that the columns take, with the gap before them."""
    shown = [width for width in widths if width]
    return len(_GAP) + len(_START) + sum(shown) + len(_GAP) * (len(shown) - 1) if shown else 0
