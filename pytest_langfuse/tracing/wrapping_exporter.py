"""The base of exporters that do something before another one exports."""

from __future__ import annotations

from opentelemetry.sdk.trace.export import SpanExporter


class WrappingExporter(SpanExporter):
    """Passes on what it does not override to `sends_through`, which test harnesses follow to the one that sends."""

    def __init__(self, sends_through: SpanExporter) -> None:
        self.sends_through = sends_through

    def shutdown(self) -> None:
        """Pass it on."""
        self.sends_through.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Pass it on."""
        return self.sends_through.force_flush(timeout_millis)
