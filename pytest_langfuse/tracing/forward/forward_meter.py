"""The metrics of a forwarder as OpenTelemetry's, for a process in which a `MeterProvider` is configured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

from pytest_langfuse.tracing.forward.forwarder import Forwarder
from pytest_langfuse.tracing.forward.prometheus_text import forward_metrics


def register_forward_metrics(forwarder: Forwarder) -> list[Any]:
    """Make an instrument for each metric of `/metrics`: `langfuse.forward.spans` for `langfuse_forward_spans_total`."""

    def of(name: str) -> list[Callable[[CallbackOptions], Iterable[Observation]]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            for metric in forward_metrics(forwarder):
                if metric.name == name:
                    for labels, value in metric.values.items():
                        yield Observation(value, dict(labels))

        return [observe]

    meter = get_meter("pytest_langfuse.tracing.forward")
    instruments = []
    for metric in forward_metrics(forwarder):
        make = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
        name = f"langfuse.forward.{metric.name.removesuffix('_total').replace('_', '.')}"
        instruments.append(make(name, of(metric.name), description=metric.help))
    return instruments
