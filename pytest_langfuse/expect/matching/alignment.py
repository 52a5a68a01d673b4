"""Aligning a whole forest with what a literal expects, once it is known that they do not match."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.matching.descendant_lines import DescendantLines
from pytest_langfuse.expect.matching.level import (
    CountedLine,
    DescendantLine,
    ExtraObservation,
    Level,
    LevelPairing,
    MatchedLine,
    MissingLine,
    Placement,
    arrange,
)
from pytest_langfuse.expect.matching.likeness import NEVER, Likeness
from pytest_langfuse.expect.matching.matcher import Matcher, counted
from pytest_langfuse.expect.matching.siblings import align_siblings
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.trace import roots

#: Observations looked at, for each missing line, in search of where it went.
_CHOICES: Final = 32
_STEPS: Final = 1_000


class Alignment:
    """Every line and every captured observation, each with its counterpart if there is one.

    Counterparts are found before anything is shown: an observation that has another parent and another model than
    expected is one `MatchedLine`. `everything` are all captured observations, in the order in which they started.
    """

    def __init__(self, root: ExpectedLine, everything: Sequence[Observation], matcher: Matcher) -> None:
        self.matcher: Final = matcher
        self.root: Final = root
        self.everything: Final = everything
        #: By the id of the observation.
        self.match_of: dict[int, MatchedLine] = {}
        self.likeness: Final = Likeness(matcher, _lines(root), everything)
        self._missing: list[MissingLine] = []
        self._spare = _SpareObservations()
        if matcher.contained:
            self.level = self._anywhere(root)
        else:
            self.level = self._level(root, roots(everything), None)
        self._descend(self.level)
        self._find_moved()

    def lines(self) -> Iterator[ExpectedLine]:
        """All lines of the literal, its root included."""
        return _lines(self.root)

    # -- level by level ----------------------------------------------------------------------------------------

    def _descend(self, top: Level) -> None:
        """Align all levels below `top`, as far as they do not match as a whole."""
        work = [*_matches(top)]
        while work:
            match = work.pop()
            if not match.whole:
                match.level = self._level(match.expected, match.captured.children, match)
                work += _matches(match.level)

    def _level(self, parent: ExpectedLine, captured: Sequence[Observation], under: MatchedLine | None) -> Level:
        above = under.captured if under is not None else None
        deep = DescendantLines(parent, above, under, self.likeness)
        gone = {id(observation) for observation in captured if id(observation) in self.match_of}
        pairing = LevelPairing(descendants=deep.entries, gone=gone)
        # What was found to belong elsewhere is not up for another line.
        free = [observation for observation in captured if id(observation) not in pairing.gone]
        siblings = align_siblings(
            parent, free, self.likeness, deep.leads, ordered=self.matcher.ordered, open_=self.matcher.contained
        )
        for pairs, place, kind in (
            (siblings.pairs, Placement.IN_PLACE, pairing.in_place),
            (siblings.reordered, Placement.REORDERED, pairing.reordered),
        ):
            for slot, index in pairs:
                line = siblings.slots[slot].expected
                if line is not None:
                    kind.setdefault(id(line), []).append(self._pair(line, free[index], place))
        for slot in siblings.missing:
            line = siblings.slots[slot].expected
            if line is not None:
                self._miss(line, under, pairing)
        if parent.reaching:
            lines = counted(parent)
            for index, allowed in siblings.extra.items():
                passes = self.matcher.leads_any(parent.reaching, free[index])
                siblings.extra[index] = allowed or (passes and not any(line.fits(free[index]) for line in lines))
        for index, allowed in siblings.extra.items():
            pairing.extra[id(free[index])] = allowed
            self._spare.offer(free[index], allowed=allowed)
        return arrange(parent, captured, pairing, ordered=self.matcher.ordered)

    def _anywhere(self, root: ExpectedLine) -> Level:
        """The top level of a literal whose lines may be anywhere in the captured forest."""
        everything = self.everything
        lines = [line for line in root.children for _ in range(line.low)]
        limited = [line for line in root.children if line.high is not None and line.high > line.low]
        assignment = self.likeness.whole_matches(lines, limited, everything)
        for observation in everything:
            self._spare.add(observation, allowed=True)
        # That a line of the top level has an observation does not keep it from being below one of another line.
        taken = {id(everything[place]) for place in assignment.found if place >= 0}
        pairing = LevelPairing()
        for line, place in zip(lines, assignment.found, strict=True):
            captured = everything[place] if place >= 0 else self._spare.choose(line, self.likeness, taken)
            if captured is None:
                self._miss(line, None, pairing)
                continue
            taken.add(id(captured))
            match = MatchedLine(line, captured, Placement.IN_PLACE, self.likeness.whole(line, captured))
            pairing.in_place.setdefault(id(line), []).append(match)
        for place, index in enumerate(assignment.owner if limited else ()):
            one = everything[place]
            if id(one) in taken:
                continue
            further = limited[index - len(lines)] if index >= len(lines) else self._with_room(limited, one, pairing)
            if further is not None:
                taken.add(id(one))
                match = MatchedLine(further, one, Placement.IN_PLACE, self.likeness.whole(further, one))
                pairing.in_place.setdefault(id(further), []).append(match)
        pairing.extra = {id(observation): False for observation in everything if id(observation) not in taken}
        level = arrange(root, everything, pairing, ordered=False)
        return [entry for entry in level if not isinstance(entry, ExtraObservation)]

    @staticmethod
    def _with_room(
        limited: Sequence[ExpectedLine], captured: Observation, pairing: LevelPairing
    ) -> ExpectedLine | None:
        """Return the line that speaks of an observation, and may have more than it has."""
        for line in limited:
            if line.fits(captured) and line.high is not None and len(pairing.in_place.get(id(line), ())) < line.high:
                return line
        return None

    def _pair(
        self, expected: ExpectedLine, captured: Observation, place: Placement, under: MatchedLine | None = None
    ) -> MatchedLine:
        match = MatchedLine(expected, captured, place, self.likeness.whole(expected, captured), under)
        self.match_of[id(captured)] = match
        if match.whole and id(captured) in self._spare and not self.matcher.contained:
            # The observations below a whole match are no longer free.
            self.match_of.update((id(below), match) for below in _below(captured))
        return match

    def _miss(self, line: ExpectedLine, under: MatchedLine | None, pairing: LevelPairing) -> None:
        missing = MissingLine(line, under)
        pairing.missing.setdefault(id(line), []).append(missing)
        self._missing.append(missing)

    # -- what is elsewhere -------------------------------------------------------------------------------------

    def _find_moved(self) -> None:
        """Give lines without an observation, parents before children, the most alike of those without a line."""
        while self._missing:
            queue = deque(self._missing)
            self._missing = []
            while queue:
                missing = queue.popleft()
                expected = missing.expected
                # A line for any name would take every observation without a line.
                captured = None if expected.name.any else self._spare.choose(expected, self.likeness, self.match_of)
                if captured is None:
                    missing.below = [MissingLine(child, None) for child in expected.children if child.low]
                    queue.extendleft(reversed(missing.below))
                    continue
                missing.match = match = self._pair(expected, captured, Placement.MOVED, missing.under)
                self._break_above(captured)
                if not match.whole:
                    match.level = self._level(expected, captured.children, match)
                    self._descend(match.level)

    def _break_above(self, captured: Observation) -> None:
        broken = self.likeness.broken
        parent = captured.parent
        while parent is not None and id(parent) not in broken:
            broken.add(id(parent))
            parent = parent.parent


class _SpareObservations:
    """Captured observations that have no line, by name."""

    def __init__(self) -> None:
        self._named: defaultdict[str, deque[tuple[Observation, bool]]] = defaultdict(deque)
        self._all: deque[tuple[Observation, bool]] = deque()
        self._ids: set[int] = set()

    def __contains__(self, identity: int) -> bool:
        return identity in self._ids

    def offer(self, captured: Observation, *, allowed: bool) -> None:
        """Add an observation and all below it. One that a `...` line `allowed` is a second choice."""
        for observation in (captured, *_below(captured)):
            self.add(observation, allowed=allowed)

    def add(self, captured: Observation, *, allowed: bool) -> None:
        """Add an observation without what is below it."""
        self._named[captured.name].append((captured, allowed))
        self._all.append((captured, allowed))
        self._ids.add(id(captured))

    def choose(self, line: ExpectedLine, likeness: Likeness, taken: Container[int]) -> Observation | None:
        """The observation that is most like `line` and has none yet."""
        pool = self._all if line.name.exact is None else self._named.get(line.name.exact, deque())
        while pool and id(pool[0][0]) in taken:
            pool.popleft()
        best, least, looked = None, NEVER, 0
        for observation, allowed in islice(pool, _STEPS):
            if id(observation) in taken or not line.name.matches(observation.name):
                continue
            cost = likeness.cost(line, observation) + allowed
            if cost < least:
                best, least = observation, cost
            looked += 1
            if looked == _CHOICES or not cost:
                break
        return best


def _lines(root: ExpectedLine) -> Iterator[ExpectedLine]:
    stack = [root]
    while stack:
        line = stack.pop()
        yield line
        stack.extend(line.children)


def _below(captured: Observation) -> Iterator[Observation]:
    stack = captured.children[::-1]
    while stack:
        observation = stack.pop()
        yield observation
        stack.extend(reversed(observation.children))


def _matches(level: Level) -> Iterable[MatchedLine]:
    for entry in level:
        if isinstance(entry, MatchedLine):
            yield entry
        elif isinstance(entry, CountedLine):
            yield from entry.in_place
        elif isinstance(entry, DescendantLine):
            yield from entry.matches
