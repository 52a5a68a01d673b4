"""Attribute values as the server's ingestion sees them."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final, Literal

from pytest_langfuse.recording.json_attributes import JsonAttributes
from pytest_langfuse.recording.otlp.key_values import KeyValues
from pytest_langfuse.recording.server_view.javascript import number, stringify

Wire = Literal["protobuf", "json"]

_OWN: Final = frozenset({"user.id", "session.id"})
_PROTOTYPE: Final = "__proto__"
_EMPTY_ARRAY: Final = '{"arrayValue":{}}'
_EMPTY_VALUE: Final = "{}"


def as_ingested(attributes: Mapping[str, Any], wire: Wire) -> Mapping[str, Any]:
    """Return `attributes` as plain JSON values: the mapping itself if nothing changes.

    Strings, booleans, finite numbers and lists stay. NaN and Infinity become `None`. Langfuse does not decode bytes,
    mappings and empty values (nor, over protobuf, empty lists): these become the JSON text of their OTLP encoding.
    (server, 2026-08: `convertValueToPlainJavascript`)
    """
    if type(attributes) is JsonAttributes:
        return attributes.ingested
    if _PROTOTYPE in attributes:
        # An assignment to it sets the object's prototype.
        attributes = {key: value for key, value in attributes.items() if key != _PROTOTYPE}
    others = [key for key, value in attributes.items() if type(value) is not str and not _is_plain(value)]
    return {**attributes, **{key: _ingested(attributes[key], wire) for key in others}} if others else attributes


def _is_plain(value: Any) -> bool:
    """Return whether a value stays as it is; tags are a list of strings."""
    return value is True or (type(value) is list and len(value) > 0 and all(type(item) is str for item in value))


def of_frameworks(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that are not Langfuse's own. Most of its spans have none."""
    return {key: value for key, value in attributes.items() if not key.startswith("langfuse.") and key not in _OWN}


def _ingested(value: Any, wire: Wire) -> Any:
    if isinstance(value, str | bool):
        return value
    if value is None:
        return _EMPTY_VALUE
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        # Langfuse stores the export as JSON before it converts it, and JSON writes NaN and Infinity as null.
        return number(value) if math.isfinite(value) else None
    if isinstance(value, list) and (value or wire == "json"):
        return [_ingested(item, wire) for item in value]
    return _EMPTY_ARRAY if value == [] else stringify(_any_value(value, wire))


def _any_value(value: Any, wire: Wire) -> dict[str, Any]:  # noqa: PLR0911 - one a kind of value
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, bytes):
        octets = {"type": "Buffer", "data": list(value)}
        return {"bytesValue": octets if wire == "protobuf" else b64encode(value).decode()}
    if isinstance(value, list):
        return {"arrayValue": _values([_any_value(item, wire) for item in value], wire)}
    if isinstance(value, Mapping):
        items = value.pairs if isinstance(value, KeyValues) else value.items()
        pairs = [{"key": key, "value": _any_value(item, wire)} for key, item in items]
        return {"kvlistValue": _values(pairs, wire)}
    return {}


def _values(values: list[Any], wire: Wire) -> dict[str, Any]:
    return {"values": values} if values or wire == "json" else {}
