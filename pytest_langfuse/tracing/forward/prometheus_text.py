"""The metrics of a forwarder in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pytest_langfuse.tracing.forward.forwarder import Forwarder

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ForwardMetric(NamedTuple):
    """A metric, with a value for each set of labels."""

    name: str
    #: `counter` or `gauge`.
    kind: str
    help: str
    values: Mapping[tuple[tuple[str, str], ...], float]


def forward_metrics(forwarder: Forwarder) -> Iterator[ForwardMetric]:
    """Yield all metrics."""
    counts, state = forwarder.counts, forwarder.state

    def plain(name: str, kind: str, text: str, value: float | None) -> ForwardMetric:
        return ForwardMetric(name, kind, text, {} if value is None else {(): value})

    def by_reason(name: str, text: str, values: Mapping[str, int]) -> ForwardMetric:
        return ForwardMetric(name, "counter", text, {(("reason", why),): number for why, number in values.items()})

    yield plain("messages_total", "counter", "Messages read from the queue.", counts.messages)
    yield plain("message_bytes_total", "counter", "Bytes of messages read from the queue.", counts.bytes)
    yield plain("messages_done_total", "counter", "Messages delivered, dropped or dead-lettered.", counts.done)
    yield plain("messages_dropped_total", "counter", "Messages dropped by sampling.", counts.dropped)
    yield by_reason("traces_decided_total", "Traces by decision of sampling.", dict(counts.decisions))
    yield plain("traces_decided_early_total", "counter", "Traces decided early, for want of memory.", counts.early)
    yield plain("traces_undecided", "gauge", "Traces that sampling has not decided.", counts.undecided)
    yield plain("spans_total", "counter", "Spans that Langfuse took.", counts.spans)
    yield plain("scores_total", "counter", "Scores that Langfuse took.", counts.scores)
    yield plain("spans_rejected_total", "counter", "Spans rejected in requests that were taken.", counts.rejected)
    yield by_reason("dead_letters_total", "Spans and scores that were dead-lettered.", dict(counts.dead))
    yield plain("requests_total", "counter", "Requests to Langfuse.", counts.requests)
    yield by_reason("requests_failed_total", "Requests that failed or were refused.", dict(counts.failed))
    yield plain("rebalances_total", "counter", "Times that this process got partitions.", counts.rebalances)
    yield plain("lag_messages", "gauge", "Messages of this process' partitions that are not done.", state.lag)
    yield plain("partitions", "gauge", "Partitions of this process.", state.partitions)
    yield plain("held_bytes", "gauge", "Bytes of messages held in memory.", state.held_bytes)
    yield plain("requests_in_flight", "gauge", "Requests on the wire.", state.in_flight)
    yield plain("ready", "gauge", "1 if messages are being delivered, 0 if they wait.", float(forwarder.ready))


def prometheus_text(forwarder: Forwarder) -> str:
    """Return the page."""
    return "".join(_lines(metric) for metric in forward_metrics(forwarder))


def _lines(metric: ForwardMetric) -> str:
    name = f"langfuse_forward_{metric.name}"
    lines = [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
    for labels, value in metric.values.items():
        inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        lines.append(f"{name}{{{inner}}} {value:.17g}" if inner else f"{name} {value:.17g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
