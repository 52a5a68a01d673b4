"""Span records from OTLP/JSON."""

from __future__ import annotations

import math
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NoReturn

from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.otlp.json_documents import json_documents
from pytest_langfuse.recording.span_record import SpanEvent, SpanRecord

_EXPECTED: Final = "expected an object with the key 'resourceSpans'"
_HEX: Final = frozenset("0123456789abcdef")
_STATUS: Final[Mapping[object, Literal["UNSET", "OK", "ERROR"]]] = {
    1: "OK",
    2: "ERROR",
    "1": "OK",
    "2": "ERROR",
    "STATUS_CODE_OK": "OK",
    "STATUS_CODE_ERROR": "ERROR",
}
_NO_OBJECT: Final[Mapping[str, Any]] = {}


def records_from_json(data: bytes) -> list[SpanRecord]:
    """Return the spans of one or more OTLP/JSON documents. Raises `DecodeError`, which names the place."""
    return records_from_documents(json_documents(data))


def records_from_documents(documents: Iterable[Any]) -> list[SpanRecord]:
    """Return the spans of OTLP/JSON documents, already parsed. Raises `DecodeError`, which names the place."""
    records: list[SpanRecord] = []
    for document in documents:
        # A list is what Langfuse itself keeps of a request.
        resource_spans = document if isinstance(document, list) else _resource_spans(document)
        for index, item in enumerate(resource_spans):
            records.extend(_of_resource(_object(item, f"resourceSpans[{index}]"), f"resourceSpans[{index}]"))
    return records


def _resource_spans(document: Any) -> list[Any]:
    if not isinstance(document, dict):
        message = f"the body is JSON, but a {_kind(document)}; {_EXPECTED}"
        raise DecodeError(message)
    if "resourceSpans" not in document:
        message = f"the body is JSON, but not an OTLP trace export: {_hint(document)}; {_EXPECTED}"
        raise DecodeError(message)
    return _list(document, "resourceSpans", "")


def _hint(document: Mapping[str, Any]) -> str:
    if "resource_spans" in document:
        return "it has 'resource_spans', and OTLP/JSON has lowerCamelCase keys"
    for key, what in (("resourceLogs", "logs"), ("resourceMetrics", "metrics")):
        if key in document:
            return f"it is an export of {what}"
    if "observations" in document:
        return "it looks like a trace of Langfuse's REST API"
    keys = ", ".join(repr(key) for key in list(document)[:5])
    return f"its keys are {keys}" if keys else "it is empty"


def _of_resource(resource_spans: Mapping[str, Any], place: str) -> Iterator[SpanRecord]:
    resource = _attributes(_member(resource_spans, "resource", place), f"{place}.resource")
    for index, item in enumerate(_list(resource_spans, "scopeSpans", place)):
        here = f"{place}.scopeSpans[{index}]"
        scope_spans = _object(item, here)
        scope = _member(scope_spans, "scope", here)
        scope_attributes = _attributes(scope, f"{here}.scope")
        for number, span in enumerate(_list(scope_spans, "spans", here)):
            yield _record(
                _object(span, f"{here}.spans[{number}]"), f"{here}.spans[{number}]", resource, scope, scope_attributes
            )


def _record(
    span: Mapping[str, Any],
    place: str,
    resource: Mapping[str, Any],
    scope: Mapping[str, Any],
    scope_attributes: Mapping[str, Any],
) -> SpanRecord:
    status = _member(span, "status", place)
    parent = span.get("parentSpanId")
    return SpanRecord(
        trace_id=_id(span.get("traceId"), 32, f"{place}.traceId"),
        span_id=_id(span.get("spanId"), 16, f"{place}.spanId"),
        parent_span_id=_id(parent, 16, f"{place}.parentSpanId") if parent else None,
        name=_text(span.get("name")) or "",
        start_ns=_integer(span.get("startTimeUnixNano", 0), f"{place}.startTimeUnixNano"),
        end_ns=_integer(span.get("endTimeUnixNano", 0), f"{place}.endTimeUnixNano") or None,
        attributes=_attributes(span, place),
        resource=resource,
        scope_name=_text(scope.get("name")) or "",
        scope_version=_text(scope.get("version")) or None,
        scope_attributes=scope_attributes,
        status=_STATUS.get(status.get("code"), "UNSET"),
        status_message=_text(status.get("message")) or None,
        events=[
            SpanEvent(_text(event.get("name")) or "", _attributes(event, f"{place}.events[{index}]"))
            for index, item in enumerate(_list(span, "events", place))
            for event in (_object(item, f"{place}.events[{index}]"),)
        ],
        raw=span,
        wire="json",
    )


