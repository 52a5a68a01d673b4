"""Observations of processes, as a `recording.source.Source`: all assertions hold for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_langfuse.process.arrivals import Arrivals
from pytest_langfuse.process.ledger_reader import Key, Noted
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Unexported, WireBody
from pytest_langfuse.recording.trace import link
from pytest_langfuse.standin.received_export import ReceivedExport

if TYPE_CHECKING:
    from pytest_langfuse.process.app import App


@dataclass(frozen=True, slots=True)
class Stage:
    """What the processes of a test share: where their exports arrive, and how to wait for it."""

    arrivals: Arrivals
    #: Returns when the server is done with all that was sent to it.
    settle: Callable[[], object]
    #: Returns when something may have arrived, at the latest after so many seconds.
    wait: Callable[[float], None]
    scores: Callable[[], Sequence[Score]]


class ProcessSource:
    """The observations of some processes: those of `apps()`. With `everything`, also what nobody of them sent."""

    def __init__(self, stage: Stage, apps: Callable[[], Sequence[App]], *, everything: bool) -> None:
        self._stage = stage
        self._apps = apps
        self._everything = everything
        self._first = 0
        #: Spans that were forgotten before they had arrived.
        self._forgotten: set[Key] = set()
        self._view: tuple[int, list[Observation]] = 0, []

    # -- Source ------------------------------------------------------------------------------------------------

    def observations(self) -> Sequence[Observation]:
        """What arrived, linked, in the order in which it started; of a span that came twice the later one, as there."""
        count = len(self._stage.arrivals)
        if self._view[0] != count:
            latest = {
                (record.trace_id, record.span_id): record for arrival in self._arrived() for record in arrival.records
            }
            shown = [observe(record) for key, record in latest.items() if key not in self._forgotten]
            self._view = count, link(shown)
        return self._view[1]

    def unexported(self) -> Sequence[Unexported]:
        """What the ledgers know of and has not arrived, in the order in which it started."""
        self._read()
        return self._missing()

    def late(self) -> Sequence[Observation]:
        """Nothing: a process knows of no tests."""
        return ()

    def scores(self) -> Sequence[Score]:
        """Scores of traces and observations that arrived."""
        traces = {observation.trace_id for observation in self.observations()}
        return [score for score in self._stage.scores() if score.trace_id in traces]

    def wire(self) -> Iterable[WireBody]:
        """The bodies as they arrived."""
        names = {app.prefix: app.label for app in self._apps()}
        return [WireBody(names.get(arrival.prefix, "OTLP"), arrival.body) for arrival in self._arrived()]

    def undelivered(self) -> Sequence[Unexported]:
        """What ended and has not arrived. Raises `LedgerMissing` if that can't be known of one of the processes."""
        # In this order: what a ledger says has ended may arrive in between, and not the other way round.
        self._read()
        self._stage.settle()
        for app in self._apps():
            app.ledger.check_complete(app.label)
        return [item for item in self._missing() if item.reason == "dropped"]

    def clear(self) -> None:
        """Forget everything so far; what still runs shows up when it arrives."""
        self._read()
        for app in self._apps():
            self._forgotten.update(key for key, noted in app.ledger.spans.items() if noted.fate != "open")
        self._first = len(self._stage.arrivals)
        self._view = 0, []

    def wait(self, timeout: float) -> None:
        """Return when something new may have arrived, at the latest after `timeout` seconds."""
        self._stage.wait(timeout)

    # -- the two sides -----------------------------------------------------------------------------------------

    def _arrived(self) -> Iterator[ReceivedExport]:
        arrivals = self._stage.arrivals.since(self._first)
        if self._everything:
            yield from arrivals
            return
        prefixes = {app.prefix for app in self._apps()}
        yield from (arrival for arrival in arrivals if arrival.prefix in prefixes)

    def _read(self) -> None:
        for app in self._apps():
            app.ledger.read()

    def _missing(self) -> list[Unexported]:
        """What the ledgers know of and has not arrived, in the order in which it started."""
        known = self._stage.arrivals.keys() | self._forgotten
        missing = [
            (noted.start_ns, _unexported(app, noted))
            for app in self._apps()
            for key, noted in app.ledger.spans.items()
            if key not in known
        ]
        return [item for _, item in sorted(missing, key=lambda pair: pair[0])]


def _unexported(app: App, noted: Noted) -> Unexported:
    observation = noted.observation()
    if not noted.recording or noted.fate == "unsampled":
        return Unexported(observation, "sampled_out", "sampled out")
    if noted.fate == "open":
        return Unexported(observation, "unended", f"it never ended in `{app.label}`")
    if noted.fate == "filtered":
        return Unexported(observation, "filtered", "default span filter, or should_export_span")
    if noted.fate == "ended" and not noted.seen:
        return Unexported(observation, "filtered", "its tracer provider has no Langfuse span processor")
    return Unexported(observation, "dropped", app.why_lost)
