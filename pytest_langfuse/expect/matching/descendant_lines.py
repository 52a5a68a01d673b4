"""Aligning the `>>` lines of one level with the observations at any depth below it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.matching.level import DescendantLine, MatchedLine, MissingLine, Placement
from pytest_langfuse.expect.matching.likeness import NEVER, Likeness
from pytest_langfuse.recording.observation import Observation

#: Observations that are looked at, for each line that has none, in search of the most alike.
_STEPS: Final = 1_000


class DescendantLines:
    """The `>>` lines below `parent`, each with its observations; `above` is the one that `parent` was matched with.

    What is between is not compared. An observation that has a line without `>>` is not one of theirs.
    """

    def __init__(
        self, parent: ExpectedLine, above: Observation | None, under: MatchedLine | None, likeness: Likeness
    ) -> None:
        self.entries: Final = {id(line): DescendantLine(line) for line in parent.descendants}
        self._above = above
        self._under = under
        self._likeness = likeness
        self._taken: set[int] = set()
        self._on_the_way: set[int] = set()
        if parent.descendants:
            self._align(parent)

    def leads(self, line: ExpectedLine, observation: Observation) -> bool:
        """Return whether one of the line's is `observation` or below it."""
        return id(observation) in self._on_the_way or self._likeness.matcher.descendants.leads(line, observation)

    def _align(self, parent: ExpectedLine) -> None:
        matcher = self._likeness.matcher
        assignment = matcher.deep_assignment(parent, self._above)
        theirs, rivals = [*assignment.lines, *assignment.optional], matcher.rivals(parent)
        needs = matcher.needs_deep_line(parent)
        left: list[Observation] = []
        for observation, owner in zip(assignment.captured, assignment.owner, strict=True):
            if owner >= 0:
                if theirs[owner] not in rivals:
                    self.entries[id(theirs[owner])].found += 1
                self._taken.add(id(observation))
            elif needs(observation):
                left.append(observation)
        for line, place in zip(assignment.lines, assignment.found, strict=True):
            if place < 0 and line not in rivals:
                self._find(line, left)
        for observation in left:
            if id(observation) not in self._taken:
                self._place(observation, parent.descendants)

    def _find(self, line: ExpectedLine, left: Sequence[Observation]) -> None:
        """Give a line that has too few the observation that is most like it."""
        fitting = (one for one in left if id(one) not in self._taken and line.fits(one))
        near = next(fitting, None) or self._nearest(line)
        if near is not None:
            self._differs(line, near)
        else:
            below = [MissingLine(child, None) for child in line.children if child.low]
            self.entries[id(line)].missing.append(MissingLine(line, self._under, below=below))

    def _nearest(self, line: ExpectedLine) -> Observation | None:
        best, least = None, NEVER
        index = self._likeness.matcher.descendants
        # A line for any name would take whatever is there.
        for place in islice(index.below(self._above), 0 if line.name.any else _STEPS):
            one = index.order[place]
            if id(one) not in self._taken and line.name.matches(one.name):
                cost = self._likeness.cost(line, one)
                if cost < least:
                    best, least = one, cost
        return best

    def _place(self, observation: Observation, lines: Sequence[ExpectedLine]) -> None:
        """Count an observation that a line fits: it differs below, or is one too many."""
        line = next(line for line in lines if line.fits(observation))
        entry = self.entries[id(line)]
        if line.high is None or entry.found + len(entry.matches) < line.high:
            self._differs(line, observation)
        else:
            entry.surplus += 1

    def _differs(self, line: ExpectedLine, observation: Observation) -> None:
        self._taken.add(id(observation))
        match = MatchedLine(line, observation, Placement.IN_PLACE, whole=False, under=self._under)
        self.entries[id(line)].matches.append(match)
        step: Observation | None = observation
        while step is not None and step is not self._above:
            self._on_the_way.add(id(step))
            step = step.parent
