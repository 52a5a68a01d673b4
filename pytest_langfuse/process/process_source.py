"""The observations of processes as a `recording.sources.source.Source`, so that all assertions work on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from pytest_langfuse.process.ledger_reader import LedgerReader, LedgerSpan
from pytest_langfuse.process.stand_in_view import StandInView
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.recorded_span import RecordedSpan
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.sources.application_facts import ApplicationFacts, EndedProcess
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Unexported, WireBody
from pytest_langfuse.recording.trace import link
from pytest_langfuse.recording.why_not_exported import NO_PROCESSOR, SAME_ID
from pytest_langfuse.standin.received_export import ReceivedExport


class TracedProcess(Protocol):
    """The part of an `App` that a `ProcessSource` reads."""

    @property
    def label(self) -> str:
        """The name of the process in messages."""

    @property
    def pid(self) -> int:
        """The process id."""

    @property
    def base_path(self) -> str:
        """The path of its Langfuse base URL, by which its exports are recognised."""

    @property
    def ledger(self) -> LedgerReader:
        """Its ledger and those of its child processes."""

    @property
    def how_it_ended(self) -> str:
        """The predicate of a sentence: `exited with status 3`, or `is still running`."""

    @property
    def has_ended(self) -> bool:
        """True if it runs no more."""

    @property
    def was_killed(self) -> bool:
        """True if it ended without a chance to send anything."""

    @property
    def why_lost(self) -> str:
        """The reason why an ended observation has not arrived, for a message "`NAME`: REASON"."""


class ProcessSource:
    """The observations of the processes `apps()`. With `everything`, also exports that none of them sent."""

    def __init__(
        self,
        stand_in: StandInView,
        apps: Callable[[], Sequence[TracedProcess]],
        *,
        everything: bool,
        was_failing: Callable[[], bool] = bool,
    ) -> None:
        self._was_failing = was_failing
        self._stand_in = stand_in
        self._apps = apps
        self._everything = everything
        self._first = 0
        #: Trace id and span id of spans that were cleared before they arrived.
        self._cleared: set[tuple[str, str]] = set()
        self._view: tuple[int, list[Observation]] = 0, []

    # -- Source ------------------------------------------------------------------------------------------------

    def observations(self) -> Sequence[Observation]:
        """Return what arrived, linked, by start time. A span that arrives twice is the later one, as in Langfuse."""
        count = len(self._stand_in.received)
        if self._view[0] != count:
            latest = {
                (record.trace_id, record.span_id): record for export in self._exports() for record in export.records
            }
            shown = [observe(record) for key, record in latest.items() if key not in self._cleared]
            self._view = count, link(shown)
        return self._view[1]

    def unexported(self) -> Sequence[Unexported]:
        """Return the spans that are in a ledger and have not arrived, by start time, and those that Langfuse loses."""
        self._read_ledgers()
        return self._missing()

    def late(self) -> Sequence[Observation]:
        """Return nothing: a process has no tests that its spans could outlast."""
        return ()

    def scores(self) -> Sequence[Score]:
        """Return the scores of traces and observations that arrived."""
        traces = {observation.trace_id for observation in self.observations()}
        return [score for score in self._stand_in.scores() if score.trace_id in traces]

    def earlier_traces(self) -> Collection[str]:
        """Return none: the scores of a process are those of traces that arrived."""
        return ()

    def wire(self) -> Iterable[WireBody]:
        """Return the bodies as they arrived."""
        names = {app.base_path: app.label for app in self._apps()}
        return [WireBody(names.get(export.base_path, "OTLP"), export.body) for export in self._exports()]

    def why_empty(self, sought: Callable[[str], bool]) -> Sequence[str]:  # noqa: ARG002 - a source
        """The processes that have sent nothing, if they have begun nothing, either."""
        return [f"No observation has arrived from `{app.label}`, which {app.how_it_ended}." for app in self._apps()]

    def recorded(self) -> Mapping[tuple[str, str], RecordedSpan]:
        """Nothing is known of starts in another process."""
        return {}

    def application(self) -> ApplicationFacts:
        """Return what is known of the processes that have ended."""
        return ApplicationFacts(ended_processes=self._ended)

    def _ended(self) -> Sequence[EndedProcess]:
        """Return the processes that have ended, with what they have lost, as far as it is known."""
        apps = [app for app in self._apps() if app.has_ended]
        if not apps or self._was_failing():
            # Where Langfuse has failed, a process that ends in an orderly way loses some, too.
            return ()
        self._read_ledgers()
        self._stand_in.settle()
        known = self._stand_in.received.span_keys() | self._cleared
        return [
            EndedProcess(app.label, app.how_it_ended, app.was_killed, lost)
            for app in apps
            if (
                lost := [
                    item.observation
                    for key, span in app.ledger.spans.items()
                    if key not in known and (item := _unexported(app, span)).reason == "dropped"
                ]
            )
        ]

    def undelivered(self) -> Sequence[Unexported]:
        """Return what ended and has not arrived. Raise `LedgerMissing` if the losses of a process are unknown."""
        # In this order: a span that the ledger says has ended may arrive in between, but not the other way round.
        self._read_ledgers()
        self._stand_in.settle()
        for app in self._apps():
            app.ledger.check_complete(app.label)
        return [item for item in self._missing() if item.reason == "dropped"]

    def senders(self) -> Mapping[tuple[str, str], str]:
        """Return which process made each span, by trace id and span id: `python worker.py (pid 12)`."""
        names = {app.base_path: f"{app.label} (pid {app.pid})" for app in self._apps()}
        found = {key: names[app.base_path] for app in self._apps() for key in app.ledger.spans}
        for export in self._exports():
            if (name := names.get(export.base_path)) is not None:
                found.update(((record.trace_id, record.span_id), name) for record in export.arrived)
        return found

    def clear(self) -> None:
        """Forget everything so far. Spans that are still open show up when they arrive."""
        self._read_ledgers()
        for app in self._apps():
            self._cleared.update(key for key, span in app.ledger.spans.items() if span.outcome != "open")
        self._first = len(self._stand_in.received)
        self._view = 0, []

    def wait(self, timeout: float) -> None:
        """Return when more may have arrived, at the latest after `timeout` seconds."""
        self._stand_in.wait(timeout)

    # -- what arrived, and what the ledgers have ---------------------------------------------------------------

    def _exports(self) -> Iterator[ReceivedExport]:
        exports = self._stand_in.received.since(self._first)
        if self._everything:
            yield from exports
            return
        base_paths = {app.base_path for app in self._apps()}
        yield from (export for export in exports if export.base_path in base_paths)

    def _read_ledgers(self) -> None:
        for app in self._apps():
            app.ledger.read()

    def _missing(self) -> list[Unexported]:
        known = self._stand_in.received.span_keys() | self._cleared
        missing = [
            (span.start_ns, _unexported(app, span))
            for app in self._apps()
            for key, span in app.ledger.spans.items()
            if key not in known
        ]
        missing += [
            (span.start_ns, Unexported(span.observation(), "dropped", SAME_ID))
            for app in self._apps()
            for span in app.ledger.lost_by_id()
            if (span.trace_id, span.span_id) not in self._cleared
        ]
        lost = [item for export in self._exports() for item in export.missing()]
        return [*(item for _, item in sorted(missing, key=lambda pair: pair[0])), *lost]


def _unexported(app: TracedProcess, span: LedgerSpan) -> Unexported:
    observation = span.observation()
    if not span.recording or span.outcome == "unsampled":
        return Unexported(observation, "sampled_out", "sampled out")
    if span.outcome == "open":
        return Unexported(observation, "unended", f"it never ended in `{app.label}`")
    if span.outcome == "filtered":
        return Unexported(observation, "filtered", "default span filter, or should_export_span")
    if span.outcome == "ended" and not span.seen_by_exporter:
        return Unexported(observation, "filtered", NO_PROCESSOR)
    return Unexported(observation, "dropped", app.why_lost)
