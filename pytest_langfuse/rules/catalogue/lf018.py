"""LF018: sampling that drops traces with errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.recorded_span import RecordedSpan
    from pytest_langfuse.recording.unsampled_error import UnsampledError
    from pytest_langfuse.rules.evidence import Evidence


@rule("LF018", "sampling drops errors", each="all")
def sampling_drops_errors(evidence: Evidence) -> Sequence[Fact] | None:
    """The traces that somebody is going to look for are missing, as often as all others."""
    errors = evidence.application.unsampled_errors
    return list(_facts(errors, evidence)) if errors else None


def _facts(errors: Sequence[UnsampledError], evidence: Evidence) -> Iterator[Fact]:
    traces = set()
    for one in errors:
        trace_id, span_id = one.recorded.key
        about = evidence.missing.get((f"{trace_id:032x}", f"{span_id:016x}"))
        if about is None or trace_id in traces:
            # The error of an observation is often that of those above it, too.
            continue
        traces.add(trace_id)
        first = next(recorded for recorded in evidence.recorded.values() if recorded.key[0] == trace_id)
        named, of = evidence.named(about.observation), _named(first, one, evidence)
        yield Fact(
            f"{named} {one.error}, and its trace{of} is not sampled: the "
            f"sampler, of the rate {one.rate:g}, decides before it can be known how a trace ends",
            f"set up tracing by init_tracing(sample_rate={one.rate:g}), which keeps all traces with errors",
            about.observation,
            # A thread of a library has no line of the application, and what is not sampled has no parents.
            evidence.place_of(about.observation) or first.place,
        )


def _named(first: RecordedSpan, error: UnsampledError, evidence: Evidence) -> str:
    return "" if first is error.recorded else f", {evidence.called(first.name, first.place)},"
