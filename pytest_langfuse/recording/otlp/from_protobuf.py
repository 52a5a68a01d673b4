"""Span records from a protobuf `ExportTraceServiceRequest`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from google.protobuf.message import DecodeError as ProtobufError  # type: ignore[import-untyped, unused-ignore]

from pytest_langfuse.recording.otlp.decode_error import DecodeError, garbage
from pytest_langfuse.recording.otlp.key_values import KeyValues
from pytest_langfuse.recording.otlp.protobuf_request import parse_request
from pytest_langfuse.recording.span_record import SpanEvent, SpanRecord

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

_STATUS: Final[Mapping[int, Literal["UNSET", "OK", "ERROR"]]] = {1: "OK", 2: "ERROR"}


def records_from_protobuf(data: bytes) -> list[SpanRecord]:
    """Return the spans of a serialized `ExportTraceServiceRequest`.

    Raises:
        DecodeError: The bytes are not one, or a span has no id.
    """
    try:
        request = parse_request(data)
    except ProtobufError:
        error = garbage(data)
        message = f"the body begins like protobuf but is damaged or truncated ({error})"
        raise DecodeError(message) from None
    records: list[SpanRecord] = []
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            records.extend(_records(scope_spans, resource))
    return records


def _records(scope_spans: ScopeSpans, resource: Mapping[str, Any]) -> Iterable[SpanRecord]:
    scope = scope_spans.scope
    name, version, attributes = scope.name, scope.version or None, _attributes(scope.attributes)
    for span in scope_spans.spans:
        _check_ids(span, name)
        yield SpanRecord(
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_span_id=span.parent_span_id.hex() or None,
            name=span.name,
            start_ns=span.start_time_unix_nano or span.end_time_unix_nano,
            end_ns=span.end_time_unix_nano or span.start_time_unix_nano or None,
            attributes=_attributes(span.attributes),
            resource=resource,
            scope_name=name,
            scope_version=version,
            scope_attributes=attributes,
            status=_STATUS.get(span.status.code, "UNSET"),
            status_message=span.status.message or None,
            events=tuple(SpanEvent(event.name, _attributes(event.attributes)) for event in span.events),
            raw=span,
            unconvertible=_unconvertible(span),
            dropped_attributes=span.dropped_attributes_count,
        )


def _check_ids(span: Span, scope_name: str) -> None:
    for what, value in (("trace id", span.trace_id), ("span id", span.span_id)):
        if not value:
            message = (
                f"the span {span.name!r} of scope {scope_name!r} has no {what}; "
                f"is this an export of logs or metrics? Expected an OTLP trace export"
            )
            raise DecodeError(message)


def _unconvertible(span: Span) -> str | None:
    for pair in span.attributes:
        if not pair.HasField("value"):
            return f"attribute {pair.key!r} has no value"
    return None


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return KeyValues((pair.key, _value(pair.value)) for pair in value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)
