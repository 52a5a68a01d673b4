"""The ledger as OpenTelemetry metrics, under the names that the semantic conventions give an SDK's own metrics.

They exist where the application has set a `MeterProvider`; without one they cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

from pytest_langfuse.tracing.delivery.health import TracingHealth

_COMPONENT = {
    "otel.component.type": "langfuse_store_forward_exporter",
    "otel.component.name": "langfuse_store_forward_exporter/0",
}
_STATES = ("closed", "half_open", "open")


def register(health: Callable[[], TracingHealth]) -> list[Any]:
    """Make the instruments. OpenTelemetry removes none, so `health` is asked for as long as the process lives."""

    def exported(_: CallbackOptions) -> Iterable[Observation]:
        now = health()
        yield Observation(now.exported, _COMPONENT)
        for reason, spans in now.dropped.items():
            yield Observation(spans, {**_COMPONENT, "error.type": reason})

    def buffered(_: CallbackOptions) -> Iterable[Observation]:
        yield Observation(health().buffered, _COMPONENT)

    def breaker(_: CallbackOptions) -> Iterable[Observation]:
        yield Observation(_STATES.index(health().breaker), _COMPONENT)

    meter = get_meter("pytest_langfuse.tracing")
    return [
        meter.create_observable_counter(
            "otel.sdk.exporter.span.exported",
            [exported],
            unit="{span}",
            description="Spans of which the outcome is known; those that were lost have an error.type.",
        ),
        meter.create_observable_up_down_counter(
            "otel.sdk.exporter.span.inflight",
            [buffered],
            unit="{span}",
            description="Spans that have ended and are neither exported nor lost.",
        ),
        meter.create_observable_gauge(
            "langfuse.breaker.state",
            [breaker],
            unit="1",
            description="The circuit to Langfuse: 0 closed, 1 half-open, 2 open.",
        ),
    ]
