"""Assigning captured siblings to the lines of a literal when their order does not count."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.literal.values import number_in
from pytest_langfuse.recording.observation import Observation

_FREE: Final = -1
#: Questions after which a search among many similar siblings is given up. Lines that differ in names or in `=`
#: conditions never get near it; it bounds what thousands of lines of one name with regular expressions can cost.
_PATIENCE: Final = 1_000_000
#: Characters of the longest string that is compared as the number a bare word could mean.
_LONGEST_NUMBER: Final = 32

#: A generator that asks whether a line, with all below it, is an observation; the answer is sent back to it.
Questions = Generator[tuple[ExpectedLine, Observation], bool, bool]


class Assignment:
    """A maximum matching (augmenting paths) of lines that must be there to captured siblings.

    `optional` lines take as many more siblings as their count allows. `owner[i]` is the index of the line that the
    `i`-th sibling was assigned to: `-1` for none, and from `len(lines)` on for one of the `optional` lines. `found[j]`
    is the reverse, for the lines that must be there.
    """

    def __init__(
        self,
        lines: Sequence[ExpectedLine],
        optional: Sequence[ExpectedLine],
        captured: Sequence[Observation],
    ) -> None:
        self.lines = lines
        self.captured = captured
        self.owner = [_FREE] * len(captured)
        self.found = [_FREE] * len(lines)
        self._candidates = _Candidates(captured)
        self.optional = optional
        #: The siblings of each optional line that takes only so many.
        self._taken: list[dict[int, None]] = [{} for _ in optional]
        self._named: dict[str | None, list[tuple[int, ExpectedLine]]] = {}
        self._asked = 0
        self._ordinals: defaultdict[str | None, int] = defaultdict(int)

    @property
    def gave_up(self) -> bool:
        """True if the search took too long: a "no" proves nothing then."""
        return self._asked > _PATIENCE

    def complete(self, needs_line: Callable[[Observation], bool]) -> Questions:
        """Assign, and answer whether each line, and each sibling that `needs_line`, has a partner.

        First every line finds a sibling, then every sibling that is left and needs one a line. Neither step takes
        back what the other achieved, so both are as good as they can be (Mendelsohn and Dulmage 1958).
        """
        yield from self._assign_in_order(range(len(self.lines)))
        for index in range(len(self.lines)):
            if self.found[index] == _FREE and not (yield from self._find_sibling(index)):
                return False
        for place, observation in enumerate(self.captured):
            needed = self.owner[place] == _FREE and needs_line(observation)
            if needed and not (yield from self._find_line(place, needs_line)):
                return False
        return True

    def settle(self, needs_line: Callable[[Observation], bool], *, first: int) -> Questions:
        """Assign as `complete` does, but go on where a partner is missing; the answer is always true.

        None of the `first` lines is without a partner because a later one has it.
        """
        yield from self._assign(range(first))
        yield from self._assign(range(first, len(self.lines)))
        for place, observation in enumerate(self.captured):
            if self.owner[place] == _FREE and needs_line(observation):
                yield from self._find_line(place, needs_line)
        return True

    def most(self) -> Questions:
        """Assign as many as possible; the answer is always true."""
        yield from self._assign(range(len(self.lines)))
        for place in range(len(self.captured) if self.optional else 0):
            if self.owner[place] == _FREE:
                yield from self._find_line(place, lambda _observation: True)
        return True

    def _assign(self, indexes: range) -> Questions:
        """Find siblings for as many of these lines as possible. A line that has one keeps one."""
        yield from self._assign_in_order(indexes)
        for index in indexes:
            if self.found[index] == _FREE:
                yield from self._find_sibling(index)
        return True

    def _assign_in_order(self, indexes: range) -> Questions:
        """Most trees come as they are written, or nearly so: try the first line of a name with its first sibling."""
        for index in indexes:
            line = self.lines[index]
            name = line.name.exact
            ordinal = self._ordinals[name]
            self._ordinals[name] += 1
            alike = self._candidates.named(name)
            if ordinal < len(alike):
                place = alike[ordinal]
                if self.owner[place] == _FREE and (yield line, self.captured[place]):
                    self._pair(index, place)
        return True

    def _pair(self, index: int, place: int) -> None:
        self.found[index] = place
        self.owner[place] = index

    def _find_sibling(self, start: int) -> Questions:
        """Find a sibling for the line, by making other lines change theirs where needed."""
        lines = [start]
        by: dict[int, int] = {}
        rest: dict[int, dict[int, None]] = {}
        for index in lines:
            line = self.lines[index]
            candidates = self._candidates.of(line)
            # Lines with the same candidates share what is left of them: a sibling is looked at once in a search.
            left = rest.get(id(candidates))
            if left is None:
                left = rest[id(candidates)] = dict.fromkeys(candidates)
            for place in tuple(left):
                if place in by:
                    del left[place]
                    continue
                self._asked += 1
                if self._asked > _PATIENCE:
                    return False
                if not (yield line, self.captured[place]):
                    continue
                del left[place]
                by[place] = index
                if self.owner[place] != _FREE:
                    lines.append(self.owner[place])
                    continue
                self._change(place, start, by)
                return True
        return False

    def _change(self, place: int, start: int, by: Mapping[int, int]) -> None:
        """Give the sibling to the line that wants it, that line's own to the one before it on the path, and so on."""
        while True:
            index = by[place]
            before = self.found[index]
            self._pair(index, place)
            if index == start:
                return
            place = before

    def _find_line(self, start: int, needs_line: Callable[[Observation], bool]) -> Questions:
        """Find a line for the sibling: an optional one, or one whose sibling finds another or needs none."""
        places = [start]
        by: dict[int, int] = {}
        for place in places:
            for index, line in self._lines_of(self.captured[place].name):
                if index in by:
                    continue
                self._asked += 1
                if self._asked > _PATIENCE:
                    return False
                if not (yield line, self.captured[place]):
                    continue
                by[index] = place
                others = self._in_the_way(index)
                self._asked += len(others)
                spare = next((other for other in others if not needs_line(self.captured[other])), None)
                if others and spare is None:
                    places.extend(others)
                    continue
                if spare is not None:
                    self._leave(spare)
                self._move(index, place, start, by)
                return True
        return False

    def _in_the_way(self, index: int) -> Sequence[int]:
        """The siblings that a line has, if it takes no more."""
        if index < len(self.lines):
            return () if self.found[index] == _FREE else (self.found[index],)
        line, taken = self.optional[index - len(self.lines)], self._taken[index - len(self.lines)]
        return tuple(taken) if line.high is not None and len(taken) == line.high - line.low else ()

    def _leave(self, place: int) -> None:
        index = self.owner[place]
        self.owner[place] = _FREE
        if index >= len(self.lines):
            self._taken[index - len(self.lines)].pop(place, None)

    def _lines_of(self, name: str) -> Iterator[tuple[int, ExpectedLine]]:
        """Lines that may be of that name, with their indexes; optional ones first, which take whatever comes."""
        if not self._named:
            for index, line in (*enumerate(self.optional, len(self.lines)), *enumerate(self.lines)):
                self._named.setdefault(line.name.exact, []).append((index, line))
        yield from self._named.get(None, ())
        yield from self._named.get(name, ())

    def _move(self, index: int, place: int, start: int, by: Mapping[int, int]) -> None:
        """Give the line to the sibling, the sibling's line to the one before it on the path, and so on."""
        while True:
            before = self.owner[place]
            self._leave(place)
            self.owner[place] = index
            if index < len(self.lines):
                self.found[index] = place
            elif self.optional[index - len(self.lines)].high is not None:
                self._taken[index - len(self.lines)][place] = None
            if place == start:
                return
            index, place = before, by[before]


