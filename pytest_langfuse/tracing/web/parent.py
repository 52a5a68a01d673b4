"""The parent of a request's observation, and the spans that it is only linked to."""

from __future__ import annotations

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext

from pytest_langfuse.tracing.exported_ancestor import exported_ancestors
from pytest_langfuse.tracing.langfuse_internals import BAGGAGE_PREFIX
from pytest_langfuse.tracing.propagation.headers import extract_context, remote_span
from pytest_langfuse.tracing.web.request_headers import RequestHeaders


def find_parent(headers: RequestHeaders, *, trusted: bool) -> tuple[Context, list[SpanContext]]:
    """Return the context to start in, and the spans that are only linked.

    A span of another instrumentation is not a parent if Langfuse will get neither it nor one above it in this process.
    """
    current = otel_context.get_current()
    span = trace.get_current_span(current)
    local = span.get_span_context()
    links = []
    if local.is_valid:
        if span.is_recording() and _is_below_an_observation(span):
            return current, []
        links.append(local)
    if current:
        current = _unclaimed(current)
    if not (sent := headers.w3c()):
        return current, links
    if trusted:
        return Context({**current, **extract_context(sent)}), links
    remote = remote_span(sent)
    if remote.is_valid and remote not in links:
        links.append(remote)
    return current, links


def _is_below_an_observation(span: Span) -> bool:
    nearest = exported_ancestors.nearest(span)
    return nearest is not None and not nearest.is_remote


def _unclaimed(context: Context) -> Context:
    """Return the context without its current span and without Langfuse's baggage that others read from the request."""
    for key in [key for key in baggage.get_all(context) if key.startswith(BAGGAGE_PREFIX)]:
        context = baggage.remove_baggage(key, context)
    return trace.set_span_in_context(trace.INVALID_SPAN, context)
