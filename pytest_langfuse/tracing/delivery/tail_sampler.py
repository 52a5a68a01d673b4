"""The sampler that decides which traces are kept when their spans have ended.

A trace that its id puts within the sample rate is passed on span by span. The others wait until their last local span
has ended, and are dropped then, unless one of their spans was an error or slow: then all of it is kept. "Errors
always" holds for the part of a trace that ran in this process; what another service has dropped can't be called back.

Spans whose sampled flag is off wait like those outside of the rate: the caller has not sampled its trace
(see `head_sampler.py`), which must not hide an error that happens here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags

from pytest_langfuse.tracing.delivery.intake import Intake
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.exported_ancestor import DroppedSpan, UnsureParent
from pytest_langfuse.tracing.langfuse_internals import set_parent

if TYPE_CHECKING:
    from opentelemetry.context import Context

#: So many undecided traces are held, and so many decisions remembered for spans that come late.
MOST_TRACES = 50_000

#: So many spans of a trace of which a part was dropped are known as parents of others.
MOST_SPANS_AFTER_A_DROP = 10_000

_NANOSECONDS = 1_000_000_000
_RATE_BITS = (1 << 64) - 1
_SAMPLED = int(TraceFlags.SAMPLED)


class _UndecidedTrace:
    __slots__ = ("caller", "open", "spans", "started")

    def __init__(self, parent: SpanContext | None) -> None:
        self.open = 0
        self.spans: list[ReadableSpan] = []
        #: The parent in another process.
        self.caller = parent if parent is not None and parent.is_remote else None
        #: Where an earlier part of the trace was dropped: what has started since, which is all that may be kept.
        self.started: set[int] | None = set() if parent is not None and not parent.is_remote else None


class TailSampler(SpanProcessor):
    """Stands before `processor` and decides which spans it gets.

    The rate is applied as `TraceIdRatioBased` does (the lower 64 bits of the trace id), so services that sample by
    that rule at the same rate keep the same traces. At most `max_spans` wait for a decision: then the oldest trace is
    decided by the rate alone. A span that Langfuse is not going to get anyway (of another library) may decide about
    its trace, but does not wait with it, and is not counted.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        rate: float,
        keep_errors: bool,
        keep_slower_than: float | None,
        ledger: SpanLedger,
        max_spans: int,
    ) -> None:
        self._intake = intake
        self._bound = round(rate * (1 << 64))
        self._keep_errors = keep_errors
        self._slow = None if keep_slower_than is None else round(keep_slower_than * _NANOSECONDS)
        self._ledger = ledger
        ledger.watch(lambda: self._waiting)
        self._max_spans = max_spans
        self._clear()

    def _clear(self) -> None:
        self._traces: OrderedDict[int, _UndecidedTrace] = OrderedDict()
        #: With what `_UndecidedTrace.started` had.
        self._kept: OrderedDict[int, set[int] | None] = OrderedDict()
        #: Parents in other processes of traces that were taken, for what starts in them later.
        self._callers: OrderedDict[int, SpanContext] = OrderedDict()
        self._waiting = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass it on, and count the trace's open spans."""
        self._intake.on_start(span, parent_context)
        context = span.get_span_context()
        if self._passes(context):
            return
        trace_id = context.trace_id
        with self._ledger.lock:
            if trace_id in self._kept:
                if (started := self._kept[trace_id]) is not None:
                    self._started_late(span, started)
                return
            trace = self._traces.get(trace_id)
            if trace is None:
                trace = self._traces[trace_id] = _UndecidedTrace(span.parent)
            if trace.started is not None:
                self._started_late(span, trace.started)
            trace.open += 1
            victims = self._evict()
        self._tell(victims)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass it on, drop it, or let it wait for the rest of its trace."""
        context = span.get_span_context()
        if context is None or self._passes(context):
            self._intake.on_end(span)
            return
        # The application's filter is asked outside of the lock.
        wanted = self._intake.wants(span)
        kept: list[ReadableSpan] = []
        dropped: list[ReadableSpan] = []
        with self._ledger.lock:
            if wanted:
                self._ledger.ended()
            trace = self._traces.get(context.trace_id)
            if context.trace_id in self._kept:
                kept = self._hand_on([span] if wanted else [])
            elif self._matters(span):
                self._remember(context.trace_id, trace.started if trace is not None else None)
                kept = self._hand_on([*self._take(context.trace_id), *([span] if wanted else [])])
            elif trace is None:
                # Evicted, or dropped as complete before this one started.
                dropped = self._drop([span] if wanted else [])
            else:
                if wanted:
                    trace.spans.append(span)
                    self._waiting += 1
                trace.open -= 1
                dropped = self._drop(self._take(context.trace_id)) if trace.open <= 0 else self._evict()
        for one in kept:
            self._intake.end(one, wanted=True)
            self._intake.handed_over(one)
        self._tell(dropped)
        if not wanted:
            self._intake.end(_flagged(span, sampled=False), wanted=False)

    def decide(self) -> None:
        """Decide by the rate alone about all that wait."""
        with self._ledger.lock:
            dropped = self._drop([span for trace_id in list(self._traces) for span in self._take(trace_id)])
        self._tell(dropped)

    def shutdown(self) -> None:
        """Decide, and shut the processor down."""
        self.decide()
        self._intake.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the processor; traces that are under way stay undecided."""
        return self._intake.force_flush(timeout_millis)

    @property
    def waiting(self) -> int:
        """The number of spans that wait for a decision."""
        return self._waiting

    def after_fork(self) -> None:
        """In a forked child: what waits is the parent's."""
        self._clear()

    def _passes(self, context: SpanContext) -> bool:
        # Each span comes here twice: one call, no properties.
        return bool(context.trace_flags & _SAMPLED) and (context.trace_id & _RATE_BITS) < self._bound

    def _matters(self, span: ReadableSpan) -> bool:
        if self._keep_errors and span.status.status_code is StatusCode.ERROR:
            return True
        if self._slow is None or span.start_time is None or span.end_time is None:
            return False
        return span.end_time - span.start_time >= self._slow

    def _started_late(self, span: Span, started: set[int]) -> None:
        """A span started in a trace of which an earlier part was dropped: so was the parent, if it is of that part."""
        context, parent = span.get_span_context(), span.parent
        if len(started) < MOST_SPANS_AFTER_A_DROP:
            started.add(context.span_id)
        if parent is not None and not parent.is_remote and parent.span_id not in started:
            set_parent(span, UnsureParent.of(parent, DroppedSpan(self._callers.get(context.trace_id))))

    def _remember(self, trace_id: int, started: set[int] | None) -> None:
        self._kept[trace_id] = started
        if len(self._kept) > MOST_TRACES:
            self._kept.popitem(last=False)

    def _take(self, trace_id: int) -> list[ReadableSpan]:
        trace = self._traces.pop(trace_id, None)
        if trace is None:
            return []
        self._waiting -= len(trace.spans)
        if trace.caller is not None:
            self._callers[trace_id] = trace.caller
            if len(self._callers) > MOST_TRACES:
                self._callers.popitem(last=False)
        return trace.spans

    def _evict(self) -> list[ReadableSpan]:
        victims: list[ReadableSpan] = []
        while self._traces and (self._waiting > self._max_spans or len(self._traces) > MOST_TRACES):
            victims += self._take(next(iter(self._traces)))
        return self._drop(victims)

    def _hand_on(self, spans: list[ReadableSpan]) -> list[ReadableSpan]:
        """Take spans in hand that are kept; they are on their way to the queue."""
        marked = [_flagged(span, sampled=True) for span in spans]
        self._ledger.in_hand.update((id(span), span) for span in marked)
        return marked

    def _drop(self, spans: list[ReadableSpan]) -> list[ReadableSpan]:
        self._ledger.dropped("sampled_out", len(spans))
        return spans

    def _tell(self, dropped: list[ReadableSpan]) -> None:
        for span in dropped:
            self._intake.end(_flagged(span, sampled=False), wanted=True)


def _flagged(span: ReadableSpan, *, sampled: bool) -> ReadableSpan:
    """The span with its sampled flag on or off: the processor exports by it."""
    context = span.get_span_context()
    if context is None or context.trace_flags.sampled == sampled:
        return span
    flags = TraceFlags(context.trace_flags ^ TraceFlags.SAMPLED)
    return ReadableSpan(
        name=span.name,
        context=SpanContext(context.trace_id, context.span_id, context.is_remote, flags, context.trace_state),
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
