"""What one test recorded: a live `Source` for `langfuse_spans`."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.sources.score import latest
from pytest_langfuse.recording.sources.source import Reason, Score, Source, Unexported, WireBody
from pytest_langfuse.recording.span_record import SpanRecord, from_readable_span
from pytest_langfuse.recording.trace import link

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from pytest_langfuse.recording.recorder import Capture

#: Trace id and span id, as OpenTelemetry's integers.
Key = tuple[int, int]


class Rejection(NamedTuple):
    """Why a Langfuse span processor did not take a span."""

    reason: Reason
    detail: str


class Counts(NamedTuple):
    """What a recording holds, without building a single observation."""

    observations: int
    unended: int


class Entry:
    """One span from its start to its export."""

    __slots__ = (
        "delivered",
        "elsewhere",
        "ended",
        "exports",
        "key",
        "name",
        "order",
        "queued",
        "recording_span",
        "rejection",
        "span",
    )

    def __init__(self, name: str, span: Any, order: int, *, key: Key | None = None) -> None:
        self.name = name
        self.span: Any = span
        self.order = order
        if key is None:
            context = span.get_span_context()
            key = (context.trace_id, context.span_id)
            self.recording_span: bool = span.is_recording()
        else:
            self.recording_span = True
        self.key = key
        self.queued = 0
        self.delivered = False
        self.rejection: Rejection | None = None
        self.ended: ReadableSpan | None = None
        self.exports: list[tuple[str, ReadableSpan]] = []
        self.elsewhere: list[tuple[str, ReadableSpan]] = []

    @property
    def span_end_ns(self) -> int | None:
        """When the span ended, in nanoseconds since 1970; `None` while it runs."""
        end: int | None = getattr(self.span, "end_time", None)
        return end


@dataclass(slots=True)
class _View:
    """Observations built so far, valid for as long as nothing new was exported."""

    exports: int
    observations: list[Observation]


class Recording:
    """The spans of one test. Everything is built on demand: a passing test that asks nothing costs almost nothing."""

    def __init__(self, capture: Capture, test: str) -> None:
        self.test = test
        self.entries: list[Entry] = []
        self.late_entries: list[tuple[str, Entry]] = []
        self.closed = False
        #: Whether export was for real during this test.
        self.sent_for_real = False
        self._capture = capture
        self._changed = threading.Condition()
        self._view: _View | None = None
        self._cache: dict[Entry, Observation] = {}
        self._first_score = len(capture.score_source())
        self._final_scores: Sequence[Score] | None = None
        self._remote = 0

    # -- Source ------------------------------------------------------------------------------------------------

    def observations(self) -> Sequence[Observation]:
        """Exported observations, linked, in the order in which they started."""
        self._flush()
        exported = [entry for entry in list(self.entries) if self._made(entry)]
        if self._view is None or self._view.exports != len(exported):
            self._view = _View(len(exported), link([self._observe(entry) for entry in exported]))
        return self._view.observations

    def unexported(self) -> Sequence[Unexported]:
        """What was recorded but not exported, in the order in which it started."""
        self._flush()
        return [
            Unexported(self._observe(entry), *_why_not(entry)) for entry in list(self.entries) if not self._made(entry)
        ]

    def late(self) -> Sequence[Observation]:
        """Observations of earlier tests that ended during this one."""
        self._flush()
        return [self._observe(entry) for _test, entry in list(self.late_entries)]

    def scores(self) -> Sequence[Score]:
        """Scores that the app sent during this test, as Langfuse shows them: one of each id, the last one sent."""
        if self._final_scores is not None:
            return self._final_scores
        if self._capture.accepted is None:
            self._capture.flush_scores()
        disowned = self._capture.disowned_traces
        sent = self._capture.score_source()[self._first_score :]
        return latest(score for score in sent if score.trace_id not in disowned)

    def wire(self) -> Iterable[WireBody]:
        """What each exporter put on the wire: one body an exporter, masked as that exporter saw it."""
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        self._flush()
        by_exporter: dict[str, list[ReadableSpan]] = {}
        for entry in list(self.entries):
            for exporter, span in (*entry.exports, *entry.elsewhere):
                by_exporter.setdefault(exporter, []).append(span)
        for exporter, spans in by_exporter.items():
            yield WireBody(exporter, encode_spans(spans).SerializePartialToString())

    def undelivered(self) -> Sequence[Unexported]:
        """Ended, sampled, unfiltered observations that no exporter accepted."""
        lost = [item for item in self.unexported() if item.reason == "dropped"]
        accepted = self._capture.accepted() if self._capture.accepted is not None else frozenset()
        refused = [
            Unexported(self._observe(entry), "dropped", _not_accepted(entry))
            for entry in list(self.entries)
            if self._made(entry) and not entry.delivered and entry.key not in accepted
        ]
        return [*lost, *refused]

    def _made(self, entry: Entry) -> bool:
        """Whether the app made this observation for Langfuse: exported, or on its way while export is for real."""
        return bool(entry.exports) or (self._capture.accepted is not None and entry.queued > 0)

    def clear(self) -> None:
        """Forget everything so far; spans that still run stay attributed to this test."""
        self._flush()
        self._capture.flush_scores()
        self._first_score = len(self._capture.score_source())
        self.entries[:] = [entry for entry in self.entries if entry.recording_span and entry.span_end_ns is None]
        self.late_entries.clear()
        self._view = None
        self._cache.clear()

    def wait(self, timeout: float) -> None:
        """Return when something new was exported, at the latest after `timeout` seconds."""
        with self._changed:
            # Polling bounds the wait for what announces itself nowhere: a span that ends with no Langfuse processor.
            self._changed.wait(min(timeout, 0.05))

    # -- for the capture ---------------------------------------------------------------------------------------

    def arrived(self) -> None:
        """Wake those that `wait`."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """No flush from now on: what the test made is settled."""
        self._final_scores = [] if self.sent_for_real else self.scores()
        self.closed = True

    def counts(self) -> Counts:
        """Exported and unended spans, counted without building observations."""
        exported = sum(1 for entry in self.entries if entry.exports)
        unended = sum(1 for entry in self.entries if entry.recording_span and entry.span_end_ns is None)
        return Counts(exported + self._remote, unended)

    def add_remote(self, source: Source) -> None:
        """Count the observations that came from other processes, too."""
        self._remote = len(source.observations())

    def _flush(self) -> None:
        # While it is exported for real, looking must not send: that would wait for a Langfuse which hangs.
        if not self.closed and self._capture.accepted is None:
            self._capture.flush()

    def _observe(self, entry: Entry) -> Observation:
        if entry.exports:
            if entry not in self._cache:
                self._cache[entry] = observe(from_readable_span(entry.exports[0][1]))
            return self._cache[entry]
        if entry.recording_span:
            return observe(from_readable_span(entry.ended or entry.span))
        trace_id, span_id = entry.key
        return observe(_sampled_out(entry.name, trace_id, span_id))


def _why_not(entry: Entry) -> tuple[Reason, str]:
    if not entry.recording_span:
        return "sampled_out", "sampled out"
    if entry.span_end_ns is None:
        return "unended", "it never ended"
    if not entry.queued and entry.rejection is not None:
        return entry.rejection.reason, entry.rejection.detail
    context = entry.span.get_span_context()
    if context is not None and not context.trace_flags.sampled:
        return "sampled_out", "sampled out"
    if not entry.queued:
        return "filtered", "its tracer provider has no Langfuse span processor"
    return "dropped", "lost between span processor and exporter (mask_otel_spans raised, or the client was shut down)"


def _not_accepted(entry: Entry) -> str:
    if not entry.exports:
        return "it was still waiting to be sent"
    return f"{entry.exports[-1][0]} did not accept it"


def _sampled_out(name: str, trace_id: int, span_id: int) -> SpanRecord:
    """A record that holds all that is known of a span which the sampler turned down: its name and its ids."""
    return SpanRecord(trace_id=f"{trace_id:032x}", span_id=f"{span_id:016x}", parent_span_id=None, name=name)