class _Candidates:
    """The captured siblings that can be what a line says, found by name and by the values of `=` conditions."""

    def __init__(self, captured: Sequence[Observation]) -> None:
        self._captured = captured
        self._all = range(len(captured))
        self._named: dict[str, list[int]] = {}
        self._valued: dict[tuple[str, tuple[str, ...]], dict[Any, list[int]]] = {}
        for place, observation in enumerate(captured):
            self._named.setdefault(observation.name, []).append(place)

    def named(self, name: str | None) -> Sequence[int]:
        """Siblings of that name; all for a glob."""
        return self._all if name is None else self._named.get(name, ())

    def of(self, line: ExpectedLine) -> Sequence[int]:
        """Siblings that meet the line's name and own plain `=` conditions, and perhaps others."""
        name = line.name.exact
        if name is None:
            return self._all
        conditions = [
            condition
            for condition in line.own
            if condition.operator == "=" and not condition.placeholder and not condition.key.raw_attribute
            and condition.value is not None
        ]  # fmt: skip
        if not conditions:
            return self.named(name)
        index = (name, tuple(condition.key.text for condition in conditions))
        if index not in self._valued:
            valued: dict[Any, list[int]] = {}
            for place in self.named(name):
                observation = self._captured[place]
                values = tuple(_frozen(condition.key.read(observation)) for condition in conditions)
                valued.setdefault(values, []).append(place)
            self._valued[index] = valued
        return self._valued[index].get(tuple(_frozen(condition.value) for condition in conditions), ())


def _frozen(value: Any) -> Any:
    """A hashable stand-in: equal for JSON values that are equal, and perhaps for others."""
    kind = type(value)
    if kind is str:
        # A bare word may mean a number or its text.
        return value if len(value) > _LONGEST_NUMBER else _hashable_number(number_in(value))
    if kind is dict:
        return frozenset([(key, _frozen(item)) for key, item in value.items()])
    if kind is list or kind is tuple:
        return tuple([_frozen(item) for item in value])
    return value if kind is int else _hashable_number(value)


def _hashable_number(value: Any) -> Any:
    if isinstance(value, Decimal):
        value = float(value)
    return "NaN" if isinstance(value, float) and math.isnan(value) else value
