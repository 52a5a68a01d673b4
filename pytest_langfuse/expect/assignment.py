"""Which captured sibling is which line of a literal, when their order does not count."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from pytest_langfuse.expect.expected import Expected
from pytest_langfuse.recording.observation import Observation

_FREE: Final = -1
#: Questions asked before a hopeless search among many alike siblings ends. Lines that differ in `=` conditions or in
#: names never get near it; it bounds what 10,000 lines with globs and regular expressions of one name can cost.
_PATIENCE: Final = 2_000_000

Asking = Generator[tuple[Expected, Observation], bool, bool]


class Assignment:
    """A maximum matching (augmenting paths) of lines that must be there to captured siblings.

    `owner[i]` is the index of the line that the `i`-th captured sibling was assigned to: `-1` for none, and from
    `len(lines)` on for one of the `optional` lines. `found[j]` is the reverse, for the lines that must be there.
    """

    def __init__(self, lines: Sequence[Expected], captured: Sequence[Observation]) -> None:
        self.lines = lines
        self.captured = captured
        self.owner = [_FREE] * len(captured)
        self.found = [_FREE] * len(lines)
        self._candidates = _Candidates(captured)
        self._asked = 0

    def solve(self, optional: Sequence[Expected], needs_line: Callable[[Observation], bool]) -> Asking:
        """Assign; the answer is whether each line and each captured sibling that `needs_line` got its own.

        First every line finds a sibling, then every sibling that is left and needs it one of the `optional` lines, of
        which each takes any number. Neither step takes back what the other achieved, so both are as good as they can
        be (Mendelsohn and Dulmage 1958).
        """
        ordinals: defaultdict[str | None, int] = defaultdict(int)
        for index, line in enumerate(self.lines):
            name = line.name.exact
            ordinal = ordinals[name]
            ordinals[name] += 1
            alike = self._candidates.named(name)
            if ordinal < len(alike):
                # Most trees come as they are written, or nearly so.
                place = alike[ordinal]
                if self.owner[place] == _FREE and (yield line, self.captured[place]):
                    self._pair(index, place)
        for index in range(len(self.lines)):
            if self.found[index] == _FREE:
                yield from self._find_sibling(index)
        complete = _FREE not in self.found
        for place, observation in enumerate(self.captured):
            if self.owner[place] == _FREE and needs_line(observation):
                complete = (yield from self._find_line(place, optional, needs_line)) and complete
        return complete

    def _pair(self, index: int, place: int) -> None:
        self.found[index] = place
        self.owner[place] = index

    def _find_sibling(self, start: int) -> Asking:
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

    def _find_line(self, start: int, optional: Sequence[Expected], needs_line: Callable[[Observation], bool]) -> Asking:
        """Find a line for the sibling: an optional one, or one whose sibling finds another or needs none."""
        places = [start]
        by: dict[int, int] = {}
        first_optional = len(self.lines)
        lines = [*enumerate(optional, first_optional), *enumerate(self.lines)]
        for place in places:
            for index, line in lines:
                if index in by:
                    continue
                self._asked += 1
                if self._asked > _PATIENCE:
                    return False
                if not (yield line, self.captured[place]):
                    continue
                by[index] = place
                if index < first_optional:
                    other = self.found[index]
                    if other != _FREE and needs_line(self.captured[other]):
                        places.append(other)
                        continue
                    if other != _FREE:
                        self.owner[other] = _FREE
                self._move(index, place, start, by)
                return True
        return False

    def _move(self, index: int, place: int, start: int, by: Mapping[int, int]) -> None:
        """Give the line to the sibling, the sibling's line to the one before it on the path, and so on."""
        while True:
            before = self.owner[place]
            self.owner[place] = index
            if index < len(self.lines):
                self.found[index] = place
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

    def of(self, line: Expected) -> Sequence[int]:
        """Siblings that meet the line's name and own plain `=` conditions, and perhaps others."""
        name = line.name.exact
        if name is None:
            return self._all
        conditions = [
            condition
            for condition in line.own
            if condition.operator == "=" and condition.word is None and not condition.placeholder
            and not condition.key.raw_attribute and condition.value is not None
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
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return frozenset((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, Decimal):
        value = float(value)
    return "NaN" if isinstance(value, float) and math.isnan(value) else value
