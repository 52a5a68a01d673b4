"""Spans as messages of the OpenTelemetry protocol, an eighth of the time of OpenTelemetry's own encoder.

That one makes each message from keyword arguments and lists of messages, which are copied, and computes the hash of the
resource, as JSON, for each span. Here messages are filled in place, and only with what spans of Langfuse usually hold.
OpenTelemetry's encoder does the rest: resources and scopes, and each span that holds anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, SpanFlags, Status
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

#: By the values of the SDK's enumerations, which are in order; their members' hashes are slow.
_KINDS: Final = tuple(Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in SpanKind)
_CODES: Final = tuple(Status.StatusCode.Value(f"STATUS_CODE_{code.name}") for code in StatusCode)
_LOCAL_PARENT: Final = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE_PARENT: Final = _LOCAL_PARENT | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


class _UnusualError(Exception):
    """A span holds something that is left to OpenTelemetry's encoder."""


def request_of(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Return the message that `encode_spans` of OpenTelemetry returns, spans grouped by resource and scope.

    Raises:
        Exception: `encode_spans` raises it, for a span that it can't encode.
    """
    request = ExportTraceServiceRequest()
    resources: dict[int, ResourceSpans] = {}
    scopes: dict[tuple[int, int], ScopeSpans] = {}
    for span in spans:
        # By identity, which `spans` keeps from being used again: equal ones are two groups, which mean the same.
        resource, scope = id(span.resource), id(span.instrumentation_scope)
        group = scopes.get((resource, scope))
        if group is None:
            encoded = encode_spans([span]).resource_spans[0]
            del encoded.scope_spans[0].spans[:]
            if resource in resources:
                resources[resource].scope_spans.append(encoded.scope_spans[0])
            else:
                request.resource_spans.append(encoded)
                resources[resource] = request.resource_spans[-1]
            group = scopes[resource, scope] = resources[resource].scope_spans[-1]
        _add(group, span)
    return request


def _add(group: ScopeSpans, span: ReadableSpan) -> None:
    try:
        _fill(group.spans.add(), span)
    except Exception:  # noqa: BLE001 - protobuf raises whatever a value makes it, and the other encoder drops such a value
        del group.spans[-1]
        group.spans.extend(encode_spans([span]).resource_spans[0].scope_spans[0].spans)


def _fill(message: Span, span: ReadableSpan) -> None:
    context, parent, status = span.context, span.parent, span.status
    if context is None or context.trace_state or span.links:
        raise _UnusualError
    message.trace_id = context.trace_id.to_bytes(16, "big")
    message.span_id = context.span_id.to_bytes(8, "big")
    message.flags = _LOCAL_PARENT
    if parent is not None:
        message.parent_span_id = parent.span_id.to_bytes(8, "big")
        if parent.is_remote:
            message.flags = _REMOTE_PARENT
    message.name = span.name
    message.kind = _KINDS[span.kind.value]
    message.start_time_unix_nano = span.start_time or 0
    message.end_time_unix_nano = span.end_time or 0
    _set_attributes(message.attributes, span.attributes)
    for event in span.events:
        added = message.events.add()
        added.name, added.time_unix_nano = event.name, event.timestamp
        _set_attributes(added.attributes, event.attributes)
        added.dropped_attributes_count = event.dropped_attributes
    message.status.SetInParent()
    if not status.is_unset:
        message.status.code = _CODES[status.status_code.value]
        message.status.message = status.description or ""
    message.dropped_attributes_count = span.dropped_attributes
    message.dropped_events_count = span.dropped_events
    message.dropped_links_count = span.dropped_links


def _set_attributes(field: Any, attributes: Mapping[str, Any] | None) -> None:
    if not attributes:
        return
    # In one step, where the SDK's mapping can: its items would be locked one by one.
    copied = attributes.copy() if hasattr(attributes, "copy") else attributes
    for key, value in copied.items():
        added = field.add()
        added.key = key
        if type(value) is str:
            added.value.string_value = value
        else:
            _set_value(added.value, value)


def _set_value(message: Any, value: Any) -> None:
    kind = type(value)
    if kind is str:
        message.string_value = value
    elif kind is bool:
        message.bool_value = value
    elif kind is int:
        message.int_value = value
    elif kind is float:
        message.double_value = value
    elif kind is tuple or kind is list:
        message.array_value.SetInParent()
        for item in value:
            _set_value(message.array_value.values.add(), item)
    else:
        raise _UnusualError
