"""The entrance to Langfuse's span processor: what happens there to a span is known and counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from pytest_langfuse.tracing import langfuse_internals
from pytest_langfuse.tracing.delivery.held_bytes import HeldBytes
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger

if TYPE_CHECKING:
    from opentelemetry.context import Context

#: Notes about so many open spans are kept; some are never ended.
MOST_OPEN = 100_000


class Intake(SpanProcessor):
    """Stands before Langfuse's `processor`, and watches its filter and its queue.

    The processor says nothing of a span that it does not take: one that its filter does not want or fails on, and any
    after it was shut down (by the application, which shuts its tracer provider down).
    """

    def __init__(self, processor: SpanProcessor, *, ledger: SpanLedger, held: HeldBytes) -> None:
        self.processor = processor
        #: The processor was shut down.
        self.closed = False
        self._ledger = ledger
        self._here = threading.local()
        self.queued: QueuedSpans | None = None
        if isinstance(processor, BatchSpanProcessor):
            self.queued = QueuedSpans(ledger)
            self.queued.queue = langfuse_internals.watch_queue(processor, self.queued, held)
            if self.queued.queue is not None:
                held.add(self.queued.queue)
            langfuse_internals.limit_notes(processor, MOST_OPEN)
            langfuse_internals.watch_filter(processor, self._watched)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass it on."""
        self.processor.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass it on; the processor's filter decides."""
        was_closed = self.closed
        self.processor.on_end(span)
        # If it is shut down right now, this span may be the last that it took.
        if self.closed and (was_closed or not self._was_queued(span)) and self.wants(span):
            self._ledger.ended()
            self._ledger.dropped("after_shutdown")

    def wants(self, span: ReadableSpan) -> bool:
        """Return whether the processor would take a span that has ended, sampled or not. Its filter is asked."""
        return langfuse_internals.wants(self.processor, span)

    def end(self, span: ReadableSpan, *, wanted: bool) -> None:
        """Pass a span on of which `wants` is known: the filter is not asked again.

        Langfuse's processor keeps a note of each span from its start to its end, so it is told of those that were
        dropped, too: with their sampled flag off.
        """
        self._here.verdict = wanted
        try:
            self.processor.on_end(span)
        finally:
            self._here.verdict = None

    def handed_over(self, span: ReadableSpan) -> None:
        """Account for a span that was in hand: it is in the queue now, or the processor has refused it."""
        with self._ledger.lock:
            if self._ledger.in_hand.pop(id(span), None) is not None and self.closed:
                self._ledger.dropped("after_shutdown")

    def shutdown(self) -> None:
        """Shut the processor down."""
        self.closed = True
        self.processor.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Pass it on."""
        return self.processor.force_flush(timeout_millis)

    def after_fork(self) -> None:
        """In a forked child: what was queued is the parent's, and so are locks of the SDK that another thread held."""
        langfuse_internals.renew_locks(self.processor)
        if self.queued is not None:
            self.queued.after_fork()

    def _was_queued(self, span: ReadableSpan) -> bool:
        return self.queued is not None and self.queued.latest_here() == id(span)

    def _watched(self, wanted: Callable[[ReadableSpan], bool]) -> Callable[[ReadableSpan], bool]:
        """Return the application's filter, which counts the spans that it fails on: Langfuse drops them."""

        def watched(span: ReadableSpan) -> bool:
            verdict = getattr(self._here, "verdict", None)
            if verdict is not None:
                return bool(verdict)
            try:
                return wanted(span)
            except Exception:
                # It is also asked at the start of a span, only to find out where the application's part begins.
                if span.end_time is not None:
                    self._ledger.ended()
                    self._ledger.dropped("filter_failed")
                raise

        return watched


class QueuedSpans:
    """The spans that are in the SDK's queue, or were taken from there for an export that has not handed them over."""

    def __init__(self, ledger: SpanLedger) -> None:
        self._ledger = ledger
        #: The lock of all hand-overs.
        self.lock: AbstractContextManager[Any] = ledger.lock
        self._leaving: list[ReadableSpan] = []
        self._here = threading.local()
        self.queue: langfuse_internals.SpanQueue | None = None
        ledger.watch(self._held)

    def _held(self) -> int:
        return len(self.queue or ()) + len(self._leaving)

    # -- for the queue, which calls these with the lock held ----------------------------------------------------

    def came(self, span: ReadableSpan) -> None:
        """A span was queued."""
        self._here.latest = id(span)
        self._ledger.queued(span)

    def evicted(self) -> None:
        """The queue was full, and lost its oldest span."""
        self._ledger.dropped("queue_full")

    def left(self, span: ReadableSpan) -> None:
        """A span was taken from the queue, to be exported."""
        self._leaving.append(span)

    # -- for the exporters --------------------------------------------------------------------------------------

    def latest_here(self) -> int | None:
        """Return the `id` of the span that this thread queued last."""
        return getattr(self._here, "latest", None)

    def export_begins(self, spans: int) -> None:
        """So many are exported now, one batch at a time. What an earlier export has left behind is lost."""
        with self._ledger.lock:
            del self._leaving[: max(len(self._leaving) - spans, 0)]

    def handed_over(self, spans: int) -> None:
        """So many went on, or were counted as dropped, in the same hold of the lock."""
        with self._ledger.lock:
            del self._leaving[:spans]

    def export_ended(self) -> None:
        """Forget the rest: it was counted, or it is lost."""
        with self._ledger.lock:
            self._leaving.clear()

    def after_fork(self) -> None:
        """In a forked child: what was being exported is the parent's."""
        self.lock = self._ledger.lock
        self._leaving = []
        self._here = threading.local()
