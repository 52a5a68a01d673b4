"""Span records from OTLP/JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NoReturn

from pytest_langfuse.recording.json_attributes import JsonAttributes
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.otlp.json_check import field_of, invalid_fields
from pytest_langfuse.recording.otlp.json_documents import json_documents
from pytest_langfuse.recording.otlp.json_values import attributes_of, id_of, nanoseconds
from pytest_langfuse.recording.server_view.input_output import reads_events
from pytest_langfuse.recording.server_view.javascript import stringify, text_or_json, truthy
from pytest_langfuse.recording.server_view.messages import READ_EVENTS
from pytest_langfuse.recording.span_record import SpanEvent, SpanRecord

_EXPECTED: Final = "expected an object with the key 'resourceSpans'"
_STATUS: Final[Mapping[float, Literal["UNSET", "OK", "ERROR"]]] = {1: "OK", 2: "ERROR"}


def exports_from_json(data: bytes) -> list[list[SpanRecord]]:
    """Return the spans of OTLP/JSON documents, each document's in a list of its own.

    Raises:
        DecodeError: The text is not JSON, or Langfuse would refuse a document; the message names the place.
    """
    return exports_from_documents(json_documents(data))


def exports_from_documents(documents: Iterable[Any]) -> list[list[SpanRecord]]:
    """Return the spans of OTLP/JSON documents that are parsed already. Results and errors are as above."""
    try:
        # A list is what Langfuse itself keeps of a request.
        return [
            _records(document if isinstance(document, list) else _resource_spans(document)) for document in documents
        ]
    except RecursionError:
        message = "the JSON body is nested too deeply"
        raise DecodeError(message) from None


def _resource_spans(document: Any) -> list[Any]:
    if not isinstance(document, dict):
        message = f"the body is JSON, but a {_kind(document)}; {_EXPECTED}"
        raise DecodeError(message)
    if "resourceSpans" not in document:
        message = f"the body is JSON, but not an OTLP trace export: {_hint(document)}; {_EXPECTED}"
        raise DecodeError(message)
    resource_spans = document["resourceSpans"]
    if isinstance(resource_spans, list) or not truthy(resource_spans):
        return resource_spans or []
    return _wrong("resourceSpans", "a list", resource_spans)


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


def _records(resource_spans: list[Any]) -> list[SpanRecord]:
    invalid = next(invalid_fields(resource_spans), None)
    if invalid is not None:
        _wrong(invalid.place, invalid.expected, invalid.value)
    records: list[SpanRecord] = []
    failure: str | None = None
    for resource_span in resource_spans:
        resource, failed = attributes_of(field_of(field_of(resource_span, "resource"), "attributes"))
        failure = failure or (failed and f"{failed}, in the resource")
        for scope_span in field_of(resource_span, "scopeSpans") or ():
            scope = field_of(scope_span, "scope")
            scope_attributes, failed = attributes_of(field_of(scope, "attributes"))
            failure = failure or (failed and f"{failed}, in a scope")
            spans = field_of(scope_span, "spans") or ()
            records.extend(_record(span, resource, scope, scope_attributes) for span in spans)
    if failure is not None and records:
        records[0].unconvertible = failure
    return records


def _record(
    span: Mapping[str, Any], resource: JsonAttributes, scope: Any, scope_attributes: JsonAttributes
) -> SpanRecord:
    attributes, failure = attributes_of(span.get("attributes"))
    events, event_failure = _events(span.get("events") or ())
    start, end = nanoseconds(span.get("startTimeUnixNano")), nanoseconds(span.get("endTimeUnixNano"))
    scope_name = field_of(scope, "name")
    if scope_name is not None and not isinstance(scope_name, str):
        failure = failure or f"the name of its scope is {stringify(scope_name)}, not text"
        scope_name = text_or_json(scope_name)
    if event_failure and not reads_events(attributes.ingested, _text(scope_name) or ""):
        event_failure = None
    status = span.get("status")
    parent = span.get("parentSpanId")
    return SpanRecord(
        trace_id=id_of(span["traceId"]),
        span_id=id_of(span["spanId"]),
        parent_span_id=id_of(parent) or None if parent else None,
        name=_text(span.get("name")) or "",
        start_ns=(end or 0) if start is None else start,
        end_ns=start if end is None else end,
        attributes=attributes,
        resource=resource,
        scope_name=_text(scope_name) or "",
        scope_version=_text(field_of(scope, "version")) or None,
        scope_attributes=scope_attributes,
        status=_status(field_of(status, "code")),
        status_message=_text(field_of(status, "message")) or None,
        events=events,
        raw=span,
        wire="json",
        unconvertible=failure or event_failure,
        dropped_attributes=dropped if type(dropped := span.get("droppedAttributesCount")) is int else 0,
    )


def _events(events: Iterable[Any]) -> tuple[list[SpanEvent], str | None]:
    found: list[SpanEvent] = []
    failure: str | None = None
    for event in events:
        pairs = field_of(event, "attributes")
        attributes, failed = attributes_of(pairs)
        name = _text(field_of(event, "name")) or ""
        if event is None:
            failed = "a null is among its events"
        elif name not in READ_EVENTS:
            failed = None
        failure = failure or failed
        found.append(SpanEvent(name, attributes, listed=pairs is not None))
    return found, failure


def _status(code: Any) -> Literal["UNSET", "OK", "ERROR"]:
    """Return the status. OTLP/JSON writes it as a number, and Langfuse compares it with 2: text is not an error."""
    if isinstance(code, bool) or not isinstance(code, int | float):
        return "UNSET"
    return _STATUS.get(code, "UNSET")


def _text(value: Any) -> str | None:
    return None if value is None else text_or_json(value)


def _wrong(place: str, expected: str, value: Any) -> NoReturn:
    shown = "absent" if value is None else _kind(value) if isinstance(value, dict | list) else repr(value)
    message = f"the body is not valid OTLP/JSON: {place} is {shown}, expected {expected}"
    raise DecodeError(message)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else type(value).__name__
