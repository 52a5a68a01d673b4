"""The recorder: attributes spans to tests, and follows each to its export.

The hooks in `sdk.py` tell `Recorder` what the SDK does with every span of the process. It keeps one `LiveSource` per
test. It knows neither pytest nor the SDK's internals.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.recording.built_client import BuiltClient
from pytest_langfuse.recording.exported_body import Encoding, ExportedBody
from pytest_langfuse.recording.generators import GENERATORS, RunningGenerators
from pytest_langfuse.recording.handed_over_work import code_of, work_of
from pytest_langfuse.recording.lost_value import LostValue, WhyDropped
from pytest_langfuse.recording.origin import Origin, handed_over_here
from pytest_langfuse.recording.recorded_span import (
    HandedOver,
    HandOver,
    RecordedSpan,
    Rejection,
    SpanKey,
    mark,
    marked,
)
from pytest_langfuse.recording.sources.live import LiveSource
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.start_place import StartPlaces
from pytest_langfuse.recording.unsampled_error import UnsampledError
from pytest_langfuse.recording.why_not_exported import Explains, NothingKnown
from pytest_langfuse.recording.why_nothing import EarlierTest, KnownClient, WiderFixture

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span

#: Traces of ended tests that are remembered, for the scores that come later. A session may make any number of them.
_EARLIER_TRACES: Final = 1_000
#: What hands work to a thread that it has started for that.
_THREADS: Final = ("thread", "timer", "thread class")
#: Ended tests that are remembered, each with some names of what it made, for failures of later ones.
_EARLIER_TESTS: Final = 100


#: The name in place of a test for observations that start between tests.
OUTSIDE: Final = "outside of tests"


class Uncaptured:
    """A test that is not captured, and what it has made so far: it may ask for a fixture at run time."""

    def __init__(self, test: str) -> None:
        self.origin = Origin(test, captured=False)
        self.spans: deque[tuple[str, Span]] = deque(maxlen=10_000)


class Recorder:
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
        discard: Callable[[], None] = lambda: None,
        score_source: Callable[[], Sequence[Score]] = tuple,
        clients: Callable[[], Sequence[KnownClient]] = tuple,
        explain: Explains | None = None,
    ) -> None:
        self.everything = everything
        self.flush = flush
        self.flush_scores = flush_scores
        self._discard = discard
        self.score_source = score_source
        self.clients = clients
        self.explain = explain or NothingKnown()
        #: While what the app sends is really exported: the spans that the receiver has accepted.
        self.accepted: Callable[[], Collection[SpanKey]] | None = None
        #: Meanwhile: why the receiver has not accepted exports.
        self.refusals: Callable[[], Sequence[str]] = tuple
        #: Traces whose scores may still arrive, in a later test than their own.
        self.disowned_traces: set[str] = set()
        #: Ids of the traces of tests that have ended, with no particular value: the last ones, in order.
        self.earlier_traces: dict[str, None] = {}
        #: The last tests that made anything, in order.
        self.earlier_tests: deque[EarlierTest] = deque(maxlen=_EARLIER_TESTS)
        #: Remembers where spans are started, if rules are to name the places.
        self.places: StartPlaces | None = None
        self._generators = RunningGenerators()
        #: Fixtures of a wider scope than one test that are in use, by the object that stands for each.
        self.fixtures: dict[object, WiderFixture] = {}
        #: How many of them are being set up.
        self.fixtures_in_set_up = 0
        self.outside = LiveSource(self, OUTSIDE)
        self.current: LiveSource | None = self.outside if everything else None
        self._lock = threading.Lock()
        # For a span whose context some processor made anew; all others carry their record.
        self._spans: dict[SpanKey, RecordedSpan] = {}
        self._never_ended = 0
        self._orphan_scores = 0
        self._observations = 0
        self._tests = 0

    # -- one test at a time ------------------------------------------------------------------------------------

    def begin(self, test: str, before: Uncaptured | None = None) -> LiveSource:
        """Start a source for `test`; the one before it is ended first if it still runs.

        `before` is what the test has made so far, if it was not captured from its beginning.
        """
        if self.current is not None and self.current is not self.outside:
            self.end(self.current)
        self.current = source = LiveSource(self, test, None if before is None else before.origin)
        self._generators.clear()
        # Those of modules that were imported before are for the first test to report.
        source.clients, self.outside.clients = self.outside.clients, []
        if before is not None:
            before.origin.captured = True
            for name, span in before.spans:
                self.started(name, span)
        return source

    def end(self, source: LiveSource) -> None:
        """Close `source`: it takes no more spans, and of spans that still run only the keys are remembered."""
        if source.closed:
            return
        self.flush()
        source.restore_context()
        if source.sent_for_real:
            # Scores may be retried for long after an outage; they are not waited for.
            self.disowned_traces.update(f"{recorded.key[0]:032x}" for recorded in source.spans)
        source.close()
        self._discard()
        counts = source.counts()
        self._tests += counts.observations > 0
        self._observations += counts.observations
        self._orphan_scores += counts.orphan_scores
        self._remember(source)
        with self._lock:
            for recorded in source.spans:
                self._spans.pop(recorded.key, None)
                if recorded.is_running:
                    # One for each span, to see when it ends; the test's other records must not live as long.
                    mark(recorded.span.get_span_context(), Origin(source.test, unended=True, record=recorded))
                    self._never_ended += 1
                else:
                    mark(recorded.span.get_span_context(), source.origin)
        if self.current is source:
            self.current = self.outside if self.everything else None
        if self.everything:
            self._forget_outside()

    def _remember(self, source: LiveSource) -> None:
        if source.spans:
            self.earlier_tests.append(EarlierTest(source.test, source.names()))
        earlier = self.earlier_traces
        made = dict.fromkeys(recorded.key[0] for recorded in source.spans)
        earlier.update((f"{trace_id:032x}", None) for trace_id in made)
        while len(earlier) > _EARLIER_TRACES:
            del earlier[next(iter(earlier))]

    def _forget_outside(self) -> None:
        """Forget spans that started between tests, except those that still run: a session may be long."""
        with self._lock:
            kept = [recorded for recorded in self.outside.spans if recorded.is_running]
            for recorded in self.outside.spans:
                self._spans.pop(recorded.key, None)
                if not recorded.is_running:
                    mark(recorded.span.get_span_context(), self.outside.origin)
            self._spans.update((recorded.key, recorded) for recorded in kept)
            self.outside.spans[:] = kept
            self.outside.late_spans.clear()

    @contextmanager
    def sent_for_real(
        self, accepted: Callable[[], Collection[SpanKey]], refusals: Callable[[], Sequence[str]] = tuple
    ) -> Iterator[None]:
        """Count as delivered, inside the block, what a receiver has `accepted`.

        `refusals` are the reasons why it has not accepted exports.
        """
        self.accepted, self.refusals = accepted, refusals
        if self.current is not None:
            self.current.sent_for_real = True
        try:
            yield
        finally:
            self.accepted, self.refusals = None, tuple

    def totals(self) -> dict[str, int]:
        """Return counts of the session: observations exported, tests that made any, never ended, orphan scores."""
        return {
            "observations": self._observations,
            "tests": self._tests,
            "never_ended": self._never_ended,
            "orphan_scores": self._orphan_scores,
        }

    # -- told by the hooks -------------------------------------------------------------------------------------

    def started(self, name: str, span: Span, *, context: object = None) -> None:
        """Take note that a tracer made `span`; a span that records nothing was sampled out.

        `context` is the one that the caller has given it, in place of the current one.
        """
        source = self.current
        if source is None:
            return
        recorded = RecordedSpan(name, span, origin=source.origin)
        mark(span.get_span_context(), recorded)
        if recorded.is_recording:
            earlier = self._spans.get(recorded.key)
            recorded.repeats_id = earlier is not None and earlier.origin is source.origin
            self._spans[recorded.key] = recorded
        source.spans.append(recorded)
        if self.places is not None:
            recorded.start = self.places.here()
            self._note_hand_over(recorded, is_detached=context is not None)

    def _note_hand_over(self, recorded: RecordedSpan, *, is_detached: bool) -> None:
        handed_over = handed_over_here()
        if isinstance(handed_over, HandedOver):
            recorded.handed_over = handed_over
        if not is_detached and recorded.is_recording and recorded.span.parent is None:
            if self._generators and (resumed := self._generators.resumed()) is not None:
                recorded.handed_over = handed_over = resumed
            if isinstance(handed_over, HandedOver) and handed_over.first is None:
                handed_over.first = recorded
        if recorded.start is not None and recorded.start[0].co_flags & GENERATORS:
            self._generators.add(recorded)

    def handing_over(self, how: HandOver, work: Any, current: Span) -> HandedOver | None:
        """Return what to remember of `work` that is handed over while `current` is the current span.

        A thread that runs a library's function is that library's, which hands contexts over in its way.
        """
        if self.places is None:
            return None
        by = marked(current.get_span_context())
        if not isinstance(by, RecordedSpan) or not by.is_running:
            return None
        found = work_of(how, work)
        is_ours = any(self.places.is_application(code_of(layer)) for layer in found.layers)
        if not is_ours and found.how in _THREADS:
            return None
        by_library = not is_ours and not self.places.is_direct()
        return HandedOver(found.how, by, self.places.here(), found.name, by_library)

    def made_by(self, fixture: WiderFixture, number: int, *, in_teardown: bool = False) -> None:
        """Take note that the last `number` spans of the test that runs were started by a fixture."""
        if self.current is not None and self.current.test == fixture.test:
            for recorded in self.current.spans[-number:]:
                if in_teardown:
                    recorded.teardown_of = fixture
                else:
                    recorded.fixture = fixture

    def in_fixtures(self, seconds: float) -> None:
        """Take note that fixtures of a wider scope than one test have taken so long in the test that runs."""
        if self.current is not None:
            self.current.seconds_in_fixtures += seconds

    def building(self) -> dict[str, Any]:
        """Return where a client is being built: the fields of a `BuiltClient` that say it."""
        places = self.places
        start = None if places is None else places.here()
        return {
            "start": start,
            "is_of_fixture": self.fixtures_in_set_up > 0,
            "is_of_test": start is not None and places is not None and places.is_test(start[0]),
        }

    def built(self, client: BuiltClient) -> None:
        """Take note of a client that was built."""
        if self.current is not None:
            self.current.clients.append(client)

    def lost_value(
        self, why: WhyDropped, call: str, names: Sequence[str], *, span: Span, observation: str = "", detail: str = ""
    ) -> None:
        """Take note of values that the SDK has just dropped: of `span`, if that is one of the test that runs."""
        source, places = self.current, self.places
        if source is None or places is None or not names:
            return
        recorded = marked(span.get_span_context())
        if isinstance(recorded, RecordedSpan):
            observation = observation or recorded.name
        else:
            recorded = None
        lost = LostValue(
            why=why,
            call=call,
            names=tuple(names),
            observation=observation,
            start=places.here(),
            detail=detail,
            recorded=recorded,
        )
        source.lost_values.setdefault(lost)

    def unsampled(self, span: Span, rate: float) -> None:
        """Take note that a sampler which keeps `rate` of all traces has turned `span` down; 0 if it did not decide."""
        if self.current is not None:
            self.current.unsampled.setdefault(span.get_span_context().trace_id, rate)

    def unsampled_error(self, span: Span, error: str) -> None:
        """Take note of an error of a span that records nothing."""
        source, recorded = self.current, marked(span.get_span_context())
        if source is None or not isinstance(recorded, RecordedSpan):
            return
        if rate := source.unsampled.get(recorded.key[0]):
            source.unsampled_errors.setdefault((recorded.name, recorded.start), UnsampledError(recorded, error, rate))

    def queued(self, span: ReadableSpan, processor: object) -> None:
        """Take note that a Langfuse span processor took the ended span for export."""
        recorded = self._ended(span)
        if recorded is not None:
            recorded.queued += 1
            recorded.processor = processor

    def dropped(self, span: ReadableSpan, reason: str) -> None:
        """Take note of why a span was lost that a processor had taken, unless it is exported all the same."""
        if (recorded := self._record_of(span)) is not None:
            recorded.dropped = reason

    def rejected(self, span: ReadableSpan, rejection: Rejection) -> None:
        """Take note that a Langfuse span processor did not take the ended span."""
        recorded = self._ended(span)
        if recorded is not None:
            recorded.rejection = rejection

    def left_to(self, exporter: str, span: ReadableSpan) -> None:
        """Take note that another exporter of the process (not Langfuse's) got the ended span."""
        if (recorded := self._record_of(span)) is not None:
            recorded.other_exports.append((exporter, span))

    def exported(self, exporter: str, spans: Sequence[ReadableSpan], *, delivered: bool, to: object) -> None:
        """Take note that Langfuse's exporter got `spans`, masked already; `to` is equal for one destination."""
        for span in spans:
            if (recorded := self._record_of(span)) is not None:
                recorded.exports.append((exporter, span))
                recorded.sent_to.append(to)
                recorded.delivered = recorded.delivered or delivered
        source = self.current
        if source is not None:
            source.arrived()

    def sent_as(self, spans: Sequence[ReadableSpan], encoding: Encoding | None) -> None:
        """Take note that Langfuse's exporter puts `spans` into one body; `None`: nobody knows how."""
        if self.current is not None and encoding is not None:
            self.current.bodies.append(ExportedBody(list(spans), encoding))

    def knows(self, span: ReadableSpan) -> bool:
        """Return whether the span started in the test that runs."""
        return self._record_of(span) is not None

    def _record_of(self, span: ReadableSpan) -> RecordedSpan | None:
        context = span.context
        found = marked(context)
        if isinstance(found, RecordedSpan):
            return found
        if found is not None or context is None:
            return None
        recorded = self._spans.get((context.trace_id, context.span_id))
        # Not by its ids alone: where an app or a plugin seeds `random`, a later span has the same ones.
        if recorded is None or recorded.span.start_time != span.start_time:
            return None
        return recorded

    def _ended(self, span: ReadableSpan) -> RecordedSpan | None:
        recorded = self._record_of(span)
        if recorded is None:
            origin = marked(span.context)
            if isinstance(origin, Origin) and origin.unended:
                origin.unended = False
                self._arrived_late(span, origin)
            return None
        recorded.ended = span
        return recorded

    def _arrived_late(self, span: ReadableSpan, origin: Origin) -> None:
        with self._lock:
            self._never_ended -= 1
        source = self.current
        if source is not None and isinstance(origin.record, RecordedSpan):
            source.late_spans.append((origin.test, origin.record.ended_late(span, origin)))
