"""The ledger as OpenTelemetry metrics.

The first two have the names that the semantic conventions give an SDK's own metrics; for the others these have none.
They exist where the application has set a `MeterProvider`; without one they cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

from pytest_langfuse.tracing.delivery.health import TracingHealth

_COMPONENT = {
    "otel.component.type": "langfuse_store_forward_exporter",
    "otel.component.name": "langfuse_store_forward_exporter/0",
}
_STATES = ("closed", "half_open", "open")

#: A value, or several with the attribute that tells them apart.
_Value = int | float | None | Mapping[tuple[str, str], int]


def register(health: Callable[[], TracingHealth]) -> list[Any]:
    """Make the instruments. OpenTelemetry removes none, so `health` is asked for as long as the process lives."""

    def of(value: Callable[[TracingHealth], _Value]) -> list[Callable[[CallbackOptions], Iterable[Observation]]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            found = value(health())
            if isinstance(found, Mapping):
                for attribute, number in found.items():
                    yield Observation(number, {**_COMPONENT, **dict([attribute])})
            elif found is not None:
                yield Observation(found, _COMPONENT)

        return [observe]

    def exported(_: CallbackOptions) -> Iterable[Observation]:
        now = health()
        yield Observation(now.exported, _COMPONENT)
        for reason, spans in now.dropped.items():
            yield Observation(spans, {**_COMPONENT, "error.type": reason})

    meter = get_meter("pytest_langfuse.tracing")
    return [
        meter.create_observable_counter(
            "otel.sdk.exporter.span.exported",
            [exported],
            unit="{span}",
            description="Spans of which the outcome is known; those that were dropped have an error.type.",
        ),
        meter.create_observable_up_down_counter(
            "otel.sdk.exporter.span.inflight",
            of(lambda now: now.buffered),
            unit="{span}",
            description="Spans that have ended and are neither exported nor dropped.",
        ),
        meter.create_observable_counter(
            "langfuse.spans.ended",
            of(lambda now: now.ended),
            unit="{span}",
            description="Spans for Langfuse that ended.",
        ),
        meter.create_observable_counter(
            "langfuse.spans.sampled",
            of(lambda now: now.sampled),
            unit="{span}",
            description="Spans that sampling has kept.",
        ),
        meter.create_observable_counter(
            "langfuse.traces.sampled",
            of(lambda now: {("langfuse.sampling.reason", reason): traces for reason, traces in now.decisions.items()}),
            unit="{trace}",
            description="Traces by decision of the sampler: the reason why they were kept, or dropped.",
        ),
        meter.create_observable_counter(
            "langfuse.spans.reparented",
            of(lambda now: now.reparented),
            unit="{span}",
            description="Spans that were sent below another parent, because Langfuse does not get theirs.",
        ),
        meter.create_observable_up_down_counter(
            "langfuse.spans.unaccounted",
            of(lambda now: now.unaccounted),
            unit="{span}",
            description="Spans that were lost without being counted: 0.",
        ),
        meter.create_observable_gauge(
            "langfuse.healthy",
            of(lambda now: int(now.healthy)),
            unit="1",
            description="1 while tracing is on and the last call to Langfuse worked, else 0.",
        ),
        meter.create_observable_gauge(
            "langfuse.breaker.state",
            of(
                lambda now: {
                    ("langfuse.export", name): _STATES.index(state)
                    for name, state in (now.breakers or {"none": now.breaker}).items()
                }
            ),
            unit="1",
            description="The circuit to Langfuse: 0 closed, 1 half-open, 2 open.",
        ),
        meter.create_observable_gauge(
            "langfuse.last_success.age",
            of(lambda now: now.last_success),
            unit="s",
            description="Seconds since Langfuse last accepted spans; absent until it has.",
        ),
    ]
