"""Export bodies: `ExportTraceServiceRequest` of the OpenTelemetry protocol, as bytes with a count of spans.

Two such messages written one after the other are one message with the spans of both (Protocol Buffers, "Last One
Wins": repeated fields are concatenated), so batches are joined without being decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.trace import ReadableSpan

from pytest_langfuse.tracing.delivery.span_encoder import request_of

#: A larger body is split: web servers and proxies refuse what is too large as a whole (413).
LARGEST_BODY = 4 * 1024 * 1024


#: The kind of a body that is a score in JSON.
SCORE = "score"


class ExportBody(NamedTuple):
    """Encoded spans, or a score."""

    data: bytes
    spans: int
    #: The id of their trace, in 32 hexadecimal digits, if they are known to be of one.
    trace: str = ""
    #: `SCORE`, or empty for spans.
    kind: str = ""


def encode(
    spans: Sequence[ReadableSpan], *, largest: int = LARGEST_BODY, by_trace: bool = False
) -> tuple[list[ExportBody], int]:
    """Return bodies, and how many spans can't be encoded.

    A body has at most `largest` bytes unless one span is larger, and with `by_trace` the spans of one trace.
    """
    if not by_trace:
        return _encoded(spans, largest, "")
    traces: dict[int, list[ReadableSpan]] = {}
    for span in spans:
        traces.setdefault(span.context.trace_id, []).append(span)
    bodies, bad = [], 0
    for trace, its in traces.items():
        found, unusable = _encoded(its, largest, f"{trace:032x}")
        bodies += found
        bad += unusable
    return bodies, bad


def _encoded(spans: Sequence[ReadableSpan], largest: int, trace: str) -> tuple[list[ExportBody], int]:
    if not spans:
        return [], 0
    try:
        data = request_of(spans).SerializePartialToString()
    except Exception:  # noqa: BLE001 - protobuf raises whatever the bad value makes it
        # One span that can't be encoded (a lone surrogate in a text) must not take the others with it.
        if len(spans) == 1:
            return [], 1
    else:
        if len(data) <= largest or len(spans) == 1:
            return [ExportBody(data, len(spans), trace)], 0
    middle = len(spans) // 2
    left, bad_left = _encoded(spans[:middle], largest, trace)
    right, bad_right = _encoded(spans[middle:], largest, trace)
    return left + right, bad_left + bad_right


def halves(body: ExportBody) -> list[ExportBody]:
    """Return the body as two, each with half of its spans; a body of one span as it is."""
    if body.spans <= 1:
        return [body]
    middle = body.spans // 2
    spans = list(_single(body.data))
    return [ExportBody(b"".join(part), len(part), body.trace) for part in (spans[:middle], spans[middle:])]


def by_trace(body: ExportBody) -> list[ExportBody]:
    """Return the body as one for each trace, with its id; a span without a valid id is left in one without."""
    if body.trace:
        return [body]
    traces: dict[str, list[bytes]] = {}
    for resource_spans in ExportTraceServiceRequest.FromString(body.data).resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                traces.setdefault(span.trace_id.hex(), []).append(_alone(resource_spans, scope_spans, span))
    return [ExportBody(b"".join(spans), len(spans), trace) for trace, spans in traces.items()]


def without_oldest(body: ExportBody, spans: int) -> ExportBody:
    """Return the body without so many of its first spans."""
    kept = list(_single(body.data))[spans:]
    return ExportBody(b"".join(kept), len(kept), body.trace)


def spans_in(data: bytes) -> int | None:
    """Return the number of spans of a body; `None` if it can't be read."""
    try:
        request = ExportTraceServiceRequest.FromString(data)
    except Exception:  # noqa: BLE001 - protobuf's own error class has no types
        return None
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


def public_keys_in(data: bytes) -> set[str]:
    """Return the projects that the SDK's tracers name in a body; none if it can't be read."""
    try:
        request = ExportTraceServiceRequest.FromString(data)
    except Exception:  # noqa: BLE001 - protobuf's own error class has no types
        return set()
    return {
        attribute.value.string_value
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for attribute in scope.scope.attributes
        if attribute.key == "public_key"
    }


def _single(data: bytes) -> Iterator[bytes]:
    """Yield a body for each span."""
    for resource_spans in ExportTraceServiceRequest.FromString(data).resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _alone(resource_spans, scope_spans, span)


def _alone(resource_spans: ResourceSpans, scope_spans: ScopeSpans, span: Span) -> bytes:
    alone = ExportTraceServiceRequest()
    outer = alone.resource_spans.add(resource=resource_spans.resource, schema_url=resource_spans.schema_url)
    outer.scope_spans.add(scope=scope_spans.scope, schema_url=scope_spans.schema_url, spans=[span])
    data: bytes = alone.SerializePartialToString()
    return data
