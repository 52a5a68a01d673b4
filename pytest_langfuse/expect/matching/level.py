"""The parts of one level of an alignment, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.recording.observation import Observation


class Placement(Enum):
    """The place where the observation of a line was found."""

    IN_PLACE = "below the expected parent, in its place"
    REORDERED = "below the expected parent, but in another order"
    MOVED = "below another parent"


@dataclass(slots=True, eq=False)
class MatchedLine:
    """A line and its observation.

    `whole`: nothing differs, at it and below it. `under` is the match below which a moved one was expected.
    `siblings` are the matches in place on the level of one that is reordered, in the order of the lines.
    """

    expected: ExpectedLine
    captured: Observation
    place: Placement
    whole: bool
    under: MatchedLine | None = None
    level: Level = field(default_factory=list)
    siblings: Sequence[MatchedLine] = ()


@dataclass(slots=True, eq=False)
class MissingLine:
    """A line without an observation in its place; `match` is where it was found instead, if it was.

    `under` is the match of the line above it, `below` are the lines below it if it was not found.
    """

    expected: ExpectedLine
    under: MatchedLine | None
    match: MatchedLine | None = None
    below: list[MissingLine] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class CountedLine:
    """A line with a count and its observations; `surplus` are those above the count."""

    expected: ExpectedLine
    in_place: list[MatchedLine]
    reordered: list[MatchedLine]
    missing: list[MissingLine]
    surplus: list[Observation]


@dataclass(slots=True, eq=False)
class DescendantLine:
    """A `>>` line: how many it has `found`, those that differ, those that are `missing`, and those above its count."""

    expected: ExpectedLine
    found: int = 0
    matches: list[MatchedLine] = field(default_factory=list)
    missing: list[MissingLine] = field(default_factory=list)
    surplus: int = 0


@dataclass(slots=True, eq=False)
class ExtraObservation:
    """An observation without a line in its place; `allowed` by a `...` line or by `assert_contains`.

    `told`: a sentence about what is above it speaks of it, too.
    """

    captured: Observation
    allowed: bool
    told: bool = False


@dataclass(slots=True, eq=False)
class VerbatimLine:
    """A `...` or `*` line, as written."""

    text: str


@dataclass(slots=True, eq=False)
class TraceScores:
    """The `score` lines of the trace of a match, which stand on the level of its line."""

    match: MatchedLine


LevelEntry = MatchedLine | DescendantLine | TraceScores | CountedLine | MissingLine | ExtraObservation | VerbatimLine
Level = list[LevelEntry]


def in_place(level: Iterable[LevelEntry]) -> list[MatchedLine]:
    """Return the matches of a level that are in their place, in the order of the lines."""
    matches: list[MatchedLine] = []
    for entry in level:
        if isinstance(entry, MatchedLine) and entry.place is Placement.IN_PLACE:
            matches.append(entry)
        elif isinstance(entry, CountedLine):
            matches += entry.in_place
    return matches


@dataclass(slots=True)
class LevelPairing:
    """The lines and the captured siblings of one level, paired, by their ids."""

    in_place: dict[int, list[MatchedLine]] = field(default_factory=dict)
    reordered: dict[int, list[MatchedLine]] = field(default_factory=dict)
    missing: dict[int, list[MissingLine]] = field(default_factory=dict)
    #: Captured siblings without a line, and whether that is allowed.
    extra: dict[int, bool] = field(default_factory=dict)
    #: The `>>` lines of the level.
    descendants: dict[int, DescendantLine] = field(default_factory=dict)
    #: Captured siblings that were given to a line of another level before.
    gone: set[int] = field(default_factory=set)


def arrange(parent: ExpectedLine, captured: Sequence[Observation], pairing: LevelPairing, *, ordered: bool) -> Level:
    """The level below `parent`: its lines in their order, `captured` siblings without a line between them."""
    builder = _LevelBuilder(parent, captured, pairing)
    for index, line in enumerate(parent.children):
        builder.write(parent, index)
        if line.deep:
            builder.level.append(pairing.descendants[id(line)])
            continue
        here = pairing.in_place.get(id(line), [])
        if ordered and here:
            builder.extras_before(here[0].captured)
        if line.count_text:
            builder.repeated(line)
        else:
            builder.level += here or pairing.missing.get(id(line)) or _reordered(pairing.reordered[id(line)])
    builder.write(parent, len(parent.children))
    builder.extras_before(None)
    siblings = in_place(builder.level)
    for matches in pairing.reordered.values():
        for match in matches:
            match.siblings = siblings
    return builder.level


def _reordered(matches: Iterable[MatchedLine]) -> list[MissingLine]:
    return [MissingLine(match.expected, None, match) for match in matches]


def _surplus(
    parent: ExpectedLine, captured: Sequence[Observation], pairing: LevelPairing
) -> dict[int, list[Observation]]:
    """Return the observations above the count of a line, by the id of each line that has an exact count."""
    surplus: dict[int, list[Observation]] = {}
    lines = [line for line in parent.children if line.count_text and line.high is not None and not line.deep]
    for observation in captured if lines else ():
        if pairing.extra.get(id(observation)) is False:
            line = next((line for line in lines if line.fits(observation)), None)
            if line is not None:
                surplus.setdefault(id(line), []).append(observation)
    return surplus


class _LevelBuilder:
    def __init__(self, parent: ExpectedLine, captured: Sequence[Observation], pairing: LevelPairing) -> None:
        self.level: Level = []
        self._captured = captured
        self._pairing = pairing
        self._next = 0
        self._surplus = _surplus(parent, captured, pairing)
        self._in_surplus = {id(observation) for surplus in self._surplus.values() for observation in surplus}
        self._reordered: Mapping[int, MatchedLine] = {
            id(match.captured): match for matches in pairing.reordered.values() for match in matches
        }

    def write(self, parent: ExpectedLine, index: int) -> None:
        """Add the `*` and `...` lines that stand before a line."""
        self.level += map(VerbatimLine, parent.written_before(index))

    def repeated(self, line: ExpectedLine) -> None:
        """Add a line with a count."""
        pairing = self._pairing
        self.level.append(
            CountedLine(
                line,
                pairing.in_place.get(id(line), []),
                pairing.reordered.get(id(line), []),
                pairing.missing.get(id(line), []),
                self._surplus.get(id(line), []),
            )
        )

    def extras_before(self, end: Observation | None) -> None:
        """Add the siblings without a line, and those in another order, that started before `end`."""
        while self._next < len(self._captured) and self._captured[self._next] is not end:
            observation = self._captured[self._next]
            self._next += 1
            identity = id(observation)
            if identity in self._reordered:
                self.level.append(self._reordered[identity])
            elif identity in self._pairing.gone:
                self.level.append(ExtraObservation(observation, allowed=False))
            elif identity in self._pairing.extra and identity not in self._in_surplus:
                self.level.append(ExtraObservation(observation, self._pairing.extra[identity]))
