"""Objects from dotted attribute keys: `gen_ai.prompt.0.content` becomes `[{"content": …}]`.

(server, 2026-08: `convertKeyPathToNestedObject`)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import truthy
from pytest_langfuse.recording.server_view.unconvertible import OBJECT_MEMBERS, UnconvertibleError

#: Array slots that one value may take; keys that would need more are dropped.
_MAX_SLOTS: Final = 10_001
_INDEX_DIGITS: Final = 20
_FORBIDDEN: Final = frozenset({"__proto__", "constructor", "prototype"})


class _Slots(dict[str, Any]):
    """An array under construction: its indices are not in order yet."""


def nested(attributes: Mapping[str, Any], prefix: str) -> Any:
    """Return the value that the attributes below `prefix` describe, or the attribute `prefix` itself if it is set.

    Raises:
        UnconvertibleError: One key describes a part of what another says is not an object.
    """
    below = {key: value for key, value in attributes.items() if key.startswith(prefix)}
    if truthy(below.get(prefix)):
        return below[prefix]
    paths = _within_budget(key.replace(f"{prefix}.", "", 1).split(".") for key in below)
    is_array = any(len(path) > 1 and _is_index(path[0]) for path in paths)
    result: dict[str, Any] = _Slots() if is_array else {}
    for path in paths:
        parts = path
        if is_array:
            if not _is_index(path[0]):
                continue
            # The server sets a property without a name on an element that is described as a whole.
            parts = [str(_index(path[0])), *(path[1:] or ["undefined"])]
        _set(result, parts, below, f"{prefix}.{'.'.join(path)}")
    return _finished(result)


def _set(container: dict[str, Any], parts: list[str], values: Mapping[str, Any], key: str) -> None:
    for depth, (part, following) in enumerate(pairwise(parts)):
        if part in _FORBIDDEN or (depth and part in OBJECT_MEMBERS and part not in container):
            return
        inner = container.setdefault(part, _Slots() if _is_index(following) else {})
        if not isinstance(inner, dict | list):
            message = f"attribute {key!r} describes a part of {part!r}, which has a value itself"
            raise UnconvertibleError(message)
        if isinstance(inner, list):
            return
        container = inner
    if parts[-1] not in _FORBIDDEN and key in values:
        container[parts[-1]] = values[key]


def _finished(value: dict[str, Any]) -> Any:
    """Return `value` with lists in place of the arrays under construction. A key may be nested thousands deep."""
    root: list[Any] = [value]
    waiting: list[tuple[Any, Any]] = [(root, 0)]
    while waiting:
        owner, place = waiting.pop()
        built = owner[place]
        if isinstance(built, _Slots):
            # "00" is a property name, not an index; JSON drops named properties of an array.
            indexed = {_index(key): item for key, item in built.items() if _is_index(key) and str(_index(key)) == key}
            owner[place] = built = [indexed.get(index) for index in range(max(indexed, default=-1) + 1)]
            waiting += [(built, index) for index, item in enumerate(built) if type(item) in _BUILT]
        elif type(built) is dict:
            owner[place] = built = dict(built)
            waiting += [(built, key) for key, item in built.items() if type(item) in _BUILT]
    return root[0]


def _within_budget(paths: Iterable[list[str]]) -> list[list[str]]:
    """Return the paths that fit into the budget. Each costs the array slots that it adds."""
    kept: list[list[str]] = []
    root = _Place()
    used = 0
    for path in paths:
        longer: list[tuple[_Place, int]] = []
        added = 0
        place = root
        for part in path:
            if _is_index(part):
                growth = _index(part) + 1 - place.length
                if growth > 0:
                    added += growth
                    longer.append((place, place.length + growth))
            if used + added > _MAX_SLOTS:
                break
            place = place.below.setdefault(part, _Place())
        else:
            used += added
            for array, length in longer:
                array.length = length
            kept.append(path)
    return kept


class _Place:
    """A place in the value: the array slots that are reserved at it, and the places below it."""

    __slots__ = ("below", "length")

    def __init__(self) -> None:
        self.length = 0
        self.below: dict[str, _Place] = {}


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit()


def _index(part: str) -> int:
    """Return the index as a number, limited to 20 digits because a key may have a million."""
    return int(part.lstrip("0")[:_INDEX_DIGITS] or "0")


_BUILT: Final = (dict, _Slots)
