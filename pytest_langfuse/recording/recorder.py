"""Which test a span belongs to, and what became of it.

`Capture` is told by the hooks in `sdk.py` what the SDK does with every span of the process, and keeps one
`Recording` a test. It knows nothing of pytest and nothing of the SDK's insides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_langfuse.recording.placeholder import PLACEHOLDER_PUBLIC_KEY
from pytest_langfuse.recording.sources.live import Entry, Key, Recording, Rejection
from pytest_langfuse.recording.sources.source import Score

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span


class Capture:
    """Attributes every span of the process to the test in which it started.

    `everything=True` takes all spans, also those outside of tests; otherwise only those of a test that asked for it,
    and the rest passes through to where the app sends it. Thread-safe.

    `flush` exports what the SDK's processors hold (see `sdk.flush`); it is injected so that this class stays free of
    the SDK's internals.
    """

    def __init__(
        self,
        *,
        everything: bool,
        flush: Callable[[], None],
        flush_scores: Callable[[], None],
        score_source: Callable[[], Sequence[Score]] = tuple,
    ) -> None:
        self.everything = everything
        self.flush = flush
        self.flush_scores = flush_scores
        self.score_source = score_source
        #: While what the app sends is really exported: the spans that the receiver has accepted.
        self.accepted: Callable[[], Collection[Key]] | None = None
        #: Traces whose scores may still arrive, in a later test than their own.
        self.disowned_traces: set[str] = set()
        self.outside = Recording(self, "outside of tests")
        self.current: Recording | None = self.outside if everything else None
        self._lock = threading.Lock()
        # By (trace id, span id): copies of one span reach the exporter, so identity does not do.
        self._entries: dict[Key, Entry] = {}
        # Spans that had not ended when their test did; small on purpose, a suite may leave thousands of them.
        self._orphans: dict[Key, str] = {}
        self._never_ended = 0
        self._observations = 0
        self._tests = 0

    # -- one test at a time ------------------------------------------------------------------------------------

    @contextmanager
    def recording(self, test: str) -> Iterator[Recording]:
        """Attribute what starts inside the block to `test`."""
        recording = self.begin(test)
        try:
            yield recording
        finally:
            self.end(recording)

    def begin(self, test: str) -> Recording:
        """Start a recording for `test`; the one before it is ended first if it still runs."""
        if self.current is not None and self.current is not self.outside:
            self.end(self.current)
        self.current = recording = Recording(self, test)
        return recording

    def end(self, recording: Recording) -> None:
        """Close `recording`: later spans are not its own, and what has not ended is remembered by name only."""
        if recording.closed:
            return
        self.flush()
        if recording.sent_for_real:
            # Scores that are tried again and again after an outage are not waited for.
            self.disowned_traces.update(f"{entry.key[0]:032x}" for entry in recording.entries)
        else:
            self.flush_scores()
        recording.close()
        counts = recording.counts()
        self._tests += counts.observations > 0
        self._observations += counts.observations
        with self._lock:
            for entry in recording.entries:
                self._entries.pop(entry.key, None)
                if entry.recording_span and entry.span_end_ns is None:
                    self._orphans[entry.key] = recording.test
                    self._never_ended += 1
        if self.current is recording:
            self.current = self.outside if self.everything else None
        if self.everything:
            self._forget_outside()

    def _forget_outside(self) -> None:
        """Spans that start between tests must not pile up over a long session: keep those that still run."""
        with self._lock:
            kept = [entry for entry in self.outside.entries if entry.recording_span and entry.span_end_ns is None]
            for entry in self.outside.entries:
                self._entries.pop(entry.key, None)
            self._entries.update((entry.key, entry) for entry in kept)
            self.outside.entries[:] = kept
            self.outside.late_entries.clear()

    @contextmanager
    def sent_for_real(self, accepted: Callable[[], Collection[Key]]) -> Iterator[None]:
        """Inside the block, what counts as delivered is what a receiver has `accepted`."""
        self.accepted = accepted
        if self.current is not None:
            self.current.sent_for_real = True
        try:
            yield
        finally:
            self.accepted = None

    def totals(self) -> dict[str, int]:
        """Observations exported, tests that made any, and observations that never ended, over the whole session."""
        return {"observations": self._observations, "tests": self._tests, "never_ended": self._never_ended}

    # -- told by the hooks -------------------------------------------------------------------------------------

    def started(self, name: str, span: Span) -> None:
        """A tracer made `span`; a span that records nothing was sampled out."""
        recording = self.current
        if recording is None:
            return
        entry = Entry(name, span, len(recording.entries))
        if entry.recording_span:
            self._entries[entry.key] = entry
        recording.entries.append(entry)

    def queued(self, span: ReadableSpan) -> None:
        """A Langfuse span processor took the ended span for export."""
        entry = self._ended(span)
        if entry is not None:
            entry.queued += 1

    def rejected(self, span: ReadableSpan, rejection: Rejection) -> None:
        """A Langfuse span processor did not take the ended span."""
        entry = self._ended(span)
        if entry is not None:
            entry.rejection = rejection

    def left_to(self, exporter: str, span: ReadableSpan) -> None:
        """Another exporter of the process (not Langfuse's) got the ended span."""
        context = span.context
        if context is not None and (entry := self._entries.get((context.trace_id, context.span_id))) is not None:
            entry.elsewhere.append((exporter, span))

    def exported(self, exporter: str, spans: Sequence[ReadableSpan], *, delivered: bool) -> list[ReadableSpan]:
        """Langfuse's exporter got `spans`, after filter and mask. Returns those that are not ours to keep."""
        foreign: list[ReadableSpan] = []
        for span in spans:
            context = span.context
            key = (context.trace_id, context.span_id) if context is not None else None
            entry = self._entries.get(key) if key is not None else None
            if entry is not None:
                entry.exports.append((exporter, span))
                entry.delivered = entry.delivered or delivered
            elif not self.everything and key not in self._orphans and _project(span) != PLACEHOLDER_PUBLIC_KEY:
                foreign.append(span)
        recording = self.current
        if recording is not None:
            recording.arrived()
        return foreign

    def _ended(self, span: ReadableSpan) -> Entry | None:
        context = span.context
        if context is None:
            return None
        key = (context.trace_id, context.span_id)
        entry = self._entries.get(key)
        if entry is None:
            if self._orphans and (test := self._orphans.pop(key, None)) is not None:
                self._arrived_late(key, span, test)
            return None
        entry.ended = span
        return entry

    def _arrived_late(self, key: Key, span: ReadableSpan, test: str) -> None:
        with self._lock:
            self._never_ended -= 1
        recording = self.current
        if recording is not None:
            recording.late_entries.append((test, Entry(span.name, span, 0, key=key)))

    # -- for the REST side -------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether what is sent now is to be kept on this machine."""
        return self.everything or self.current is not None


def _project(span: ReadableSpan) -> Any:
    scope = span.instrumentation_scope
    return scope.attributes.get("public_key") if scope is not None and scope.attributes else None
