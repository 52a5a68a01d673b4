"""One trace over several services: what goes out with a request, and what comes in with one.

The headers are W3C's `traceparent`, `tracestate` and `baggage`, written and read by OpenTelemetry's own W3C
propagators whatever the application has set as its global one: both sides have to speak the same.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, TypeVar

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pytest_langfuse.tracing import caller_state, singleton
from pytest_langfuse.tracing.context import LONGEST, RequestContext, get_request_context, within
from pytest_langfuse.tracing.exported_ancestor import exported_ancestors
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.langfuse_internals import (
    BAGGAGE_PREFIX,
    SESSION_BAGGAGE,
    SESSION_KEY,
    TRACE_BAGGAGE,
    USER_BAGGAGE,
    USER_KEY,
)
from pytest_langfuse.tracing.propagation import w3c_baggage, w3c_headers
from pytest_langfuse.tracing.propagation.allow_list import allow_list
from pytest_langfuse.tracing.propagation.w3c_headers import BAGGAGE, TRACEPARENT, TRACESTATE

Headers = TypeVar("Headers", bound=MutableMapping[Any, Any])

_trace_context = TraceContextTextMapPropagator()
_baggage_propagator = W3CBaggagePropagator()


def inject_headers(headers: Headers, *, url: object = None, trusted: bool = False) -> Headers:
    """Add to `headers`, and return them, what makes the other side's observations part of this trace.

    `traceparent` and `tracestate` name the nearest observation around that Langfuse gets. `baggage` gets user and
    session only if the host of `url` is one of `propagate_to` (see `TracingConfig`), or if you say `trusted=True`: for
    a message, which goes to no host. Otherwise Langfuse's entries are taken out of a `baggage` that is already there.
    Headers are replaced, whatever their case; other members of `baggage` stay. Outside of any span nothing is added.

    Takes a dict, `httpx.Headers`, requests' and multidict's mappings, or any other mutable mapping. Never raises: what
    goes wrong is logged.
    """
    try:
        for name, value in outgoing(headers, allowed=trusted or (url is not None and allows(url))).items():
            replace(headers, name, value)
    except Exception as error:  # noqa: BLE001 - whatever it is, the request goes out
        failures.report("adding headers to a request", error)
    return headers


def extract_context(headers: w3c_headers.Incoming) -> Context:
    """OpenTelemetry's context from the headers of a request or message; attach it and start observations in it.

    They belong to the sender's trace, and have the user and session of its `baggage`, which are also those of
    `get_request_context()`. Nothing of the context that is current here is in it. Without usable headers it is empty:
    the next observation starts a trace.

    Takes a mapping, a list of pairs (texts or bytes, as in an ASGI scope), or a WSGI environ. Calling it means to
    trust the sender. Still, what is malformed or too long is left out, looking at no more than 1,000 headers, and it
    never raises.
    """
    try:
        return _extracted(w3c_headers.read(headers))
    except Exception as error:  # noqa: BLE001 - whatever it is, the request is served
        failures.report("reading headers of a request", error)
        return Context()


def remote_span(headers: w3c_headers.Incoming) -> SpanContext:
    """Return the span that `traceparent` names, an invalid one without it; nothing else of the headers is believed."""
    lines = w3c_headers.read(headers).get(TRACEPARENT, [])
    context = _trace_context.extract({TRACEPARENT: lines}, Context())
    return trace.get_current_span(context).get_span_context()


def allows(url: object) -> bool:
    """Return whether a request to this address may carry user and session, by the installed configuration."""
    installed = singleton.singleton.installation
    return installed is not None and allow_list(installed.config.propagate_to).allows(url)


def outgoing(headers: Mapping[Any, Any], *, allowed: bool) -> dict[str, str | None]:
    """Return the headers to set, or, with `None`, to remove."""
    span = trace.get_current_span()
    present = w3c_headers.values(headers, BAGGAGE)
    result: dict[str, str | None] = {}
    if span.get_span_context().is_valid:
        carrier: dict[str, str] = {}
        within_parent = trace.set_span_in_context(trace.NonRecordingSpan(_named(span)), Context())
        _trace_context.inject(carrier, within_parent)
        result = {TRACEPARENT: carrier[TRACEPARENT], TRACESTATE: carrier.get(TRACESTATE)}
        if allowed:
            result[BAGGAGE] = _with_langfuse(present) or None
    return result if allowed else {**result, **stripped(present)}


def _named(span: trace.Span) -> SpanContext:
    """Return the context that the headers of the current span name."""
    own, nearest = span.get_span_context(), exported_ancestors.nearest(span)
    if nearest is None:
        return own if singleton.singleton.installation is None else caller_state.with_nearest(own, None)
    return SpanContext(nearest.trace_id, nearest.span_id, own.is_remote, own.trace_flags, own.trace_state)


def stripped(present: str) -> dict[str, str | None]:
    """Return the change that removes Langfuse's members from an existing `baggage` header."""
    kept = w3c_baggage.without_langfuse(present)
    return {} if kept == present else {BAGGAGE: kept or None}


def replace(headers: MutableMapping[Any, Any], name: str, value: str | None) -> None:
    """Set or remove a header, whatever case its name is written in there."""
    for key in [key for key in headers.keys() if w3c_headers.name_of(key) == name]:  # noqa: SIM118 - as in `w3c_headers`
        if key in headers:
            del headers[key]
    if value is not None:
        headers[name] = value


def _with_langfuse(present: str) -> str:
    """Return the present members, then Langfuse's, then the rest of the application's baggage."""
    kept = w3c_baggage.without_langfuse(present)
    entries = baggage.get_all()
    ours = {name: value for name, value in entries.items() if name.lower().startswith(BAGGAGE_PREFIX)}
    request = get_request_context()
    for name, key, value in (
        (USER_BAGGAGE, USER_KEY, request.user_id),
        (SESSION_BAGGAGE, SESSION_KEY, request.session_id),
    ):
        # Langfuse's own `propagate_attributes` may have been called further inside.
        if found := otel_context.get_value(key) or value:
            ours[name] = found
    names = {member.name for member in w3c_baggage.members(kept)}
    others = {name: value for name, value in entries.items() if name not in ours and name not in names}
    return w3c_baggage.extended(kept, (w3c_baggage.encoded(name, value) for name, value in {**ours, **others}.items()))


def _extracted(carrier: dict[str, list[str]]) -> Context:
    context = _trace_context.extract(carrier, Context())
    members = w3c_baggage.members(",".join(carrier.get(BAGGAGE, ())))
    others = ",".join(member.text for member in members if not member.is_langfuse)
    context = _baggage_propagator.extract({BAGGAGE: others}, context)
    values = {
        member.name: value
        for member in members
        if member.is_langfuse and (value := w3c_baggage.decoded(member.value)) is not None
    }
    request = RequestContext(user_id=values.get(USER_BAGGAGE), session_id=values.get(SESSION_BAGGAGE))
    values[USER_BAGGAGE], values[SESSION_BAGGAGE] = request.user_id or "", request.session_id or ""
    trace_id = trace.format_trace_id(trace.get_current_span(context).get_span_context().trace_id)
    for name, value in values.items():
        if value and len(value) <= LONGEST and (name != TRACE_BAGGAGE or value == trace_id):
            context = baggage.set_baggage(name, value, context)
    if request == RequestContext():
        return context
    token = otel_context.attach(context)
    try:
        return within(request)
    finally:
        otel_context.detach(token)
