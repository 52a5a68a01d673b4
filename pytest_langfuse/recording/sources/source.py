"""The protocol of all sources of observations. `expect` knows nothing else of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_langfuse.lazy import exported_by
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.recorded_span import Reason, RecordedSpan
from pytest_langfuse.recording.sources.application_facts import ApplicationFacts
from pytest_langfuse.recording.sources.score import Score


@exported_by("pytest_langfuse")
@dataclass(frozen=True, slots=True)
class Unexported:
    """A span that was recorded but not exported. `detail` completes "`NAME` was recorded but not exported: …"."""

    observation: Observation
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class WireBody:
    """Bytes that an exporter put, or would put, on the wire, after masking and before compression."""

    exporter: str
    body: bytes


class Source(Protocol):
    """A live or finished collection of observations. All methods are thread-safe and flush what is pending first."""

    def observations(self) -> Sequence[Observation]:
        """Exported observations, linked (`parent`, `children`), in the order in which they started."""

    def unexported(self) -> Sequence[Unexported]:
        """Return the spans that were recorded but not exported, in the order in which they started."""

    def late(self) -> Sequence[Observation]:
        """Observations that ended after the test in which they started."""

    def scores(self) -> Sequence[Score]:
        """Scores sent so far."""

    def earlier_traces(self) -> Collection[str]:
        """Ids of traces that were made in the same session before; their scores may still come."""

    def wire(self) -> Iterable[WireBody]:
        """The bytes of every exporter of the process, for `assert_not_exported`."""

    def why_empty(self, sought: Callable[[str], bool]) -> Sequence[str]:
        """Sentences on why it has no observation at all; `sought` says which names are looked for."""

    def undelivered(self) -> Sequence[Unexported]:
        """Ended, sampled, unfiltered observations that no receiver accepted, and those that a process lost."""

    def recorded(self) -> Mapping[tuple[str, str], RecordedSpan]:
        """Return how spans of this process were started and what became of them, by trace id and span id."""

    def application(self) -> ApplicationFacts:
        """Return what is known of the application beside its observations."""

    def clear(self) -> None:
        """Forget everything so far."""

    def wait(self, timeout: float) -> None:
        """Return when something new may have arrived, at the latest after `timeout` seconds."""
