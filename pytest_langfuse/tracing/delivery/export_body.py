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


class ExportBody(NamedTuple):
    """Encoded spans."""

    data: bytes
    spans: int


def encode(spans: Sequence[ReadableSpan]) -> tuple[list[ExportBody], int]:
    """Return bodies of at most `LARGEST_BODY` bytes, unless one span is larger, and how many spans can't be encoded."""
    if not spans:
        return [], 0
    try:
        data = request_of(spans).SerializePartialToString()
    except Exception:  # noqa: BLE001 - protobuf raises whatever the bad value makes it
        # One span that can't be encoded (a lone surrogate in a text) must not take the others with it.
        if len(spans) == 1:
            return [], 1
    else:
        if len(data) <= LARGEST_BODY or len(spans) == 1:
            return [ExportBody(data, len(spans))], 0
    middle = len(spans) // 2
    left, bad_left = encode(spans[:middle])
    right, bad_right = encode(spans[middle:])
    return left + right, bad_left + bad_right


def halves(body: ExportBody) -> list[ExportBody]:
    """Return the body as two, each with half of its spans; a body of one span as it is."""
    if body.spans <= 1:
        return [body]
    middle = body.spans // 2
    spans = list(_single(body.data))
    return [ExportBody(b"".join(spans[:middle]), middle), ExportBody(b"".join(spans[middle:]), len(spans) - middle)]


def without_oldest(body: ExportBody, spans: int) -> ExportBody:
    """Return the body without so many of its first spans."""
    kept = list(_single(body.data))[spans:]
    return ExportBody(b"".join(kept), len(kept))


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
