"""What one level of an alignment consists of, in the order in which it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from pytest_langfuse.expect.literal.expected import Expected
from pytest_langfuse.recording.observation import Observation


class Place(Enum):
    """Where a line's observation was found."""

    HERE = "below the expected parent, in its place"
    DISPLACED = "below the expected parent, but in another order"
    MOVED = "below another parent"


@dataclass(slots=True, eq=False)
class Match:
    """A line and the observation that it speaks of.

    `whole`: nothing differs, at it and below it. `under` is the match below which a moved one was expected.
    """

    expected: Expected
    captured: Observation
    place: Place
    whole: bool
    under: Match | None = None
    level: Level = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Missing:
    """A line without an observation in its place; `match` is where it was found instead, if it was.

    `under` is the match of the line above it, `below` are the lines below it if it was not found.
    """

    expected: Expected
    under: Match | None
    match: Match | None = None
    below: list[Missing] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Repeated:
    """What became of a line with a count; `surplus` are observations above it."""

    expected: Expected
    here: list[Match]
    displaced: list[Match]
    missing: list[Missing]
    surplus: list[Observation]


@dataclass(slots=True, eq=False)
class Extra:
    """An observation without a line in its place; `allowed` by a `...` line or by `assert_contains`."""

    captured: Observation
    allowed: bool


@dataclass(slots=True, eq=False)
class Written:
    """A `...` or `*` line, as written."""

    text: str


Entry = Match | Repeated | Missing | Extra | Written
Level = list[Entry]


@dataclass(slots=True)
class Findings:
    """What became of the lines and the captured siblings of one level, by their ids."""

    here: dict[int, list[Match]] = field(default_factory=dict)
    displaced: dict[int, list[Match]] = field(default_factory=dict)
    missing: dict[int, list[Missing]] = field(default_factory=dict)
    #: Captured siblings without a line, and whether that is allowed.
    extra: dict[int, bool] = field(default_factory=dict)
    #: Captured siblings that were given to a line of another level before.
    gone: set[int] = field(default_factory=set)


def arrange(parent: Expected, captured: Sequence[Observation], findings: Findings, *, ordered: bool) -> Level:
    """The level below `parent`: its lines in their order, `captured` siblings without a line between them."""
    shelf = _Shelf(parent, captured, findings)
    for index, line in enumerate(parent.children):
        shelf.write(parent, index)
        here = findings.here.get(id(line), [])
        if ordered and here:
            shelf.extras_before(here[0].captured)
        if line.count_text:
            shelf.repeated(line)
        else:
            shelf.level += here or findings.missing.get(id(line)) or _displaced(findings.displaced[id(line)])
    shelf.write(parent, len(parent.children))
    shelf.extras_before(None)
    return shelf.level


def _displaced(matches: Iterable[Match]) -> list[Missing]:
    return [Missing(match.expected, None, match) for match in matches]


def _surplus(parent: Expected, captured: Sequence[Observation], findings: Findings) -> dict[int, list[Observation]]:
    """By the id of a line that says exactly how many there are: the observations above that number."""
    surplus: dict[int, list[Observation]] = {}
    lines = [line for line in parent.children if line.count_text and line.high is not None]
    for observation in captured if lines else ():
        if findings.extra.get(id(observation)) is False:
            line = next((line for line in lines if line.fits(observation)), None)
            if line is not None:
                surplus.setdefault(id(line), []).append(observation)
    return surplus


class _Shelf:
    def __init__(self, parent: Expected, captured: Sequence[Observation], findings: Findings) -> None:
        self.level: Level = []
        self._captured = captured
        self._findings = findings
        self._next = 0
        self._surplus = _surplus(parent, captured, findings)
        self._in_surplus = {id(observation) for surplus in self._surplus.values() for observation in surplus}
        self._displaced: Mapping[int, Match] = {
            id(match.captured): match for matches in findings.displaced.values() for match in matches
        }

    def write(self, parent: Expected, index: int) -> None:
        """Add the `*` and `...` lines that stand before a line."""
        self.level += map(Written, parent.written_before(index))

    def repeated(self, line: Expected) -> None:
        """Add a line with a count."""
        findings = self._findings
        self.level.append(
            Repeated(
                line,
                findings.here.get(id(line), []),
                findings.displaced.get(id(line), []),
                findings.missing.get(id(line), []),
                self._surplus.get(id(line), []),
            )
        )

    def extras_before(self, end: Observation | None) -> None:
        """Add the siblings without a line, and those in another order, that started before `end`."""
        while self._next < len(self._captured) and self._captured[self._next] is not end:
            observation = self._captured[self._next]
            self._next += 1
            identity = id(observation)
            if identity in self._displaced:
                self.level.append(self._displaced[identity])
            elif identity in self._findings.gone:
                self.level.append(Extra(observation, allowed=False))
            elif identity in self._findings.extra and identity not in self._in_surplus:
                self.level.append(Extra(observation, self._findings.extra[identity]))
