"""The spans and scores that a stand-in received, as a source of observations."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.recorded_span import RecordedSpan, SpanKey
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.sources.application_facts import ApplicationFacts
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Unexported, WireBody
from pytest_langfuse.recording.trace import link
from pytest_langfuse.standin.received_export import ReceivedExport
from pytest_langfuse.standin.stand_in import StandIn

_HEX: Final = re.compile(r"[0-9a-fA-F]{1,64}")


class ReceivedSource:
    """A `Source` over a `StandIn`: `Observations(ReceivedSource(server.stand_in))` has all assertions.

    It knows what arrived and nothing else. `wait(seconds)` returns when more may have arrived; without it, `wait`
    returns at once.
    """

    def __init__(self, stand_in: StandIn, wait: Callable[[float], None] | None = None) -> None:
        self._stand_in = stand_in
        self._wait = wait
        self._observed: list[tuple[ReceivedExport, list[Observation]]] = []

    def observations(self) -> Sequence[Observation]:
        """Observations that arrived, linked, in the order in which they started."""
        # Exports are only ever added, until all are forgotten: the known ones come first and stay the same objects.
        exports = self._stand_in.exports
        known = [pair for pair, export in zip(self._observed, exports, strict=False) if pair[0] is export]
        known += [(export, [observe(record) for record in export.records]) for export in exports[len(known) :]]
        self._observed = known
        return link(observation for _, observations in known for observation in observations)

    def keys(self) -> Collection[SpanKey]:
        """Trace id and span id of each span that arrived."""
        return {
            (int(record.trace_id, 16), int(record.span_id, 16))
            for export in self._stand_in.exports
            for record in export.arrived
            # Langfuse takes any text as an id; the SDK's are hex digits.
            if _HEX.fullmatch(record.trace_id) and _HEX.fullmatch(record.span_id)
        }

    def unexported(self) -> Sequence[Unexported]:
        """Spans of exports that Langfuse accepts and then loses: a server knows nothing of what was not sent."""
        return [item for export in self._stand_in.exports for item in export.missing()]

    def late(self) -> Sequence[Observation]:
        """Nothing: a server knows nothing of tests."""
        return ()

    def scores(self) -> Sequence[Score]:
        """Scores as Langfuse shows them."""
        return self._stand_in.scores

    def earlier_traces(self) -> Collection[str]:
        """Return none: a server knows what it received."""
        return ()

    def wire(self) -> Iterable[WireBody]:
        """The bodies as they arrived."""
        return [WireBody("OTLP", export.body) for export in self._stand_in.exports]

    def why_empty(self, sought: Callable[[str], bool]) -> Sequence[str]:  # noqa: ARG002 - a source
        """Nothing is known but that none arrived."""
        return ["No observation has arrived."]

    def recorded(self) -> Mapping[tuple[str, str], RecordedSpan]:
        """Nothing is known of starts in another process."""
        return {}

    def application(self) -> ApplicationFacts:
        """Nothing is known of the application."""
        return ApplicationFacts()

    def undelivered(self) -> Sequence[Unexported]:
        """Spans of exports that Langfuse accepts and then loses."""
        return self.unexported()

    def clear(self) -> None:
        """Forget spans and scores."""
        self._stand_in.forget_sent()

    def wait(self, timeout: float) -> None:
        """Return when something new may have arrived, after at most `timeout` seconds."""
        if self._wait is not None:
            self._wait(timeout)
