"""JavaScript's rules for JSON, numbers, text and truth, which the server applies to values.

Examples: an integer beyond 2^53 is a rounded double, `JSON.parse` rejects NaN, `[1.0]` is written as `[1]`, and `0` and
`""` count as absent where the code says `if (value)`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, Final, NoReturn

_MAX_SAFE: Final = (1 << 53) - 1
_INTEGERS_ARE_DIGITS_BELOW: Final = 1e21
_POSITIONAL_FROM: Final = 1e-6
_JSON_STARTS: Final = frozenset('{["-0123456789')
_JSON_WORDS: Final = {"true": True, "false": False, "null": None}
_JSON_SPACE: Final = " \t\n\r"
_PRECISE: Final = re.compile(r"[\d.]{13,}|\d[eE]", re.ASCII)
_LONG_DIGITS: Final = re.compile(r"[\d.]{13,}", re.ASCII)
_PARSE_HEX: Final = re.compile(r"([+-]?)0[xX]([0-9a-fA-F]*)", re.ASCII)
_PARSE_INT: Final = re.compile(r"([+-]?\d+)", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_RADIX: Final = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)", re.ASCII)
_INFINITY: Final = re.compile(r"[+-]?Infinity")
#: A property name that counts as an index (ECMA-262, "integer index").
_INDEX: Final = re.compile(r"0|[1-9]\d{0,9}", re.ASCII)
_MAX_INDEX: Final = 2**32 - 1
#: ECMA-262, "WhiteSpace" and "LineTerminator".
_WHITE_SPACE: Final = (
    "\t\n\v\f\r \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)


def parse_json(text: str) -> Any:
    """Return `JSON.parse(text)`, which rounds integers beyond 2^53.

    Raises:
        ValueError: The text is not JSON, or nested too deeply. NaN and Infinity are not JSON.
    """
    return _decode(text, _LONG_DIGITS, _PLAIN, _ROUNDING)


def parse_json_or_text(text: str) -> Any:
    """Return stored text as Langfuse reads it: parsed if it is JSON, where numbers that a double cannot hold stay text.

    (server, 2026-08: `parseJsonPrioritised`)
    """
    try:
        return _decode(text, _PRECISE, _PLAIN, _PRESERVING)
    except ValueError:
        return text


def _decode(text: str, careful: re.Pattern[str], plain: json.JSONDecoder, precise: json.JSONDecoder) -> Any:
    start = text[:1]
    if start not in _JSON_STARTS:
        stripped = text.strip(_JSON_SPACE)
        if stripped in _JSON_WORDS:
            return _JSON_WORDS[stripped]
        if start not in _JSON_SPACE or stripped[:1] not in _JSON_STARTS:
            message = "no JSON"
            raise ValueError(message)
    try:
        return (precise if careful.search(text) else plain).decode(text)
    except RecursionError:
        message = "nested too deeply"
        raise ValueError(message) from None


def number(value: float) -> float:
    """Return `value` as a JavaScript number: an integer beyond 2^53 becomes the one that its double is written as."""
    if isinstance(value, int) and -_MAX_SAFE <= value <= _MAX_SAFE:
        return value
    double = float(value)
    if double.is_integer() and abs(double) <= _MAX_SAFE:
        return int(double)
    if math.isfinite(double) and double.is_integer() and abs(double) < _INTEGERS_ARE_DIGITS_BELOW:
        return int(Decimal(repr(double)))
    return double


def number_text(value: float) -> str:
    """Return `String(number)`."""
    value = number(value)
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    shortest = repr(value)
    if _POSITIONAL_FROM <= abs(value) < _INTEGERS_ARE_DIGITS_BELOW:
        return format(Decimal(shortest), "f")
    mantissa, _, exponent = shortest.partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def stringify(value: Any) -> str:
    """Return `JSON.stringify` of a JSON value, however deeply it is nested."""
    written: list[str] = []
    # Values that are still to be written, the next one last; `_Written` is text that goes between them.
    waiting: list[Any] = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, Mapping):
            waiting.append(_CLOSE_OBJECT)
            for number_of, (key, item) in reversed(list(enumerate(in_property_order(current)))):
                waiting += (item, _Written(("," if number_of else "{") + f"{encode_basestring(key)}:"))
            if not current:
                written.append("{")
        elif isinstance(current, list | tuple):
            waiting.append(_CLOSE_LIST)
            for number_of, item in reversed(list(enumerate(current))):
                waiting += (item, _Written("," if number_of else "["))
            if not current:
                written.append("[")
        else:
            written.append(current if isinstance(current, _Written) else _scalar_json(current))
    return "".join(written)


class _Written(str):
    """Text that is part of the result as it is."""

    __slots__ = ()


_CLOSE_OBJECT: Final = _Written("}")
_CLOSE_LIST: Final = _Written("]")


def _scalar_json(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "null"
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value)


def in_property_order(value: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return the items of an object in JavaScript's order: integer keys first, by value."""
    if not any(key[:1].isdigit() for key in value):
        return value.items()
    indices = sorted(index for index in (int(key) for key in value if _INDEX.fullmatch(key)) if index < _MAX_INDEX)
    first = dict.fromkeys(map(str, indices))
    return [(key, value[key]) for key in (*first, *(key for key in value if key not in first))]


