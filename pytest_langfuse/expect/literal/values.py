"""JSON values in literals and sentences: equality, text, and cutting what is too long to read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from pytest_langfuse.arguments import shown
from pytest_langfuse.expect.shown_secrets import hidden, trimmed_end, trimmed_start


class Absent:
    """The value of a path that leads nowhere."""

    def __repr__(self) -> str:
        return "not set"


ABSENT: Final = Absent()

#: Characters of a value that are shown without -vv.
WIDTH: Final = 60

_DIGITS: Final = 1_000
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_BARE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./:@+-]*", re.ASCII)
#: Words that JSON (as Python reads it) gives a meaning to.
CONSTANTS: Final[Mapping[str, Any]] = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
}


def same(expected: Any, captured: Any) -> bool:
    """Return whether two JSON values are equal: `true` is not `1`, `1` is `1.0`, NaN equals NaN, tuples are lists.

    Values that are not JSON (a matcher of dirty-equals) decide by their own `==`.
    """
    if type(expected) is str or expected is None:
        return type(expected) is type(captured) and bool(expected == captured)
    pairs = [(expected, captured)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, dict):
            if not isinstance(other, dict) or len(one) != len(other):
                return False
            for key, value in one.items():
                if key not in other:
                    return False
                pairs.append((value, other[key]))
        elif isinstance(one, list | tuple):
            if not isinstance(other, list | tuple) or len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif not _same_scalar(one, other):
            return False
    return True


def _same_scalar(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        # A matcher on the left decides by itself, also about `True`.
        return one is other if isinstance(one, bool | int | float | str | None) else bool(one == other)
    if isinstance(one, int | float | Decimal) and isinstance(other, int | float | Decimal):
        return one == other or float(one) == float(other) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def number_in(word: str) -> Any:
    """The JSON number, `true`, `false` or `null` that a bare word is, else the word."""
    if word in CONSTANTS:
        return CONSTANTS[word]
    # Python refuses to read integers of thousands of digits.
    return json.loads(word) if len(word) < _DIGITS and _NUMBER.fullmatch(word) else word


def is_set(value: Any) -> bool:
    """Return whether Langfuse shows a value for a field: `None`, `""`, `{}` and `[]` mean that it shows none."""
    return value is not None and not (isinstance(value, str | list | tuple | dict) and not value)


def compact(value: Any, *, sort_keys: bool = False) -> str:
    """JSON on one line, without spaces between tokens; what is not JSON becomes its `str`."""
    try:
        text = (_SORTED if sort_keys else _UNSORTED).encode(value)
    except (ValueError, RecursionError):
        # It holds itself, or an integer of thousands of digits.
        text = shown(value)
    return text if text.isprintable() else "".join(char if char.isprintable() else escape(char) for char in text)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)


# `json.dumps` would build an encoder at each call, which takes longer than to encode a short value.
_UNSORTED: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain)
_SORTED: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain, sort_keys=True)


def escape(char: str) -> str:
    """Escape what a terminal would hide or show as something else: zero-width and direction marks, NEL and so on."""
    code = ord(char)
    if code > 0xFFFF:  # noqa: PLR2004 - the last code point that one escape can hold
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"


#: The first of two surrogates that would be read as one character.
_FIRST_OF_PAIR: Final = re.compile("([\ud800-\udbff])(?=[\udc00-\udfff])")


def quoted(text: str) -> str:
    """A string in the literal's quotes: double ones, or single ones where that saves backslashes."""
    double = compact(text) if text.isascii() else _without_pairs(text)
    if '"' in text and "'" not in text and double.count("\\") == text.count('"'):
        return f"'{text}'"
    return double


def _without_pairs(text: str) -> str:
    """Return `compact` of a text, a surrogate that is followed by its other half as a long escape."""
    parts = _FIRST_OF_PAIR.split(text)
    parts[::2] = [compact(part)[1:-1] for part in parts[::2]]
    parts[1::2] = [f"\\U{ord(part):08x}" for part in parts[1::2]]
    return '"' + "".join(parts) + '"'


