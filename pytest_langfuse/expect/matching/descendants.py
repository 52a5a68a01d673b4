"""Observations at any depth: where in a forest those are that a line fits."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.literal.name_pattern import NamePattern
from pytest_langfuse.recording.observation import Observation


class Descendants:
    """Numbers a forest so that all below an observation is a range: parents before children, in linear time."""

    def __init__(self, roots: Sequence[Observation]) -> None:
        self.order: Final[list[Observation]] = []
        self._first: dict[int, int] = {}
        self._end: dict[int, int] = {}
        self._fitting: dict[int, list[int]] = {}
        self._named: dict[str, list[int]] = {}
        self._overlap: dict[int, bool] = {}
        stack: list[tuple[Observation, bool]] = [(root, False) for root in reversed(roots)]
        while stack:
            observation, done = stack.pop()
            if done:
                self._end[id(observation)] = len(self.order)
                continue
            self._first[id(observation)] = len(self.order)
            self.order.append(observation)
            stack.append((observation, True))
            stack += [(child, False) for child in reversed(observation.children)]

    def below(self, above: Observation | None) -> range:
        """Return the places of all below `above`; `None` is above the whole forest."""
        if above is None:
            return range(len(self.order))
        return range(self._first[id(above)] + 1, self._end[id(above)])

    def fitting(self, line: ExpectedLine) -> list[int]:
        """Return the places of the observations that a line fits, without regard to what is below them."""
        places = self._fitting.get(id(line))
        if places is None:
            places = [place for place, observation in enumerate(self.order) if line.fits(observation)]
            self._fitting[id(line)] = places
        return places

    def named(self, name: NamePattern) -> list[int]:
        """Return the places of the observations of a name."""
        places = self._named.get(name.text)
        if places is None:
            places = [place for place, observation in enumerate(self.order) if name.matches(observation.name)]
            self._named[name.text] = places
        return places

    def overlap(self, lines: Sequence[ExpectedLine]) -> bool:
        """Return whether one observation is fitted by several of `lines`."""
        if len(lines) == 1:
            return False
        key = id(lines[0])
        if key not in self._overlap:
            places = [place for line in lines for place in self.fitting(line)]
            self._overlap[key] = len(places) > len(set(places))
        return self._overlap[key]

    def leads(self, line: ExpectedLine, observation: Observation) -> bool:
        """Return whether a line fits `observation` or any below it."""
        below = self.below(observation)
        return bool(within(self.fitting(line), range(below.start - 1, below.stop)))


def within(places: Sequence[int], below: range) -> Sequence[int]:
    """Return those of `places`, which are sorted, that are in a range."""
    return places[bisect_left(places, below.start) : bisect_left(places, below.stop)]


def number_within(places: Sequence[int], below: range) -> int:
    """Return how many of `places` are in a range."""
    return bisect_left(places, below.stop) - bisect_left(places, below.start)
