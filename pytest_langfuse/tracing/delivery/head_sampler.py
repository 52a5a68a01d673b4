"""Samplers that decide, when a span starts, whether it is recorded at all.

OpenTelemetry's default records nothing below a parent whose sampled flag is off: a caller, who may be anybody, would
decide whether the errors of this service are seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import TraceFlags


class RecordingSampler(Sampler):
    """Records everything, and leaves it to the `TailSampler` what is kept.

    The sampled flag of a parent stays as it is, so that services further down are told the caller's decision: below
    an unsampled one, spans are recorded but not marked as sampled.
    """

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,  # noqa: ARG002
        name: str,  # noqa: ARG002
        kind: trace.SpanKind | None = None,  # noqa: ARG002
        attributes: Any = None,
        links: Sequence[trace.Link] | None = None,  # noqa: ARG002
        trace_state: trace.TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """Record it."""
        parent = trace.get_current_span(parent_context).get_span_context()
        decision = Decision.RECORD_ONLY if _is_unsampled(parent) else Decision.RECORD_AND_SAMPLE
        return SamplingResult(decision, attributes, parent.trace_state)

    def get_description(self) -> str:
        """Return its name."""
        return type(self).__name__


class RateSampler(TraceIdRatioBased):
    """By the rate, and nothing below an unsampled parent: where neither errors nor slow traces are kept on purpose.

    It is a `TraceIdRatioBased` because the SDK asks one of these whether to send a trace's scores.
    """

    def should_sample(self, parent_context: Context | None, *args: Any, **kwargs: Any) -> SamplingResult:
        """By the trace's id."""
        parent = trace.get_current_span(parent_context).get_span_context()
        if _is_unsampled(parent):
            return SamplingResult(Decision.DROP, trace_state=parent.trace_state)
        return super().should_sample(parent_context, *args, **kwargs)


def _is_unsampled(parent: trace.SpanContext) -> bool:
    return not parent.trace_flags & TraceFlags.SAMPLED and parent.is_valid
