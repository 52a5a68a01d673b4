"""The parts of traces in a message, and what a decision about a trace goes by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from pytest_langfuse.tracing.delivery.export_body import ExportBody, by_trace
from pytest_langfuse.tracing.forward.queue_source import SCORE, SPANS, QueueMessage
from pytest_langfuse.tracing.sampling import SAMPLING_ATTRIBUTE

_ERROR = Status.STATUS_CODE_ERROR
#: An observation's level of error, as SDKs send it that do not set the span's status: `KeyValue` on the wire.
_ERROR_LEVEL = b"\x0a\x1alangfuse.observation.level\x12\x07\x0a\x05ERROR"
#: An application's metadata of that name stays.
_OWN = frozenset({SAMPLING_ATTRIBUTE, "langfuse.observation.metadata.sampling"})
#: Of a trace id, and as hexadecimal digits.
_BYTES, _DIGITS = 16, 32
_HEX = frozenset("0123456789abcdef")


@dataclass(slots=True, eq=False)
class TracePart:
    """Spans of one trace, or a score of it, out of one message. Times are nanoseconds since 1970."""

    #: 32 hexadecimal digits.
    trace: str
    body: bytes
    spans: int = 0
    failed: bool = False
    #: It has the span without a parent.
    has_root: bool = False
    start: int = 0
    end: int = 0


def parts_of(message: QueueMessage) -> list[TracePart]:
    """Return the parts of a message; none if it has nothing to decide: no trace, or nothing that can be read."""
    if message.kind == SCORE:
        trace = _trace_of_score(message.body)
        return [TracePart(trace, message.body)] if trace else []
    if message.kind != SPANS:
        return []
    try:
        request = ExportTraceServiceRequest.FromString(message.body)
    except Exception:  # noqa: BLE001 - protobuf's own error class has no types; it is dead-lettered
        return []
    part = TracePart("", message.body, failed=_ERROR_LEVEL in message.body)
    trace_id = b""
    # Written out: this is done for each span of all traces, most of which are dropped.
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                if span.trace_id != trace_id:
                    if trace_id:
                        return _separate(message.body)
                    trace_id = span.trace_id
                _add(part, span)
    if len(trace_id) != _BYTES:
        return []
    part.trace = trace_id.hex()
    return [part]


def with_sampling(part: TracePart, metadata: str) -> bytes:
    """Return the body of a part, with the decision as metadata of the trace on its root, else on its first span."""
    request = ExportTraceServiceRequest.FromString(part.body)
    spans = list(_spans(request))
    tops = [span for span in spans if not span.parent_span_id] or [
        min(spans, key=lambda span: span.start_time_unix_nano)
    ]
    for span in tops:
        if not any(attribute.key in _OWN for attribute in span.attributes):
            span.attributes.add(key=SAMPLING_ATTRIBUTE).value.string_value = metadata
    data: bytes = request.SerializeToString()
    return data


def _add(part: TracePart, span: Span) -> None:
    part.spans += 1
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    if not part.start or start < part.start:
        part.start = start
    part.end = max(part.end, end)
    if not span.parent_span_id:
        part.has_root = True
    if span.status.code == _ERROR:
        part.failed = True


def _separate(data: bytes) -> list[TracePart]:
    """Return the parts of a body of several traces; spans without a valid id go with the first of them."""
    parts: list[TracePart] = []
    rest = b""
    for body in by_trace(ExportBody(data, 0)):
        if not _is_trace(body.trace):
            rest += body.data
            continue
        part = TracePart(body.trace, body.data, failed=_ERROR_LEVEL in body.data)
        for span in _spans(ExportTraceServiceRequest.FromString(body.data)):
            _add(part, span)
        parts.append(part)
    if parts:
        parts[0].body += rest
    return parts


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            yield from scope_spans.spans


def _trace_of_score(data: bytes) -> str:
    """Return the trace of a score, as the SDK posts it from version 5 on or before; empty if it has none."""
    try:
        found = json.loads(data)
        trace = found.get("traceId") or (found.get("body") or {}).get("traceId")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return trace if isinstance(trace, str) and _is_trace(trace) else ""


def _is_trace(trace: str) -> bool:
    return len(trace) == _DIGITS and _HEX.issuperset(trace)
