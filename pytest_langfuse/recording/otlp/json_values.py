"""Attribute values, ids and times of OTLP/JSON as Langfuse's ingestion reads them."""

from __future__ import annotations

import math
import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any, Final, TypeGuard

from pytest_langfuse.recording.json_attributes import JsonAttributes
from pytest_langfuse.recording.otlp.json_check import bytes_of
from pytest_langfuse.recording.server_view.javascript import number, stringify, text, to_number, trim
from pytest_langfuse.recording.server_view.unconvertible import UnconvertibleError

_HALF: Final = 2**32
#: The range of a JavaScript `Date`, in nanoseconds.
_MAX_TIME: Final = 8_640_000_000_000_000 * 1_000_000
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,60}|0[xX][0-9a-fA-F]{1,50}|0[oO][0-7]{1,60}|0[bB][01]{1,200}")
_NOT_A_NUMBER: Final = object()


def attributes_of(pairs: Any) -> tuple[JsonAttributes, str | None]:
    """Return the attributes in a list of key-value pairs, and why the ingestion fails on one of them, if it does."""
    attributes: dict[str, Any] = {}
    ingested: dict[str, Any] = {}
    failure: str | None = None
    for pair in pairs or ():
        if pair is None:
            failure = failure or "a null is among the attributes"
            continue
        key, value = (
            (pair.get("key", "undefined"), pair.get("value")) if isinstance(pair, dict) else ("undefined", None)
        )
        key = text(key)
        try:
            plain = _plain(value)
        except UnconvertibleError as error:
            failure = failure or f"attribute {key!r} {error}"
            plain = None
        attributes[key] = _as_set(value, plain)
        if key != "__proto__":  # an assignment to it sets the object's prototype
            ingested[key] = plain
    return JsonAttributes(attributes, ingested), failure


def _plain(value: Any) -> Any:
    """Return what the ingestion makes of a value.

    (server, 2026-08: `convertValueToPlainJavascript`)
    """
    if value is None:
        message = "has no value"
        raise UnconvertibleError(message)
    if not isinstance(value, dict):
        return stringify(value)
    for kind in ("stringValue", "doubleValue", "boolValue"):
        if kind in value:
            return _double(value[kind]) if kind == "doubleValue" else value[kind]
    array = value.get("arrayValue")
    if isinstance(array, list) or (isinstance(array, dict) and "values" in array):
        values = array.get("values") if isinstance(array, dict) else None
        if not isinstance(values, list):
            message = "has an arrayValue without a list of values"
            raise UnconvertibleError(message)
        return [_plain(item) for item in values]
    if "intValue" in value and (integer := _int(value["intValue"])) is not _NOT_A_NUMBER:
        return integer
    return stringify(value)


def _double(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # "NaN", "Infinity" and "-Infinity" are strings in OTLP/JSON, and Langfuse keeps them as such.
    double = to_number(value)
    return double if math.isfinite(double) else value


def _int(value: Any) -> Any:  # noqa: PLR0911 - one a form
    """Return an integer, which JSON carries as a number, as text, or in two halves; `_NOT_A_NUMBER` for the rest."""
    if isinstance(value, str):
        parsed = to_number(value)
        return _NOT_A_NUMBER if math.isnan(parsed) else parsed
    if _is_number(value):
        return value
    if isinstance(value, dict) and _is_number(high := value.get("high")):
        if high == 0:
            return value.get("low", _NOT_A_NUMBER)
        low = value.get("low", math.nan)
        if high == low == -1:
            return -1
        if isinstance(low, str | list | dict):
            return text(high * _HALF) + text(low)
        return number(high * _HALF + to_number(low))
    return _NOT_A_NUMBER


def _as_set(value: Any, plain: Any) -> Any:  # noqa: PLR0911 - one a kind of value
    """Return the value as the application set it, where that is not what the ingestion makes of it."""
    if not isinstance(value, dict):
        return plain
    if not value:
        return None
    array, pairs = value.get("arrayValue"), value.get("kvlistValue")
    if isinstance(plain, list) and isinstance(array, dict):
        return [_as_set(item, one) for item, one in zip(array["values"], plain, strict=True)]
    if not isinstance(plain, str) or "stringValue" in value:
        return plain
    if array == {}:
        return []
    if isinstance(pairs, dict) and isinstance(pairs.get("values", []), list | None):
        return dict(attributes_of(pairs.get("values"))[0])
    if isinstance(value.get("bytesValue"), str):
        try:
            return b64decode(value["bytesValue"])
        except (Base64Error, ValueError):
            return plain
    return plain


def id_of(value: Any) -> str:
    """Return an id as it came: text stays as it is, bytes become hex digits.

    (server, 2026-08: `parseId`)
    """
    if isinstance(value, str):
        return value
    octets = [to_number(item) for item in bytes_of(value) or ()]
    return bytes(int(octet) % 256 if math.isfinite(octet) else 0 for octet in octets).hex()


def nanoseconds(value: Any) -> int | None:
    """Return a time, which JSON carries as text, as a number, or in two halves; `None` if it is none of these.

    (server, 2026-08: `convertNanoTimestampToISO`)
    """
    time: int | None = None
    if isinstance(value, str):
        digits = trim(value)
        if _INTEGER.fullmatch(digits):
            time = int(digits, 0) if digits[:1] == "0" and not digits.isdigit() else int(digits)
    elif _is_number(value):
        time = int(value) if math.isfinite(value) else None
    elif isinstance(value, dict):
        high, low = value.get("high"), value.get("low")
        if _is_number(high) and _is_number(low) and float(high).is_integer():
            time = int(high) * _HALF | (int(low) % _HALF if math.isfinite(low) else 0)
    return time if time is not None and abs(time) <= _MAX_TIME else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
