"""Environment and release on the spans of other libraries, where the tracer provider's resource does not have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langfuse.span_filter import is_langfuse_span
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

if TYPE_CHECKING:
    from opentelemetry.context import Context


class EnvironmentAttributes(SpanProcessor):
    """Stands before `processor` and sets `attributes` on each span that does not have them.

    Langfuse's own spans have them from the client. Those of other instrumentations (OpenInference, …) have them from
    the resource, but the resource of a provider that the application built knows nothing of Langfuse.
    """

    def __init__(self, processor: SpanProcessor, attributes: dict[str, str]) -> None:
        self._processor, self._attributes = processor, attributes

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Set them after the processor, which sets propagated values: those win."""
        self._processor.on_start(span, parent_context)
        if not is_langfuse_span(span):
            present = span.attributes or {}
            span.set_attributes({key: value for key, value in self._attributes.items() if key not in present})

    def on_end(self, span: ReadableSpan) -> None:
        """Pass it on."""
        self._processor.on_end(span)

    def shutdown(self) -> None:
        """Pass it on."""
        self._processor.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Pass it on."""
        return self._processor.force_flush(timeout_millis)
