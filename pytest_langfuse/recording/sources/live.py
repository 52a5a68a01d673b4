"""The live `Source` of one test, for `langfuse_spans`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pytest_langfuse.recording.built_client import BuiltClient
from pytest_langfuse.recording.context_at_start import ContextAtStart
from pytest_langfuse.recording.encoded_spans import encoded
from pytest_langfuse.recording.exported_body import ExportedBody
from pytest_langfuse.recording.langfuse_waits import LangfuseWait
from pytest_langfuse.recording.lost_value import LostValue
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.origin import Origin
from pytest_langfuse.recording.recorded_span import RecordedSpan, SpanKey
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.server_view.loss import is_suspect, unconvertible
from pytest_langfuse.recording.sources.application_facts import ApplicationFacts
from pytest_langfuse.recording.sources.score import Score, latest, orphans
from pytest_langfuse.recording.sources.source import Source, Unexported, WireBody
from pytest_langfuse.recording.span_record import SpanRecord, attributes_of, from_readable_span
from pytest_langfuse.recording.start_place import Start, StartPlaces
from pytest_langfuse.recording.trace import link
from pytest_langfuse.recording.unsampled_error import UnsampledError
from pytest_langfuse.recording.why_not_exported import Explains, why_not_accepted, why_not_exported
from pytest_langfuse.recording.why_nothing import EarlierTest, KnownClient, WiderFixture, listed, why_nothing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


#: Names that are kept of what is forgotten.
_NAMES: Final = 20


class Counts(NamedTuple):
    """The number of observations in a source, counted without building them."""

    #: Those that were sent, also if they were lost on the way.
    observations: int
    unended: int
    orphan_scores: int


class SourceOwner(Protocol):
    """The questions of a `LiveSource` to the recorder that owns it."""

    #: While exports really leave the process: the spans that the receiver has accepted.
    accepted: Callable[[], Collection[SpanKey]] | None
    #: Meanwhile: the faults and statuses that exports met in place of being accepted.
    refusals: Callable[[], Sequence[str]]
    #: The places where spans start, if what the application does is watched for the rules.
    places: StartPlaces | None
    #: Traces whose scores may still arrive, in a later test than their own.
    disowned_traces: set[str]
    #: Ids of the traces of tests that have ended, with no particular value.
    earlier_traces: dict[str, None]
    #: The last tests that made anything.
    earlier_tests: deque[EarlierTest]
    #: Fixtures of a wider scope than one test that are in use.
    fixtures: dict[object, WiderFixture]
    #: Says what became of spans that were not exported.
    explain: Explains
    #: The clients that `get_client()` finds.
    clients: Callable[[], Sequence[KnownClient]]
    #: Exports what the SDK's span processors hold.
    flush: Callable[[], None]
    #: Waits until the scores that the SDK holds were sent.
    flush_scores: Callable[[], None]
    #: The scores of the whole session, in order of arrival.
    score_source: Callable[[], Sequence[Score]]


@dataclass(slots=True)
class _View:
    """Observations built so far, valid for as long as nothing new was exported."""

    exports: int
    observations: list[Observation]


class LiveSource:
    """The spans of one test. Everything is built on demand: a passing test that asks nothing costs almost nothing."""

    def __init__(self, owner: SourceOwner, test: str, origin: Origin | None = None) -> None:
        self.test = test
        self.origin = origin or Origin(test)
        self.spans: list[RecordedSpan] = []
        self.late_spans: list[tuple[str, RecordedSpan]] = []
        #: The clients that the application built meanwhile; of the first test, also those that were built before.
        self.clients: list[BuiltClient] = []
        #: The bodies in which spans were exported meanwhile.
        self.bodies: list[ExportedBody] = []
        #: What the SDK has dropped, with no particular value.
        self.lost_values: dict[LostValue, None] = {}
        #: Of each trace that is not sampled, the rate of the sampler that has decided; 0 where that is not the reason.
        self.unsampled: dict[int, float] = {}
        #: Errors in these, by name and start.
        self.unsampled_errors: dict[tuple[str, Start | None], UnsampledError] = {}
        #: The waits of the test for Langfuse, and whether something else judges those of the moment.
        self.waits: list[LangfuseWait] = []
        self.judges_waits: Callable[[], bool] = lambda: False
        #: How long fixtures of a wider scope were set up and torn down in the test.
        self.seconds_in_fixtures = 0.0
        #: The thread that runs the test.
        self.thread = threading.get_ident()
        self.closed = False
        #: Whether exports really left the process during this test.
        self.sent_for_real = False
        self._owner = owner
        self._context_at_start = ContextAtStart()
        self._changed = threading.Condition()
        self._view: _View | None = None
        self._cache: dict[RecordedSpan, Observation] = {}
        #: Of each exported span that was asked about, why Langfuse loses it.
        self._losses: dict[RecordedSpan, str | None] = {}
        #: Those of them that it shows, which stays so.
        self._shown: set[RecordedSpan] = set()
        self._first_score = len(owner.score_source())
        self._final_scores: Sequence[Score] | None = None
        self._remote: set[tuple[str, str]] = set()
        self._lost_remotely = 0
        #: Names of some spans that were cleared.
        self._cleared: list[str] = []

    # -- Source ------------------------------------------------------------------------------------------------

    def observations(self) -> Sequence[Observation]:
        """Exported observations, linked, in the order in which they started."""
        self._flush()
        exported = [recorded for recorded in list(self.spans) if recorded in self._shown or self._is_shown(recorded)]
        if self._view is None or self._view.exports != len(exported):
            self._view = _View(len(exported), link([self._observe(recorded) for recorded in exported]))
        return self._view.observations

    def exported(self) -> Sequence[Observation]:
        """Observations that were exported inside this process so far: nothing is flushed, and nothing linked."""
        return [self._observe(recorded) for recorded in list(self.spans) if recorded.delivered]

    def unexported(self) -> Sequence[Unexported]:
        """Return the spans that were recorded but not exported, in the order in which they started."""
        self._flush()
        missing: list[Unexported] = []
        for recorded in list(self.spans):
            if recorded in self._shown:
                continue
            if not self._made(recorded):
                missing.append(Unexported(self._observe(recorded), *why_not_exported(recorded, self._owner.explain)))
            elif (loss := self._loss(recorded)) is not None:
                missing.append(Unexported(self._observe(recorded), "dropped", loss))
        return missing

    def late(self) -> Sequence[Observation]:
        """Observations of earlier tests that ended during this one."""
        self._flush()
        return [self._observe(recorded) for _test, recorded in list(self.late_spans)]

    def scores(self) -> Sequence[Score]:
        """Scores that the app sent during this test, as Langfuse shows them: one of each id, the last one sent."""
        if self._final_scores is not None:
            return self._final_scores
        if self._owner.accepted is None:
            self._owner.flush_scores()
        disowned = self._owner.disowned_traces
        sent = self._owner.score_source()[self._first_score :]
        return latest(score for score in sent if score.trace_id not in disowned) if sent else ()

    def earlier_traces(self) -> Collection[str]:
        """Ids of the traces of tests that ended before."""
        return self._owner.earlier_traces

    def why_empty(self, sought: Callable[[str], bool]) -> Sequence[str]:
        """Sentences on why no observation started in the test."""
        if self._cleared:
            return [f"What was made before clear() is forgotten: {listed(self._cleared)}."]
        fixtures = [fixture for fixture in self._owner.fixtures.values() if fixture.test != self.test]
        facts = why_nothing(
            sought=sought, clients=self._owner.clients(), fixtures=fixtures, earlier=self._owner.earlier_tests
        )
        called = [] if facts else ["Was the instrumented code called?"]
        return [" ".join(["No observation started in this test.", *called]), *facts]

    def names(self) -> list[str]:
        """The names of the first spans that started, each once."""
        names: dict[str, None] = {}
        for recorded in list(self.spans):
            names[recorded.name] = None
            if len(names) >= _NAMES:
                break
        return list(names)

    def wire(self) -> Iterable[WireBody]:
        """Yield what each exporter put on the wire: one body per exporter, masked as that exporter saw it."""
        self._flush()
        by_exporter: dict[str, list[ReadableSpan]] = {}
        for recorded in list(self.spans):
            for exporter, span in (*recorded.exports, *recorded.other_exports):
                by_exporter.setdefault(exporter, []).append(span)
        for exporter, spans in by_exporter.items():
            yield WireBody(exporter, encoded(spans))

    def recorded(self) -> Mapping[tuple[str, str], RecordedSpan]:
        """Return the records of the test's spans by trace id and span id; of those with one id, the first.

        Those of earlier tests are among them that ended in this one.
        """
        found: dict[tuple[str, str], RecordedSpan] = {}
        late = [recorded for _test, recorded in list(self.late_spans)]
        for recorded in [*self.spans, *late]:
            # Written once already where the observation has been built.
            known = self._cache.get(recorded)
            trace_id, span_id = recorded.key
            key = (f"{trace_id:032x}", f"{span_id:016x}") if known is None else (known.trace_id, known.id)
            found.setdefault(key, recorded)
        return found

    def application(self) -> ApplicationFacts:
        """Return what is known of how the application has set up tracing, and of its exports."""
        self._flush()
        return ApplicationFacts(
            tuple(self.clients),
            self.origin,
            lambda: self._owner.explain.providers(self.spans),
            self._owner.explain.masks_of,
            tuple(self.lost_values),
            tuple(self.unsampled_errors.values()),
            self._owner.explain.leaves_out,
            length_limits=lambda: self._owner.explain.length_limits(self.spans),
            bodies=tuple(self.bodies),
            waits=tuple(self.waits),
            goes_nowhere=self._owner.explain.goes_nowhere,
            has_client=lambda: any(client.tracing for client in self._owner.clients()),
            left_current=self.left_current,
            is_watched=self._owner.places is not None,
        )

    def undelivered(self) -> Sequence[Unexported]:
        """Ended, sampled, unfiltered observations that no exporter accepted."""
        lost = [item for item in self.unexported() if item.reason == "dropped"]
        accepted = self._owner.accepted() if self._owner.accepted is not None else frozenset()
        refusals = self._owner.refusals()
        refused = [
            Unexported(self._observe(recorded), "dropped", why_not_accepted(recorded, refusals, self._owner.explain))
            for recorded in list(self.spans)
            if self._made(recorded)
            and not recorded.delivered
            and recorded.key not in accepted
            and self._loss(recorded) is None
        ]
        return [*lost, *refused]

    def _is_shown(self, recorded: RecordedSpan) -> bool:
        """Return whether Langfuse has got the span, or is going to, and shows it."""
        if not self._made(recorded) or self._loss(recorded) is not None:
            return False
        if recorded.exports:
            self._shown.add(recorded)
        return True

    def _made(self, recorded: RecordedSpan) -> bool:
        """Return whether the span was exported, or waits for it while exports really leave the process."""
        if recorded.repeats_id:
            return False
        return bool(recorded.exports) or (self._owner.accepted is not None and recorded.queued > 0)

    def _loss(self, recorded: RecordedSpan) -> str | None:
        """Return why Langfuse loses an exported span, and with it all of its export; `None` for nearly all spans."""
        if not recorded.exports:
            return None
        if recorded not in self._losses:
            span, reason = recorded.exports[0][1], None
            if span.events or is_suspect(attributes_of(span)):
                reason = unconvertible(self._observe(recorded).record)
            self._losses[recorded] = reason and f"Langfuse accepts its export and then loses all of it: {reason}"
        return self._losses[recorded]

    def clear(self) -> None:
        """Forget everything so far; spans that still run stay attributed to this test."""
        self._flush()
        self._owner.flush_scores()
        self._first_score = len(self._owner.score_source())
        self._cleared = self._cleared or self.names()
        self.spans[:] = [recorded for recorded in self.spans if recorded.is_running]
        self.late_spans.clear()
        self.bodies.clear()
        self.lost_values.clear()
        self.unsampled_errors.clear()
        self.waits.clear()
        self._view = None
        self._cache.clear()
        self._losses.clear()
        self._shown.clear()

    def wait(self, timeout: float) -> None:
        """Return when something new was exported, at the latest after `timeout` seconds."""
        with self._changed:
            # Polling bounds the wait for what announces itself nowhere: a span that ends with no Langfuse processor.
            self._changed.wait(min(timeout, 0.05))

    # -- for the recorder --------------------------------------------------------------------------------------

    def arrived(self) -> None:
        """Wake threads that `wait`."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Wait for the scores that the test has sent, then stop flushing: it can add nothing more."""
        self._final_scores = [] if self.sent_for_real else self.scores()
        self.closed = True

    def counts(self) -> Counts:
        """Count sent and unended spans without building observations."""
        sent = sum(1 for recorded in self.spans if self._was_sent(recorded))
        unended = sum(1 for recorded in self.spans if recorded.is_running)
        return Counts(sent + len(self._remote) + self._lost_remotely, unended, len(self._orphan_scores()))

    def _was_sent(self, recorded: RecordedSpan) -> bool:
        """Return whether the span was exported, or should have been and was lost."""
        if recorded.exports and not recorded.repeats_id:
            return True
        return not recorded.is_running and why_not_exported(recorded, self._owner.explain)[0] == "dropped"

    def is_settled(self, spans: int) -> bool:
        """Return whether the first `spans` spans are all that there are, and none of them runs or is current."""
        return (
            len(self.spans) == spans
            and not self.late_spans
            and not any(recorded.is_running for recorded in self.spans)
            and self.left_current() is None
        )

    def left_current(self) -> RecordedSpan | None:
        """Return the span of this test that is current where the test runs."""
        return self._context_at_start.left_current(self.origin)

    def restore_context(self) -> None:
        """Let no span of this test be current where the next one runs.

        A fixture of a wider scope that the test has set up may have made its own span current meanwhile.
        """
        if self.left_current() is not None and not any(
            fixture.test == self.test for fixture in self._owner.fixtures.values()
        ):
            self._context_at_start.restore()

    def _orphan_scores(self) -> Sequence[Score]:
        scores = self.scores()
        if not scores:
            return ()
        made = [recorded.key for recorded in self.spans if recorded.exports or recorded.is_running]
        keys = {(f"{trace_id:032x}", f"{span_id:016x}") for trace_id, span_id in made}
        return orphans(scores, keys | self._remote, self._owner.earlier_traces)

    def add_remote(self, source: Source) -> None:
        """Include the observations of other processes in `counts`."""
        self._remote = {(observation.trace_id, observation.id) for observation in source.observations()}
        self._lost_remotely = sum(item.reason == "dropped" for item in source.unexported())

    def _flush(self) -> None:
        # While exports really leave the process, reading must not flush: that would wait for a Langfuse that hangs.
        if not self.closed and self._owner.accepted is None:
            self._owner.flush()

    def _observe(self, recorded: RecordedSpan) -> Observation:
        if recorded.exports:
            if recorded not in self._cache:
                self._cache[recorded] = observe(from_readable_span(recorded.exports[0][1], recorded.thread))
            return self._cache[recorded]
        if recorded.is_recording:
            return observe(from_readable_span(recorded.ended or recorded.span, recorded.thread))
        trace_id, span_id = recorded.key
        return observe(_sampled_out(recorded.name, trace_id, span_id))


def _sampled_out(name: str, trace_id: int, span_id: int) -> SpanRecord:
    """Return a record of a span that the sampler turned down. Only its name and ids are known."""
    return SpanRecord(trace_id=f"{trace_id:032x}", span_id=f"{span_id:016x}", parent_span_id=None, name=name)
