"""The application's global propagator, which also says who stands for a span that Langfuse does not get.

OpenTelemetry's instrumentations of clients and of message producers inject their own spans through it.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.sdk.trace import ReadableSpan

from pytest_langfuse.tracing import caller_state
from pytest_langfuse.tracing.exported_ancestor import exported_ancestors
from pytest_langfuse.tracing.failures import failures

#: The key of the request that is served in a context, the object from which others may extract one again.
SERVED_REQUEST: Final = otel_context.create_key("langfuse-served-request")


class AncestorPropagator(TextMapPropagator):
    """Injects and extracts as `inner`; see `caller_state` for what is added to `tracestate`."""

    def __init__(self, inner: TextMapPropagator) -> None:
        self.inner = inner

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Inject the current span."""
        try:
            context = _explained(context)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes out
            failures.report("adding headers to a request", error)
        self.inner.inject(carrier, context, setter)

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Extract as ever, but nothing from a request that is being served: its context is the current one.

        OpenTelemetry's middleware for aiohttp takes the parent from the headers, whatever is above it.
        """
        if context is None and carrier is otel_context.get_value(SERVED_REQUEST) and carrier is not None:
            return otel_context.get_current()
        return self.inner.extract(carrier, context, getter)

    @property
    def fields(self) -> set[str]:
        """The headers that it may set."""
        return self.inner.fields


def _explained(context: Context | None) -> Context | None:
    span = trace.get_current_span(context)
    if not isinstance(span, ReadableSpan):
        return context
    own, nearest = trace.get_current_span(context).get_span_context(), exported_ancestors.nearest(span)
    if nearest is not None and nearest.span_id == own.span_id:
        return context
    return trace.set_span_in_context(trace.NonRecordingSpan(caller_state.with_nearest(own, nearest)), context)


def install() -> None:
    """Put it around the global propagator."""
    current: Any = propagate.get_global_textmap()
    if not isinstance(current, AncestorPropagator):
        propagate.set_global_textmap(AncestorPropagator(current))


def uninstall() -> None:
    """Take it away again, unless the application has set another one since."""
    current: Any = propagate.get_global_textmap()
    if isinstance(current, AncestorPropagator):
        propagate.set_global_textmap(current.inner)
