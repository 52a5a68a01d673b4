"""The sampler that decides which traces are kept when their spans have ended.

A trace that its id puts within the sample rate is passed on span by span. The others wait until their last local span
has ended, and are dropped then, unless one of their spans was an error or slow: then all of it is kept. "Errors
always" holds for the part of a trace that ran in this process; what another service has dropped can't be called back.

Spans whose sampled flag is off wait like those outside of the rate: the caller has not sampled its trace
(see `head_sampler.py`), which must not hide an error that happens here.

With rules (`sampling=`) all traces wait: what a rule goes by, its user or its route, may be known only in the end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags

from pytest_langfuse.tracing.delivery.decided_traces import DecidedTraces, Sized, flagged
from pytest_langfuse.tracing.delivery.held_bytes import HeldBytes
from pytest_langfuse.tracing.delivery.intake import Intake
from pytest_langfuse.tracing.delivery.sampling_decisions import SamplingDecisions
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.exported_ancestor import DroppedSpan, UnsureParent
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.langfuse_internals import set_parent, span_size
from pytest_langfuse.tracing.sampled_trace import SampledTrace
from pytest_langfuse.tracing.sampling import ERROR, ID_BITS, SLOW, SamplingDecision, asked_about, bound_of

if TYPE_CHECKING:
    from opentelemetry.context import Context

#: So many undecided traces are held, and so many decisions remembered for spans that come late.
MOST_TRACES = 50_000

#: So many spans of a trace of which a part was dropped are known as parents of others.
MOST_SPANS_AFTER_A_DROP = 10_000

_NANOSECONDS = 1_000_000_000
_SAMPLED = int(TraceFlags.SAMPLED)


#: A trace, and whether it is kept.
_Decided = tuple[int, bool]


class _UndecidedTrace:
    __slots__ = ("caller", "open", "root", "size", "spans", "started")

    def __init__(self, root: ReadableSpan, parent: SpanContext | None) -> None:
        #: The first span here.
        self.root = root
        self.open = self.size = 0
        self.spans: list[Sized] = []
        #: The parent in another process.
        self.caller = parent if parent is not None and parent.is_remote else None
        #: Where an earlier part of the trace was dropped: what has started since, which is all that may be kept.
        self.started: set[int] | None = set() if parent is not None and not parent.is_remote else None

    @property
    def sampled(self) -> bool:
        """True unless the caller has not sampled it."""
        context = self.root.get_span_context()
        return context is not None and context.trace_flags.sampled

    def seen(self, trace_id: int) -> SampledTrace:
        """Return it as a rule sees it."""
        return SampledTrace(trace_id, self.root, [span for span, _ in list(self.spans)])


class TailSampler(SpanProcessor):
    """Stands before `intake` and decides which spans it gets.

    The rate is applied as `TraceIdRatioBased` does (the lower 64 bits of the trace id), so services that sample by
    that rule at the same rate keep the same traces. At most `max_spans` wait for a decision, within the bytes that
    `held` allows: beyond, the oldest trace is decided by what is known of it. A span that Langfuse is not going to get
    anyway (of another library) may decide about its trace, but does not wait with it, and is not counted.

    `decided(trace_id, kept)` is called after each decision about a trace that was waited for.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        decisions: SamplingDecisions,
        keep_errors: bool,
        keep_slower_than: float | None,
        ledger: SpanLedger,
        max_spans: int,
        held: HeldBytes,
        decided: Callable[[int, bool], None] = lambda _trace_id, _kept: None,
    ) -> None:
        self._intake = intake
        self._held, self._decided = held, decided
        self.decisions, self._rules = decisions, decisions.rules
        #: Traces that `drop_oldest` decided, and of which nobody was told yet.
        self._evicted: list[_Decided] = []
        self._traces_on_their_way = DecidedTraces(intake, ledger=ledger, held=held)
        held.add(self)
        self._bound = bound_of(self._rules.rate)
        #: Traces below pass span by span.
        self._passing = 0 if self._rules else self._bound
        #: Passing traces are marked with the reason, for which errors and slow spans of theirs count, too.
        self._marks = 0 < self._passing < bound_of(1.0)
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
        #: Bytes of the spans that wait.
        self.size = 0

    def decision(self, trace_id: int) -> bool | None:
        """Return whether a trace is kept; `None` as long as that is open."""
        with self._ledger.lock:
            if trace_id in self._traces:
                return None
            if trace_id in self._kept:
                return True
            made = self.decisions.made(trace_id) if self._rules else None
            return made.kept if made is not None else (trace_id & ID_BITS) < self._bound

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass it on, and count the trace's open spans."""
        self._intake.processor.on_start(span, parent_context)
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
                trace = self._traces[trace_id] = _UndecidedTrace(span, span.parent)
            if trace.started is not None:
                self._started_late(span, trace.started)
            trace.open += 1
            decided = self._evict()
        self._tell(decided)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass it on, drop it, or let it wait for the rest of its trace."""
        context = span.get_span_context()
        if context is None or self._passes(context):
            if self._marks:
                self._mark(span)
            self._intake.on_end(span)
            return
        trace_id = context.trace_id
        # The application's filter, and its rules, are asked outside of the lock.
        wanted = self._intake.wants(span)
        own = [(span, span_size(span))] if wanted else []
        reason = self._reason(span)
        interrupts: list[BaseException] = []
        kept = None if reason is None else self._kept_for(reason, trace_id, interrupts)
        with self._ledger.lock:
            if wanted:
                self._ledger.ended()
            decided, complete = self._add(trace_id, own, kept)
        if complete is not None:
            self._complete(trace_id, complete, interrupts)
        self._tell(decided)
        self._traces_on_their_way.hand_over()
        if not wanted:
            self._intake.end(flagged(span, sampled=False), wanted=False)
        if interrupts:
            # Ctrl-C came while a rule ran: it is the application's.
            raise interrupts[0]

    def _add(
        self, trace_id: int, own: list[Sized], kept: SamplingDecision | None
    ) -> tuple[Sequence[_Decided], _UndecidedTrace | None]:
        """Add a span that has ended to its trace; return what was decided, and a trace that the rules decide about."""
        trace = self._traces.get(trace_id)
        if trace_id in self._kept:
            self._keep(own)
        elif kept is not None:
            decided = self._keep_trace(trace_id, kept)
            self._keep(own)
            return decided, None
        elif trace is None:
            # Evicted, or dropped as complete before this one started.
            self._drop(own)
        else:
            for one in own:
                trace.spans.append(one)
                trace.size += one[1]
                self._grow(one[1])
                self._waiting += 1
            trace.open -= 1
            if trace.open > 0:
                return self._evict(), None
            return ((), trace) if self._rules else (self._drop_trace(trace_id), None)
        return (), None

    def _mark(self, span: ReadableSpan) -> None:
        """Tell the reason of a trace that its id keeps, if an error or a slow span would have kept it, too."""
        context, reason = span.get_span_context(), self._reason(span)
        if context is not None and reason is not None:
            self.decisions.add(context.trace_id, SamplingDecision(kept=True, rate=self._rules.rate, reason=reason))

    def decide(self) -> None:
        """Decide about all that wait, by the rate and the rules."""
        with self._ledger.lock:
            waiting = list(self._traces.items())
            decided, self._evicted = self._evicted, []
        self._tell(decided)
        interrupts: list[BaseException] = []
        for trace_id, trace in waiting:
            self._complete(trace_id, trace, interrupts, at_once=True)
        for interrupt in interrupts:
            # All that waits has to be decided, and sent, whatever a rule raises.
            failures.report("asking the sampling rules", interrupt)
        self._traces_on_their_way.finish()

    def shutdown(self) -> None:
        """Decide, and shut the processor down."""
        self.decide()
        self._intake.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the processor; traces that are under way stay undecided."""
        self._traces_on_their_way.finish()
        return self._intake.force_flush(timeout_millis)

    @property
    def waiting(self) -> int:
        """The number of spans that wait for a decision."""
        return self._waiting

    def after_fork(self) -> None:
        """In a forked child: what waits is the parent's."""
        self._grow(-self.size)
        self._clear()
        self.decisions.clear()
        self._traces_on_their_way.after_fork()

    def drop_oldest(self) -> None:
        """Decide about the oldest trace now, for want of room: no function of the application is asked."""
        trace_id, trace = next(iter(self._traces.items()))
        self._evicted += self._settle(trace_id, self._decision(trace_id, trace))

    def _passes(self, context: SpanContext) -> bool:
        # Each span comes here twice: one call, no properties.
        return bool(context.trace_flags & _SAMPLED) and (context.trace_id & ID_BITS) < self._passing

    def _reason(self, span: ReadableSpan) -> str | None:
        """Return why a span alone keeps its trace, if it does."""
        if self._keep_errors and span.status.status_code is StatusCode.ERROR:
            return ERROR
        if self._slow is None or span.start_time is None or span.end_time is None:
            return None
        return SLOW if span.end_time - span.start_time >= self._slow else None

    def _kept_for(self, reason: str, trace_id: int, interrupts: list[BaseException]) -> SamplingDecision:
        """Return the decision to keep a trace, with the rate that it would have had."""
        rate, trace = self._rules.rate, self._traces.get(trace_id)
        if self._rules and trace is not None:
            rate = self._asked(trace.seen(trace_id), interrupts, sampled=True).rate
        return SamplingDecision(kept=True, rate=rate, reason=reason)

    def _decision(
        self, trace_id: int, trace: _UndecidedTrace, interrupts: list[BaseException] | None = None
    ) -> SamplingDecision | None:
        """Return the decision about a trace without an error; `None` if it is dropped by its id alone.

        Functions of the application are asked if there is a place for what interrupts them.
        """
        if not self._rules:
            return None
        return self.decisions.made(trace_id) or self._asked(trace.seen(trace_id), interrupts, sampled=trace.sampled)

    def _asked(self, trace: SampledTrace, interrupts: list[BaseException] | None, *, sampled: bool) -> SamplingDecision:
        """Return what the rules say. Where a function is interrupted, the others decide."""
        if interrupts is not None:
            try:
                return self._rules.decide(trace, sampled=sampled)
            except BaseException as interrupt:  # noqa: BLE001 - the caller raises it when the trace is settled
                interrupts.append(interrupt)
        return self._rules.decide(trace, sampled=sampled, ask_functions=False)

    def _complete(
        self, trace_id: int, trace: _UndecidedTrace, interrupts: list[BaseException], *, at_once: bool = False
    ) -> None:
        """Decide about a trace of which nothing is open, unless that has changed meanwhile. Not with the lock held."""
        if asked_about(trace_id):
            return
        decision = self._decision(trace_id, trace, interrupts)
        decided: Sequence[_Decided] = ()
        with self._ledger.lock:
            if self._traces.get(trace_id) is trace and (at_once or trace.open <= 0):
                decided = self._settle(trace_id, decision)
        self._tell(decided)

    def _settle(self, trace_id: int, decision: SamplingDecision | None) -> Sequence[_Decided]:
        if decision is not None and decision.kept:
            return self._keep_trace(trace_id, decision)
        return self._drop_trace(trace_id, decision)

    def _started_late(self, span: Span, started: set[int]) -> None:
        """A span started in a trace of which an earlier part was dropped: so was the parent, if it is of that part."""
        context, parent = span.get_span_context(), span.parent
        if len(started) < MOST_SPANS_AFTER_A_DROP:
            started.add(context.span_id)
        if parent is not None and not parent.is_remote and parent.span_id not in started:
            set_parent(span, UnsureParent.of(parent, DroppedSpan(self._callers.get(context.trace_id))))

    def _keep_trace(self, trace_id: int, decision: SamplingDecision) -> Sequence[_Decided]:
        """Keep a trace: what has ended of it, and what comes later."""
        self.decisions.add(trace_id, decision)
        trace = self._take(trace_id)
        self._kept[trace_id] = None if trace is None else trace.started
        if len(self._kept) > MOST_TRACES:
            self._kept.popitem(last=False)
        if trace is not None:
            self._traces_on_their_way.keep(trace.spans, trace.size)
        return ((trace_id, True),)

    def _take(self, trace_id: int) -> _UndecidedTrace | None:
        trace = self._traces.pop(trace_id, None)
        if trace is None:
            return None
        self._waiting -= len(trace.spans)
        self._grow(-trace.size)
        if trace.caller is not None:
            self._callers[trace_id] = trace.caller
            if len(self._callers) > MOST_TRACES:
                self._callers.popitem(last=False)
        return trace

    def _grow(self, size: int) -> None:
        self.size += size
        self._held.total += size

    def _evict(self) -> Sequence[_Decided]:
        """Make room; return the traces that were decided for it."""
        self._held.make_room()
        while self._traces and (self._waiting > self._max_spans or len(self._traces) > MOST_TRACES):
            self.drop_oldest()
        evicted, self._evicted = self._evicted, []
        return evicted

    def _keep(self, spans: list[Sized]) -> None:
        self._traces_on_their_way.keep(spans, sum([size for _, size in spans]))

    def _drop_trace(self, trace_id: int, decision: SamplingDecision | None = None) -> Sequence[_Decided]:
        self.decisions.dropped(trace_id, decision)
        if (trace := self._take(trace_id)) is not None:
            self._drop(trace.spans)
        return ((trace_id, False),)

    def _drop(self, spans: list[Sized]) -> None:
        self._ledger.dropped("sampled_out", len(spans))
        self._traces_on_their_way.drop(spans)

    def _tell(self, traces: Sequence[_Decided]) -> None:
        for trace_id, kept in traces:
            self._decided(trace_id, kept)
