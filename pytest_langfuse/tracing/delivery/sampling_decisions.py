"""The decisions of the sampler: remembered for what comes later of a trace, counted, and shown on the kept trace."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.langfuse_internals import AS_ROOT, with_parent
from pytest_langfuse.tracing.recent_entries import RecentEntries
from pytest_langfuse.tracing.sampling import DROPPED, RATE, SAMPLING_ATTRIBUTE, SamplingDecision, SamplingRules

#: An application's metadata of that name stays.
_OWN = (SAMPLING_ATTRIBUTE, "langfuse.observation.metadata.sampling")


class SamplingDecisions:
    """Knows why each of the latest `most` traces was kept or dropped. Thread-safe."""

    def __init__(self, rules: SamplingRules, ledger: SpanLedger, most: int) -> None:
        self.rules = rules
        self._ledger, self._most = ledger, most
        #: Of traces that are kept by their id alone, of which nothing is remembered; `None` if all are.
        self._by_id: SamplingDecision | None = None
        if rules.rate < 1.0 and not rules:
            self._by_id = SamplingDecision(kept=True, rate=rules.rate, reason=RATE)
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._made: RecentEntries[int, SamplingDecision] = RecentEntries(self._most)
        #: Traces by decision: the reason why they were kept, or "dropped".
        self.counts: dict[str, int] = {}

    def add(self, trace_id: int, decision: SamplingDecision) -> None:
        """Remember a decision. A kept trace is counted when its top is exported."""
        with self._ledger.lock:
            self._made[trace_id] = decision

    def dropped(self, trace_id: int, decision: SamplingDecision | None = None) -> None:
        """Count a trace that is dropped: by its id alone, or by a decision, which is remembered."""
        if decision is None:
            self.count(DROPPED)
        elif self._made.get(trace_id) is not decision:
            self.count(DROPPED)
            self.add(trace_id, decision)

    def made(self, trace_id: int) -> SamplingDecision | None:
        """Return the decision about a trace, if there was one."""
        return self._made.get(trace_id)

    def of_kept(self, trace_id: int) -> SamplingDecision | None:
        """Return the decision about a trace that is exported; `None` if there was nothing to decide."""
        return self._made.get(trace_id, self._by_id)

    def count(self, decision: str) -> None:
        """Count a trace."""
        with self._ledger.lock:
            self.counts[decision] = self.counts.get(decision, 0) + 1


class SamplingMetadata(SpanExporter):
    """Puts the decision about a trace on its top, as trace metadata, then passes the batch on to `inner`.

    The top is what has no parent, one in another process, or a made-up one. Its parent has to be final here.
    """

    def __init__(self, inner: SpanExporter, decisions: SamplingDecisions) -> None:
        self._inner, self._decisions = inner, decisions

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans."""
        return self._inner.export([self._stamped(span) if _is_top(span) else span for span in spans])

    def _stamped(self, span: ReadableSpan) -> ReadableSpan:
        context = span.get_span_context()
        decision = None if context is None else self._decisions.of_kept(context.trace_id)
        if decision is None:
            return span
        self._decisions.count(decision.reason)
        attributes = dict(span.attributes or {})
        if not decision.says_anything or any(key in attributes for key in _OWN):
            return span
        return with_parent(span, span.parent, {**attributes, SAMPLING_ATTRIBUTE: decision.metadata})

    def shutdown(self) -> None:
        """Pass it on."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Pass it on."""
        return self._inner.force_flush(timeout_millis)


def _is_top(span: ReadableSpan) -> bool:
    parent = span.parent
    return parent is None or parent.is_remote or AS_ROOT in (span.attributes or ())
