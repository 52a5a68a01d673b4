"""Ids of tests in which a part was redacted: which other ids may be the same test."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

#: What stands in place of a secret, or of the value of a variable.
_MARK: Final = re.compile(r"\[redacted: ([^\[\]]+)\]")
_VARIABLE: Final = re.compile(r"[A-Za-z_]\w*")
#: What tells tests apart that are alike without their secrets.
_NUMBER: Final = re.compile(r"(.+) \((\d+)\)", re.DOTALL)
#: Values of variables are at least as long.
_LONG: Final = 12


def could_be(redacted: str, other: str) -> bool:
    """Return whether an id of which a part was redacted may be another one, or that one with a part redacted."""
    pattern = _pattern(_split(redacted)[0])
    return pattern is not None and pattern.matches(_split(other)[0])


def without_number(redacted: str) -> str:
    """Return an id without the number that tells it apart from those that are alike without their secrets."""
    return _split(redacted)[0]


def same_tests(ids: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """Return which of some ids are which of some others, where a part of either was redacted.

    An id that may be one of several is none of them, unless as many ids are alike: these are in the same order.
    """
    left, right = set(ids), set(others)
    pairs = _matched(left, right)
    left -= {one for one, _ in pairs}
    right -= {other for _, other in pairs}
    return [*pairs, *((one, other) for other, one in _matched(right, left))]


def _matched(redacted: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of ids with a redacted part, and what they stand for."""
    alike: dict[str, list[str]] = {}
    for one in redacted:
        if "[redacted: " in one:
            alike.setdefault(_split(one)[0], []).append(one)
    if not alike:
        return []
    left = sorted(others, key=_split)
    names = [_split(other)[0] for other in left]
    taken: set[str] = set()
    pairs: list[tuple[str, str]] = []
    for name, members in sorted(alike.items()):
        pattern, mark = _pattern(name), _MARK.search(name)
        if pattern is None or mark is None:
            continue
        beginning = name[: mark.start()]
        found = []
        for place in range(bisect_left(names, beginning), len(names)):
            if not names[place].startswith(beginning):
                break
            if left[place] not in taken and pattern.matches(names[place]):
                found.append(left[place])
        if len(found) == len(members):
            taken.update(found)
            pairs += zip(sorted(members, key=_split), found, strict=True)
    return pairs


def _split(id_: str) -> tuple[str, int]:
    """Return an id without the number of those that are alike, and the number."""
    found = _NUMBER.fullmatch(id_) if "[redacted: " in id_ else None
    return (id_, 1) if found is None else (found[1], int(found[2]))


class _Pattern:
    """Matches all that an id may have been: its texts, with something in between, `gaps` of so many characters or more.

    Not a regular expression: with many gaps that would try all ways to split an id.
    """

    def __init__(self, texts: Sequence[str], gaps: Sequence[int]) -> None:
        self._texts, self._gaps = texts, gaps

    def matches(self, id_: str) -> bool:
        first, *between, last = self._texts
        if not id_.startswith(first):
            return False
        place = len(first)
        for text, gap in zip(between, self._gaps, strict=False):
            # The first place leaves most room for what follows.
            found = id_.find(text, place + gap)
            if found < 0:
                return False
            place = found + len(text)
        return id_.endswith(last) and place + self._gaps[-1] + len(last) <= len(id_)


@cache
def _pattern(name: str) -> _Pattern | None:
    """Return what matches all that an id may have been; `None` if nothing of it was redacted."""
    parts: Sequence[str] = _MARK.split(name)
    if len(parts) == 1:
        return None
    return _Pattern(parts[::2], [_LONG if _VARIABLE.fullmatch(mark) else 1 for mark in parts[1::2]])
