"""Spans as messages of the OpenTelemetry protocol, an eighth of the time of OpenTelemetry's own encoder.

That one makes each message from keyword arguments and lists of messages, which are copied, and computes the hash of the
resource, as JSON, for each span; and it drops values that the protocol has no form for. Here messages are filled in
place, and such values are sent in another form (see `sendable_values`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, SpanFlags, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, StatusCode

from pytest_langfuse.tracing.delivery.sendable_values import sendable_attributes, sendable_span, sendable_text

#: By the values of the SDK's enumerations, which are in order; their members' hashes are slow.
_KINDS: Final = tuple(Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in SpanKind)
_CODES: Final = tuple(Status.StatusCode.Value(f"STATUS_CODE_{code.name}") for code in StatusCode)
_LOCAL: Final = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE: Final = _LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


def request_of(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Return the message that `encode_spans` of OpenTelemetry returns, spans grouped by resource and scope.

    Raises:
        Exception: A span can't be encoded.
    """
    request = ExportTraceServiceRequest()
    resources: dict[int, ResourceSpans] = {}
    scopes: dict[tuple[int, int], ScopeSpans] = {}
    for span in spans:
        # By identity, which `spans` keeps from being used again: equal ones are two groups, which mean the same.
        resource, scope = id(span.resource), id(span.instrumentation_scope)
        group = scopes.get((resource, scope))
        if group is None:
            if resource not in resources:
                resources[resource] = request.resource_spans.add()
                _describe_resource(resources[resource], span.resource)
            group = scopes[resource, scope] = resources[resource].scope_spans.add()
            _describe_scope(group, span.instrumentation_scope)
        _add(group, span)
    return request


def as_sent(span: ReadableSpan) -> ReadableSpan:
    """Return the span as a server gets it: itself, or a copy that has only values which can be sent.

    For test harnesses, which show what was sent.
    """
    try:
        _fill(Span(), span)
    except Exception:  # noqa: BLE001 - protobuf raises whatever a value makes it
        return sendable_span(span)
    return span


def _describe_resource(message: ResourceSpans, resource: Resource) -> None:
    message.schema_url = sendable_text(resource.schema_url)
    message.resource.SetInParent()
    _set_attributes(message.resource.attributes, sendable_attributes(resource.attributes))


def _describe_scope(message: ScopeSpans, scope: InstrumentationScope | None) -> None:
    message.scope.SetInParent()
    if scope is not None:
        message.schema_url = sendable_text(scope.schema_url or "")
        message.scope.name, message.scope.version = sendable_text(scope.name), sendable_text(scope.version or "")
        _set_attributes(message.scope.attributes, sendable_attributes(scope.attributes))


def _add(group: ScopeSpans, span: ReadableSpan) -> None:
    try:
        _fill(group.spans.add(), span)
    except Exception:  # noqa: BLE001 - protobuf raises whatever a value makes it
        del group.spans[-1]
        _fill_unusual(group.spans.add(), span)


def _fill_unusual(message: Span, span: ReadableSpan) -> None:
    """Fill a message from a copy of the span that has only values which can be sent."""
    _fill(message, sendable_span(span))
    message.dropped_attributes_count = span.dropped_attributes
    message.dropped_events_count = span.dropped_events
    message.dropped_links_count = span.dropped_links
    for added_event, event in zip(message.events, span.events, strict=True):
        added_event.dropped_attributes_count = event.dropped_attributes
    for added_link, link in zip(message.links, span.links, strict=True):
        added_link.dropped_attributes_count = link.dropped_attributes


def _fill(message: Span, span: ReadableSpan) -> None:
    context, parent, status = span.context, span.parent, span.status
    if context.trace_state:
        message.trace_state = ",".join(f"{key}={value}" for key, value in context.trace_state.items())
    message.trace_id = context.trace_id.to_bytes(16, "big")
    message.span_id = context.span_id.to_bytes(8, "big")
    message.flags = _LOCAL
    if parent is not None:
        message.parent_span_id = parent.span_id.to_bytes(8, "big")
        if parent.is_remote:
            message.flags = _REMOTE
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
    if span.links:
        _add_links(message, span.links)
    message.status.SetInParent()
    if not status.is_unset:
        message.status.code = _CODES[status.status_code.value]
        message.status.message = status.description or ""
    message.dropped_attributes_count = span.dropped_attributes
    message.dropped_events_count = span.dropped_events
    message.dropped_links_count = span.dropped_links


def _add_links(message: Span, links: Sequence[Link]) -> None:
    for link in links:
        added = message.links.add()
        added.trace_id = link.context.trace_id.to_bytes(16, "big")
        added.span_id = link.context.span_id.to_bytes(8, "big")
        added.flags = _REMOTE if link.context.is_remote else _LOCAL
        _set_attributes(added.attributes, link.attributes)
        added.dropped_attributes_count = link.dropped_attributes


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
        _set_rare_value(message, value)


def _set_rare_value(message: Any, value: Any) -> None:
    if value is None:
        message.SetInParent()
    elif isinstance(value, bytes):
        message.bytes_value = value
    elif isinstance(value, float):
        message.double_value = value
    elif type(value) is dict:
        message.kvlist_value.SetInParent()
        _set_attributes(message.kvlist_value.values, value)
    else:
        raise TypeError(type(value))
