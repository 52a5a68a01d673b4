"""Observations that are in the way: a literal has `...` lines, but none at their place."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from pytest_langfuse.expect.literal.name_pattern import name_in_sentence
from pytest_langfuse.expect.matching.alignment import Alignment
from pytest_langfuse.expect.matching.level import ExtraObservation, LevelEntry, in_place
from pytest_langfuse.expect.text.sentences import Numbering
from pytest_langfuse.recording.observation import Observation

#: Observations that a sentence names.
_NAMED: Final = 3


@dataclass(slots=True)
class Obstacle:
    """Observations before or after the one of a line, where the literal has no `...`."""

    sibling: Observation
    side: Literal["before", "after"]
    observations: list[Observation] = field(default_factory=list)

    def sentence(self, names: Numbering) -> str:
        """`llm: retriever search is before it; add `...` above the line`."""
        counts = Counter(f"{one.type} {name_in_sentence(one.name)}" for one in self.observations)
        labels = [label if count == 1 else f"{label} ({count:,} times)" for label, count in counts.items()]
        if len(labels) > _NAMED:
            labels[_NAMED - 1 :] = [f"{len(labels) - _NAMED + 1:,} more"]
        *first, last = labels
        what = f"{', '.join(first)} and {last}" if first else last
        verb = "is" if len(self.observations) == 1 else "are"
        line = "above" if self.side == "before" else "below"
        return f"{names.name(self.sibling)}: {what} {verb} {self.side} it; add `...` {line} the line"


class Obstacles:
    """Finds what is in the way, one level of an alignment after the other."""

    def __init__(self, alignment: Alignment) -> None:
        self._alignment = alignment
        self._has_gaps = any(line.gaps for line in alignment.lines())
        self._at: dict[int, Obstacle] = {}
        self._position: dict[int, int] = {}
        if self._has_gaps:
            self._position = {id(one): index for index, one in enumerate(alignment.everything)}

    def at(self, captured: Observation) -> Obstacle | None:
        """Return the obstacle that an observation without a line is a part of, if its level has `...` elsewhere."""
        return self._at.get(id(captured))

    def hint(self, captured: Observation) -> str:
        """Return what to add to the sentence about an unexpected observation where other blocks have a `...`."""
        parent = self._alignment.match_of.get(id(captured.parent)) if captured.parent is not None else None
        if not self._has_gaps or parent is None or parent.captured is not captured.parent or parent.expected.gaps:
            return ""
        return f" (`...` below {name_in_sentence(parent.captured.name)} would allow it)"

    def look(self, level: Iterable[LevelEntry]) -> None:
        """Find the obstacles of a level."""
        matches = sorted(in_place(level), key=lambda match: self._position.get(id(match.captured), 0))
        parent = matches[0].expected.parent if matches else None
        if parent is None or not parent.gaps or not self._alignment.matcher.ordered:
            return
        positions = [self._position[id(match.captured)] for match in matches]
        last: Obstacle | None = None
        for entry in level:
            if not isinstance(entry, ExtraObservation) or entry.allowed:
                continue
            captured = entry.captured
            if id(captured) in self._alignment.match_of:
                continue
            index = bisect_left(positions, self._position[id(captured)])
            before, after = matches[max(index - 1, 0) : index], matches[index : index + 1]
            if before and after and before[0].expected is after[0].expected:
                # A `...` can't stand between what one line with a count takes.
                continue
            sibling = (after or before)[0].captured
            if last is None or last.sibling is not sibling or last.side != ("before" if after else "after"):
                last = Obstacle(sibling, "before" if after else "after")
            last.observations.append(captured)
            self._at[id(captured)] = last