def text(value: Any) -> str:
    """Return `String(value)`."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, Mapping):
        return "[object Object]"
    return ",".join(map(_element_text, _leaves(value)))


def _leaves(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the elements of nested lists; an empty list counts as one."""
    levels = [iter(items)]
    while levels:
        for item in levels[-1]:
            if isinstance(item, list | tuple) and item:
                levels.append(iter(item))
                break
            yield item
        else:
            levels.pop()


def _element_text(item: Any) -> str:
    return "" if item is None or isinstance(item, list | tuple) else text(item)


def trim(value: str) -> str:
    """Return `value.trim()`: the byte order mark is white space to JavaScript, control characters are not."""
    return value.strip(_WHITE_SPACE)


def text_or_json(value: Any) -> str:
    """Return a string unchanged and anything else as JSON, as the server writes most attributes into a text column."""
    return value if isinstance(value, str) else stringify(value)


def truthy(value: Any) -> bool:
    """Return whether `if (value)` holds: lists and objects are true, and `""`, `0`, `false` and `null` are not."""
    return (bool(value) and value == value) or isinstance(value, list | dict)  # noqa: PLR0124 - NaN is false


def to_number(value: Any) -> float:  # noqa: PLR0911 - one a kind of value
    """Return `Number(value)`: NaN for anything but a number."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, Mapping):
        return math.nan
    stripped = trim(text(value))
    if not stripped:
        return 0
    if _DECIMAL.fullmatch(stripped):
        return number(float(stripped))
    if _RADIX.fullmatch(stripped):
        return number(int(stripped, 0))
    return float(stripped.replace("Infinity", "inf")) if _INFINITY.fullmatch(stripped) else math.nan


def parse_int(value: Any) -> float:
    """Return `parseInt(value, 10)`: the leading integer of a text, or NaN if it has none."""
    match = _PARSE_INT.match(trim(text(value)))
    return number(float(match[1])) if match else math.nan


def parse_int_or_hex(value: Any) -> float:
    """Return `parseInt(value)`, which reads hexadecimal digits after `0x`."""
    match = _PARSE_HEX.match(trim(text(value)))
    if match is None:
        return parse_int(value)
    if not match[2]:
        return math.nan
    return number(int(f"{match[1]}{match[2]}", 16))


def _round(token: str) -> float:
    return number(float(token))


def _preserve(token: str) -> float | str:
    """Return the number, or its text if a double would not keep its digits (lossless-json: `isSafeNumber`)."""
    value = float(token)
    if not math.isfinite(value) or _digits(token) != _digits(repr(value)):
        return token
    return number(value) if "." not in token and "e" not in token.lower() else value


def _digits(token: str) -> str:
    mantissa = token.lower().partition("e")[0].lstrip("-")
    return mantissa.lstrip("0.").rstrip("0.").replace(".", "")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


_PLAIN: Final = json.JSONDecoder(parse_constant=_refuse)
_ROUNDING: Final = json.JSONDecoder(parse_constant=_refuse, parse_int=_round)
_PRESERVING: Final = json.JSONDecoder(parse_constant=_refuse, parse_int=_preserve, parse_float=_preserve)
