"""Lines that compete with `>>` lines: an observation satisfies one line at most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from pytest_langfuse.expect.literal.expected_line import ANY_TYPE, ExpectedLine
from pytest_langfuse.expect.matching.assignment import Questions
from pytest_langfuse.recording.observation import Observation


class RivalLines:
    """The lines below `parent` that may take what one of its `>>` lines fits, wherever they stand.

    `lines` are copies, each with the count of all its places: `tool x` below `2x span step` is there twice. `most` is
    the number of all observations; none is there more often than one more.
    """

    def __init__(self, parent: ExpectedLine, most: int) -> None:
        self.lines: Final[list[ExpectedLine]] = []
        self._standing: dict[int, _StandingLine] = {}
        for standing in _below(parent) if parent.descendants else ():
            if any(_may_share(standing.line, deep) for deep in parent.descendants):
                rival = replace(standing.line, low=min(standing.low, most + 1), high=standing.high)
                self.lines.append(rival)
                self._standing[id(rival)] = standing
        self.names: Final = {line.name.text: line.name for line in self.lines}.values()

    def __contains__(self, line: ExpectedLine) -> bool:
        return id(line) in self._standing

    def ask(self, questions: Questions, above: Observation | None) -> Questions:
        """Ask `questions`, but answer that a rival is not an observation that stands elsewhere below `above`."""
        reply: bool | None = None
        while True:
            try:
                line, observation = questions.send(reply)  # type: ignore[arg-type] # the first is None, by protocol
            except StopIteration as end:
                return bool(end.value)
            reply = (yield line, observation) if self.stands(line, observation, above) else False

    def stands(self, line: ExpectedLine, observation: Observation, above: Observation | None) -> bool:
        """Return whether the lines above a rival fit the observations above `observation`, up to `above`."""
        standing, below = self._standing.get(id(line)), observation
        while standing is not None and not standing.line.deep:
            standing, parent = standing.above, below.parent
            if standing is None:
                return parent is above
            if parent is None or not standing.line.fits(parent):
                return False
            below = parent
        return True


class _StandingLine(NamedTuple):
    """A line, how often it is there in all, and the one above it; `None` at the top."""

    line: ExpectedLine
    low: int
    high: int | None
    above: _StandingLine | None


def _below(parent: ExpectedLine) -> Iterator[_StandingLine]:
    """Yield the lines below `parent` but its own `>>` lines."""
    stack = [_StandingLine(line, line.low, line.high, None) for line in parent.children]
    while stack:
        above = stack.pop()
        if above.above is not None or not above.line.deep:
            yield above
        stack += [
            _StandingLine(line, above.low * line.low, _times(above.high, line.high), above)
            for line in above.line.children
        ]


def _times(one: int | None, other: int | None) -> int | None:
    if 0 in (one, other):
        return 0
    return None if one is None or other is None else one * other


def _may_share(line: ExpectedLine, deep: ExpectedLine) -> bool:
    """Return whether, by type and name, an observation may be what both lines say."""
    if ANY_TYPE not in (line.type, deep.type) and line.type != deep.type:
        return False
    if line.name.exact is not None:
        return deep.name.matches(line.name.exact)
    return deep.name.exact is None or line.name.matches(deep.name.exact)
