"""Spans of decided traces on their way from the sampler to Langfuse's span processor.

A trace may have 100,000 spans, and the thread that ends its last one is the application's. It hands over the first few
itself; for more there is a thread here.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from pytest_langfuse.tracing.delivery.held_bytes import HeldBytes
from pytest_langfuse.tracing.delivery.intake import Intake
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.failures import failures

#: So many spans are handed over by the thread that ends a trace.
MOST_AT_ONCE = 32
#: The thread pauses after so many, so that the application's threads need not wait for Python's lock (seconds).
_CHUNK, _PAUSE = 32, 0.0005
#: The thread ends when there was nothing for it for so long (seconds).
_IDLE = 10.0

#: A span and its bytes.
Sized = tuple[ReadableSpan, int]


class DecidedTraces:
    """Takes spans to `intake`: kept ones to be queued, dropped ones to be forgotten. Thread-safe."""

    def __init__(self, intake: Intake, *, ledger: SpanLedger, held: HeldBytes) -> None:
        self._intake, self._ledger, self._held = intake, ledger, held
        self._clear()
        ledger.watch(lambda: self._kept.spans)
        held.add(self)

    def _clear(self) -> None:
        #: Bytes of kept spans that wait.
        self.size = 0
        self._kept, self._dropped = _Line(), _Line()
        #: Reentrant: the garbage collector may end a span of the application at any moment.
        self._at_work = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, spans: list[Sized], size: int) -> None:
        """Take spans of a kept trace, and their bytes. The list is this object's. With the ledger's lock held."""
        self._kept.add(spans)
        self.size += size
        self._held.total += size

    def drop(self, spans: list[Sized]) -> None:
        """Take spans that were dropped and counted: Langfuse's processor is told of them, too. As `keep`."""
        self._dropped.add(spans)

    def drop_oldest(self) -> None:
        """Drop a kept span for want of room. As `keep`."""
        oldest = self._kept.first()
        self._left(oldest[1])
        self._ledger.dropped("queue_full")
        self._dropped.add([oldest])

    def hand_over(self) -> None:
        """Hand over a few spans here, or let the thread do it if there are more. Not with the ledger's lock held."""
        if self._kept.spans + self._dropped.spans > MOST_AT_ONCE:
            self._wake.set()
            self._start()
            return
        for _ in range(MOST_AT_ONCE):
            if not self._next_one():
                break

    def finish(self) -> None:
        """Hand over all that is there now, in this thread."""
        with self._at_work:
            while self._next_one():
                pass

    def after_fork(self) -> None:
        """In a forked child: what is here is the parent's."""
        self._left(self.size)
        self._clear()

    def _left(self, size: int) -> None:
        self.size -= size
        self._held.total -= size

    def _start(self) -> None:
        with self._ledger.lock:
            if self._thread is not None:
                return
            self._thread = thread = threading.Thread(target=self._run, name="langfuse-tracing-sampler", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # At the interpreter's end there are no new threads (Python 3.12).
            self._thread = None
            self.finish()

    def _run(self) -> None:
        # Whoever started this thread waits for its first pause.
        time.sleep(_PAUSE)
        while True:
            try:
                with self._at_work:
                    more = all(self._next_one() for _ in range(_CHUNK))
            except Exception as error:  # noqa: BLE001 - the thread must live
                failures.report("handing spans of decided traces over", error)
                more = True
            if more:
                time.sleep(_PAUSE)
                continue
            self._wake.clear()
            if self._kept.spans or self._dropped.spans or self._wake.wait(_IDLE):
                continue
            with self._ledger.lock:
                if not self._wake.is_set():
                    self._thread = None
                    return

    def _next_one(self) -> bool:
        """Hand over one span. Return `False` if there is none."""
        if not self._kept.spans and not self._dropped.spans:
            return False
        span = kept = None
        with self._ledger.lock:
            if self._kept.spans:
                span, size = self._kept.first()
                self._left(size)
                kept = flagged(span, sampled=True)
                self._ledger.in_hand[id(kept)] = kept
            elif self._dropped.spans:
                span = self._dropped.first()[0]
        if kept is not None:
            self._intake.end(kept, wanted=True)
            self._intake.handed_over(kept)
        elif span is not None:
            self._intake.end(flagged(span, sampled=False), wanted=True)
        return span is not None


class _Line:
    """Spans in a line, of whole traces: to add one costs the same whatever its size."""

    def __init__(self) -> None:
        self.spans = 0
        self._traces: deque[list[Sized]] = deque()

    def add(self, trace: list[Sized]) -> None:
        """Add the spans of a trace; the first is taken first."""
        if trace:
            # Microseconds for a hundred thousand; taking them from the front would move the rest each time.
            trace.reverse()
            self._traces.append(trace)
            self.spans += len(trace)

    def first(self) -> Sized:
        """Take a span of the first trace."""
        self.spans -= 1
        trace = self._traces[0]
        span = trace.pop()
        if not trace:
            self._traces.popleft()
        return span


def flagged(span: ReadableSpan, *, sampled: bool) -> ReadableSpan:
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
