"""What a stand-in received, as a source of observations: all assertions hold for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.otlp.decode import decode_records
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Unexported, WireBody
from pytest_langfuse.recording.trace import link
from pytest_langfuse.standin.stand_in import StandIn


class Received:
    """A `recording.source.Source` over a `StandIn`: `Observations(Received(server.stand_in))`.

    It knows what arrived and nothing of what did not. `wait` is how to wait for more (seconds), if there is a way.
    """

    def __init__(self, stand_in: StandIn, wait: Callable[[float], None] | None = None) -> None:
        self._stand_in = stand_in
        self._wait = wait
        self._decoded: list[tuple[bytes, list[Observation]]] = []

    def observations(self) -> Sequence[Observation]:
        """What arrived, linked, in the order in which it started."""
        # Bodies are only ever added, until all are forgotten: those that are known are the first ones, and the same.
        bodies = self._stand_in.bodies
        known = [pair for pair, body in zip(self._decoded, bodies, strict=False) if pair[0] is body]
        known += [(body, [observe(record) for record in decode_records(body)]) for body in bodies[len(known) :]]
        self._decoded = known
        return link(observation for _, observations in known for observation in observations)

    def unexported(self) -> Sequence[Unexported]:
        """Nothing: a server knows only what it got."""
        return ()

    def late(self) -> Sequence[Observation]:
        """Nothing: a server knows of no tests."""
        return ()

    def scores(self) -> Sequence[Score]:
        """Scores as Langfuse shows them."""
        return self._stand_in.scores

    def wire(self) -> Iterable[WireBody]:
        """The bodies as they arrived."""
        return [WireBody("OTLP", body) for body in self._stand_in.bodies]

    def undelivered(self) -> Sequence[Unexported]:
        """Nothing: a server knows only what it got."""
        return ()

    def clear(self) -> None:
        """Forget spans and scores."""
        self._stand_in.forget_sent()

    def wait(self, timeout: float) -> None:
        """Return when something new may have arrived, at the latest after `timeout` seconds."""
        if self._wait is not None:
            self._wait(timeout)
