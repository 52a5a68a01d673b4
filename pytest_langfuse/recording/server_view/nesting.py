"""Objects from dotted attribute keys: `gen_ai.prompt.0.content` becomes `[{"content": …}]`.

(server, 2026-08: `convertKeyPathToNestedObject`)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import truthy

#: Array slots that one value may take; keys that would need more are dropped.
_MAX_SLOTS: Final = 10_001
_INDEX_DIGITS: Final = 20
_FORBIDDEN: Final = frozenset({"__proto__", "constructor", "prototype"})


class _Slots(dict[str, Any]):
    """An array under construction: its indices are not in order yet."""


def nested(attributes: Mapping[str, Any], prefix: str) -> Any:
    """Return the value that the attributes below `prefix` describe, or the attribute `prefix` itself if it is set."""
    below = {key: value for key, value in attributes.items() if key.startswith(prefix)}
    if truthy(below.get(prefix)):
        return below[prefix]
    paths = _within_budget(key.replace(f"{prefix}.", "", 1) for key in below)
    is_array = any(_is_index(path.partition(".")[0]) and "." in path for path in paths)
    result: dict[str, Any] = _Slots() if is_array else {}
    for path in paths:
        parts = path.split(".")
        if is_array:
            if len(parts) == 1 or not _is_index(parts[0]):
                continue
            parts[0] = str(_index(parts[0]))
        _set(result, parts, below, f"{prefix}.{path}")
    return _finished(result)


def _set(container: dict[str, Any], parts: list[str], values: Mapping[str, Any], key: str) -> None:
    for part, following in pairwise(parts):
        if part in _FORBIDDEN:
            return
        inner = container.setdefault(part, _Slots() if _is_index(following) else {})
        if not isinstance(inner, dict):
            return
        container = inner
    if parts[-1] not in _FORBIDDEN and key in values:
        container[parts[-1]] = values[key]


def _finished(value: Any) -> Any:
    if isinstance(value, _Slots):
        # "00" is a property name, not an index; JSON drops named properties of an array.
        indexed = {_index(key): item for key, item in value.items() if _is_index(key) and str(_index(key)) == key}
        return [_finished(indexed.get(index)) for index in range(max(indexed, default=-1) + 1)]
    if isinstance(value, dict):
        return {key: _finished(item) for key, item in value.items()}
    return value


def _within_budget(paths: Iterable[str]) -> list[str]:
    """Return the paths that fit into the budget. Each costs the array slots that it adds."""
    kept: list[str] = []
    lengths: dict[str, int] = {}
    used = 0
    for path in paths:
        parts = path.split(".")
        longer: dict[str, int] = {}
        added = 0
        for position, part in enumerate(parts):
            if _is_index(part):
                array = ".".join(parts[:position])
                growth = _index(part) + 1 - lengths.get(array, 0)
                if growth > 0:
                    added += growth
                    longer[array] = lengths.get(array, 0) + growth
        if used + added <= _MAX_SLOTS:
            used += added
            lengths.update(longer)
            kept.append(path)
    return kept


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit()


def _index(part: str) -> int:
    """Return the index as a number, limited to 20 digits because a key may have a million."""
    return int(part.lstrip("0")[:_INDEX_DIGITS] or "0")
