"""The spans that were exported to the stand-in, as the endpoints read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import RLock

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.trace import Trace, build_traces
from pytest_langfuse.standin.received_export import ReceivedExport

#: Returns observations that this process exported without a request to the stand-in.
Recorded = Callable[[], Sequence[Observation]]


class Exported:
    """The observations of all exports. Thread-safe; everything is decoded when it is first asked for."""

    def __init__(self, lock: RLock, exports: Callable[[], Sequence[ReceivedExport]]) -> None:
        self._lock = lock
        self._exports = exports
        self._recorded: list[Recorded] = []
        self._observed: list[tuple[ReceivedExport, list[Observation]]] = []
        self._deleted: set[str] = set()

    @contextmanager
    def recorded_by(self, recorded: Recorded) -> Iterator[None]:
        """Show, inside the block, also what `recorded` returns."""
        self._recorded.append(recorded)
        try:
            yield
        finally:
            self._recorded.remove(recorded)

    def observations(self) -> list[Observation]:
        """Return the observations, the newest first. What was sent twice is one observation, as it was sent last."""
        by_id = {(item.trace_id, item.id): item for recorded in list(self._recorded) for item in recorded()}
        by_id.update({(item.trace_id, item.id): item for item in self._received()})
        shown = [item for item in by_id.values() if item.trace_id not in self._deleted]
        return sorted(shown, key=place_of, reverse=True)

    def traces(self) -> list[Trace]:
        """Return the traces, the newest first."""
        return build_traces(self.observations())[::-1]

    def delete(self, trace_ids: Sequence[str]) -> None:
        """Show these traces no more."""
        with self._lock:
            self._deleted.update(trace_ids)

    def clear(self) -> None:
        """Forget which traces were deleted, and what was decoded."""
        with self._lock:
            self._deleted.clear()
            self._observed.clear()

    def _received(self) -> list[Observation]:
        with self._lock:
            # Exports are only ever added, until all are forgotten.
            exports = self._exports()
            known = [pair for pair, export in zip(self._observed, exports, strict=False) if pair[0] is export]
            known += [(export, [observe(record) for record in export.records]) for export in exports[len(known) :]]
            self._observed = known
            return [observation for _, observations in known for observation in observations]


def place_of(observation: Observation) -> tuple[int, str, str]:
    """Return the place of an observation among all: by time, and in a fixed order where the time is the same."""
    return observation.record.start_ns, observation.trace_id, observation.id


def start_of(trace: Trace) -> datetime:
    """Return when the first observation of a trace started."""
    return started(trace.observations[0])


def started(observation: Observation) -> datetime:
    """Return when an observation started; 1970 if it does not say so."""
    return observation.start_time or datetime.fromtimestamp(0, UTC)