def literal_text(value: Any) -> str:
    """A value as the literal writes it: a bare word where nothing is lost by it, else JSON."""
    if isinstance(value, str):
        return value if len(value) <= WIDTH and _BARE.fullmatch(value) and value not in CONSTANTS else quoted(value)
    return compact(value)


def sentence_text(value: Any) -> str:
    """A value as a sentence writes it: strings in single quotes, JSON, and matchers as their `repr`."""
    if value is None or isinstance(value, bool | int | float | Decimal | list | tuple | dict):
        return compact(value)
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - an object of the test, which may be broken
        return shown(value)


def narrowed(expected: Any, captured: Any) -> tuple[list[str], Any, Any]:
    """The one part in which two JSON values differ: its path and both values, `ABSENT` where one has no such part.

    The path ends where more than one part differs.
    """
    path: list[str] = []
    while True:
        if isinstance(expected, dict) and isinstance(captured, dict):
            keys = [*expected, *(key for key in captured if key not in expected)]
            parts = [(key, expected.get(key, ABSENT), captured.get(key, ABSENT)) for key in keys]
        elif isinstance(expected, list | tuple) and isinstance(captured, list | tuple):
            if len(expected) != len(captured):
                return path, expected, captured
            parts = [(str(index), *pair) for index, pair in enumerate(zip(expected, captured, strict=True))]
        else:
            return path, expected, captured
        different = [part for part in parts if ABSENT in part[1:] or not same(*part[1:])]
        if len(different) != 1:
            return path, expected, captured
        part, expected, captured = different[0]
        path.append(part)


def part_of(value: Any, path: Sequence[str]) -> Any:
    """The part of a JSON value at a path that `narrowed` returned."""
    for part in path:
        value = value[int(part)] if isinstance(value, list | tuple) else value[part]
    return value


def cut(text: str, width: int | None = WIDTH) -> str:
    """The first `width` characters of `text`; all of it if `width` is `None`."""
    if width is None or len(text) <= width:
        return text
    text = hidden(text)
    return text if len(text) <= width else trimmed_end(text[:width]) + "…"


def cut_pair(expected: Any, captured: Any, width: int | None, text: Callable[[Any], str]) -> tuple[str, str]:
    """Two values that differ as `text` writes them, cut to about `width` characters around the first difference."""
    if isinstance(expected, str) and isinstance(captured, str):
        one, other = _cut_around_difference(expected, captured, width)
        return text(one), text(other)
    if isinstance(expected, list | tuple | dict) and isinstance(captured, list | tuple | dict):
        whole = text(expected), text(captured)
        if width is None or max(map(len, whole)) <= width:
            return whole
        # In one order of keys, or the first difference would be one of order.
        return _cut_around_difference(compact(expected, sort_keys=True), compact(captured, sort_keys=True), width)
    return cut_value(expected, width, text), cut_value(captured, width, text)


def cut_value(value: Any, width: int | None, text: Callable[[Any], str]) -> str:
    """A value as `text` writes it, cut to about `width` characters."""
    return text(cut(value, width)) if isinstance(value, str) else cut(text(value), width)


def _cut_around_difference(one: str, other: str, width: int | None) -> tuple[str, str]:
    if width is None or (len(one) <= width and len(other) <= width):
        return one, other
    one, other = hidden(one), hidden(other)
    if one == other:
        return _window(one, 0, width), _window(other, 0, width)
    first = next(
        (index for index, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
        min(len(one), len(other)),
    )
    start = max(0, first - width // 3)
    return _window(one, start, width), _window(other, start, width)


def _window(text: str, start: int, width: int) -> str:
    # One character more costs less room than the mark which says that it is missing.
    start = 0 if start <= 1 else start
    end = len(text) if len(text) <= start + width + 1 else start + width
    part = text[start:end]
    if end < len(text):
        part = f"{trimmed_end(part)}…"
    return f"…{trimmed_start(part)}" if start else part