def _attributes(owner: Mapping[str, Any], place: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for index, item in enumerate(_list(owner, "attributes", place)):
        here = f"{place}.attributes[{index}]"
        pair = _object(item, here)
        key = pair.get("key", "")
        if not isinstance(key, str):
            _wrong(f"{here}.key", "a string", key)
        attributes[key] = _value(pair.get("value"), here)
    return attributes


def _value(value: Any, place: str) -> Any:  # noqa: PLR0911 - one a kind of value
    tagged = _object({} if value is None else value, f"{place}.value")
    if "stringValue" in tagged:
        return tagged["stringValue"]
    if "boolValue" in tagged:
        return tagged["boolValue"]
    if "intValue" in tagged:
        return _integer(tagged["intValue"], f"{place}.value.intValue")
    if "doubleValue" in tagged:
        return _double(tagged["doubleValue"], f"{place}.value.doubleValue")
    if "arrayValue" in tagged:
        array = _member(tagged, "arrayValue", place)
        return [_value(item, f"{place}.value.arrayValue") for item in _list(array, "values", place)]
    if "kvlistValue" in tagged:
        pairs = _member(tagged, "kvlistValue", place)
        return _attributes({"attributes": _list(pairs, "values", place)}, f"{place}.value.kvlistValue")
    if "bytesValue" in tagged:
        try:
            return b64decode(tagged["bytesValue"])
        except (Base64Error, TypeError, ValueError):
            _wrong(f"{place}.value.bytesValue", "base64", tagged["bytesValue"])
    return None


def _double(value: Any, place: str) -> float | str:
    try:
        double = float(value)
    except (TypeError, ValueError):
        return _wrong(place, "a number", value)
    # "NaN", "Infinity" and "-Infinity" are strings in OTLP/JSON, and Langfuse keeps them as such.
    return double if math.isfinite(double) or not isinstance(value, str) else value


def _integer(value: Any, place: str) -> int:
    """A 64-bit integer, which JSON may carry as a string."""
    try:
        return int(value or 0)
    except (TypeError, ValueError, OverflowError):
        return _wrong(place, "an integer", value)


def _id(value: Any, digits: int, place: str) -> str:
    """An id in hex, as OTLP/JSON has it, or in base64, as protobuf's own JSON mapping writes it."""
    if isinstance(value, str):
        text = value.lower()
        if len(text) == digits and _HEX.issuperset(text):
            return text
        try:
            decoded = b64decode(value, validate=True)
        except (Base64Error, ValueError):
            decoded = b""
        if len(decoded) * 2 == digits:
            return decoded.hex()
    return _wrong(place, f"{digits} hex digits", value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _member(owner: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    value = owner.get(key)
    return _NO_OBJECT if value is None else _object(value, f"{place}.{key}")


def _object(value: Any, place: str) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _wrong(place, "an object", value)


def _list(owner: Mapping[str, Any], key: str, place: str) -> list[Any]:
    value = owner.get(key)
    if value is None:
        return []
    return value if isinstance(value, list) else _wrong(f"{place}.{key}".lstrip("."), "a list", value)


def _wrong(place: str, expected: str, value: Any) -> NoReturn:
    shown = _kind(value) if isinstance(value, dict | list) else repr(value)
    message = f"the body is not valid OTLP/JSON: {place} is {shown}, expected {expected}"
    raise DecodeError(message)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else type(value).__name__
