"""The observations of a test: those of this process, and those of other processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.recorded_span import RecordedSpan
from pytest_langfuse.recording.sources.application_facts import ApplicationFacts
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Source, Unexported, WireBody
from pytest_langfuse.recording.trace import link


class CombinedSource:
    """A `Source` over `own` and over each of `others`, linked with one another, each span once.

    As long as there are no others, it is `own`. Scores of all of them are in `own`: one stand-in takes them all.
    """

    def __init__(self, own: Source) -> None:
        self.own = own
        self.others: list[Source] = []
        self._parts: list[Sequence[Observation]] = []
        self._linked: list[Observation] = []

    def observations(self) -> Sequence[Observation]:
        """Exported observations, linked, in the order in which they started."""
        if not self.others:
            return self.own.observations()
        parts = [source.observations() for source in (self.own, *self.others)]
        if len(parts) != len(self._parts) or any(new is not old for new, old in zip(parts, self._parts, strict=True)):
            # While export is for real, what this process sends arrives where that of the others does.
            seen = {_key(observation) for observation in self.own.late()}
            found: dict[tuple[str, str], Observation] = {}
            for observation in (one for part in parts for one in part):
                if (key := _key(observation)) not in seen:
                    found.setdefault(key, observation)
            self._parts, self._linked = parts, link(found.values())
        return self._linked

    def unexported(self) -> Sequence[Unexported]:
        """Return the spans that were recorded but not exported, this process's first."""
        if not self.others:
            return self.own.unexported()
        return [item for source in (self.own, *self.others) for item in source.unexported()]

    def late(self) -> Sequence[Observation]:
        """Observations that ended after the test in which they started."""
        return self.own.late()

    def scores(self) -> Sequence[Score]:
        """Scores sent so far, by any of the processes."""
        return self.own.scores()

    def earlier_traces(self) -> Collection[str]:
        """Ids of traces that were made in the same session before."""
        return self.own.earlier_traces()

    def wire(self) -> Iterable[WireBody]:
        """The bytes of every exporter of every process."""
        return (body for source in (self.own, *self.others) for body in source.wire())

    def why_empty(self, sought: Callable[[str], bool]) -> Sequence[str]:
        """Return what is known of each of the processes."""
        return [text for source in (self.own, *self.others) for text in source.why_empty(sought)]

    def recorded(self) -> Mapping[tuple[str, str], RecordedSpan]:
        """Return what is known of the starts in this process."""
        return self.own.recorded()

    def application(self) -> ApplicationFacts:
        """Return what is known of this process's part of the application, and of the other processes."""
        if not self.others:
            return self.own.application()
        return replace(
            self.own.application(),
            ended_processes=lambda: [
                ended for source in self.others for ended in source.application().ended_processes()
            ],
        )

    def undelivered(self) -> Sequence[Unexported]:
        """Return the spans that ended and were not accepted, and those that a process lost."""
        return [item for source in (self.own, *self.others) for item in source.undelivered()]

    def clear(self) -> None:
        """Forget everything so far."""
        for source in (self.own, *self.others):
            source.clear()
        self._parts = []

    def wait(self, timeout: float) -> None:
        """Return when something new may have arrived, at the latest after `timeout` seconds."""
        self.own.wait(timeout)


def _key(observation: Observation) -> tuple[str, str]:
    return observation.trace_id, observation.id
