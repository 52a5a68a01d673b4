"""The source of observations that are complete from the start: from a file, an export body, the API, or a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.recorded_span import RecordedSpan
from pytest_langfuse.recording.sources.application_facts import ApplicationFacts
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Unexported, WireBody
from pytest_langfuse.recording.trace import link

if TYPE_CHECKING:
    from pytest_langfuse.recording.sources.api import RecordedTrace


class StaticSource:
    """A `Source` of given observations, which it links, and of what else is given."""

    def __init__(
        self,
        observations: Iterable[Observation] = (),
        *,
        unexported: Sequence[Unexported] = (),
        late: Sequence[Observation] = (),
        scores: Sequence[Score] = (),
        traces: Sequence[RecordedTrace] = (),
        wire: Sequence[WireBody] = (),
        undelivered: Sequence[Unexported] = (),
    ) -> None:
        self._observations = link(observations)
        #: What is known of the traces themselves.
        self.traces = traces
        self._unexported = unexported
        self._late = late
        self._scores = scores
        self._wire = wire
        self._undelivered = undelivered

    def observations(self) -> Sequence[Observation]:
        """As given, in the order in which they started."""
        return self._observations

    def unexported(self) -> Sequence[Unexported]:
        """As given."""
        return self._unexported

    def late(self) -> Sequence[Observation]:
        """As given."""
        return self._late

    def scores(self) -> Sequence[Score]:
        """As given."""
        return self._scores

    def earlier_traces(self) -> Collection[str]:
        """Return none."""
        return ()

    def wire(self) -> Iterable[WireBody]:
        """As given."""
        return self._wire

    def why_empty(self, sought: Callable[[str], bool]) -> Sequence[str]:  # noqa: ARG002 - a source
        """Say that there are none: nothing else is known."""
        return ["There are no observations in it."]

    def recorded(self) -> Mapping[tuple[str, str], RecordedSpan]:
        """Nothing is known of starts in another process."""
        return {}

    def application(self) -> ApplicationFacts:
        """Nothing is known of the application."""
        return ApplicationFacts()

    def undelivered(self) -> Sequence[Unexported]:
        """As given."""
        return self._undelivered

    def clear(self) -> None:
        """Forget everything."""
        self._observations = []
        self._unexported = self._late = self._scores = self._wire = self._undelivered = ()

    def wait(self, timeout: float) -> None:
        """Sleep: nothing more will come."""
        time.sleep(timeout)


def linked(sources: Sequence[StaticSource]) -> StaticSource:
    """Return what several sources hold, as one: a trace may be in several. What is in two of them is there once."""
    if len(sources) == 1:
        return sources[0]
    observations = {(one.trace_id, one.id): one for source in sources for one in source.observations()}
    # Scores of export bodies have no id.
    scores = {score.id or id(score): score for source in sources for score in source.scores()}
    return StaticSource(
        observations.values(),
        unexported=[item for source in sources for item in source.unexported()],
        undelivered=[item for source in sources for item in source.undelivered()],
        late=[one for source in sources for one in source.late()],
        scores=list(scores.values()),
        traces=[trace for source in sources for trace in source.traces],
        wire=[body for source in sources for body in source.wire()],
    )
