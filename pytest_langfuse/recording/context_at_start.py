"""The OpenTelemetry context in which a test starts, and the span that it leaves current in place of it."""

from __future__ import annotations

import threading

from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace

from pytest_langfuse.recording.origin import Origin
from pytest_langfuse.recording.recorded_span import RecordedSpan, marked


class ContextAtStart:
    """The context of the thread that made this object."""

    def __init__(self) -> None:
        self._context = otel_context.get_current()
        self._thread = threading.get_ident()

    def left_current(self, origin: Origin) -> RecordedSpan | None:
        """Return the span of a test that is current in this thread; `None` if none of it is."""
        if threading.get_ident() != self._thread:
            return None
        found = marked(otel_trace.get_current_span().get_span_context())
        return found if isinstance(found, RecordedSpan) and found.origin is origin else None

    def restore(self) -> None:
        """Make it the current context of this thread again."""
        otel_context.attach(self._context)
