"""Scores on the way of the spans: into the queue that takes them to Langfuse."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Protocol, cast

from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker, CircuitOpen
from pytest_langfuse.tracing.delivery.export_body import SCORE, ExportBody
from pytest_langfuse.tracing.delivery.route import Route
from pytest_langfuse.tracing.delivery.sendable_values import sendable_text
from pytest_langfuse.tracing.delivery.sink import Outcome, Sink, Verdict

#: A sink confirms within the timeout of a request, or two where a batch is sent again (seconds).
_BEYOND = 1.0


class QueueSink(Sink, Protocol):
    """A sink that takes scores, too: bodies of the kind `SCORE`."""

    def takes_scores(self) -> bool:
        """Return `False` if a test harness keeps the queue out of reach: it has scores go to Langfuse's API."""


class ScoresNotQueued(Exception):  # noqa: N818 - for the log
    """Scores are kept that the queue did not take: their positions."""

    def __init__(self, positions: Sequence[int], outcome: Outcome) -> None:
        super().__init__(": ".join(filter(None, (outcome.reason, outcome.detail))))
        self.positions = positions


class ScoresRefused(Exception):  # noqa: N818 - for the log
    """Scores are lost: no queue takes them, however often they are sent."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__(outcomes[0].reason)
        self.count = len(outcomes)


class ScoreRoutes:
    """The ways of scores, the first whose breaker is not open. Thread-safe; `timeout` is that of a request."""

    def __init__(self, routes: Sequence[Route], *, timeout: float) -> None:
        self._routes, self._timeout = routes, timeout

    @property
    def breakers(self) -> list[CircuitBreaker]:
        """The breakers of all ways."""
        return [route.breaker for route in self._routes]

    def put(self, scores: Sequence[tuple[str, int | None]]) -> bool:
        """Put scores, as JSON with their traces, into a queue. Return `False` if they are to go to Langfuse's API.

        Raises:
            CircuitOpen: Nothing can be sent now.
            ScoresNotQueued: The queue did not take some of them; they may be sent later.
            ScoresRefused: The queue takes all but some, never.
        """
        for route in self._routes:
            if route.name == "http" or not cast("QueueSink", route.sink).takes_scores():
                return False
            permit = route.breaker.try_acquire()
            if permit is None:
                continue
            try:
                outcomes = self._sent(route, [_body(text, trace) for text, trace in scores])
            except BaseException:
                route.breaker.release(permit)
                raise
            failed = [position for position, one in enumerate(outcomes) if one.verdict is Verdict.FAILED]
            if len(failed) == len(outcomes):
                route.breaker.failure(permit)
            else:
                route.breaker.success(permit)
            if failed:
                raise ScoresNotQueued(failed, outcomes[failed[0]])
            if refused := [one for one in outcomes if one.verdict is not Verdict.ACCEPTED]:
                raise ScoresRefused(refused)
            return True
        raise CircuitOpen(min(breaker.retry_after for breaker in self.breakers))

    def _sent(self, route: Route, bodies: Sequence[ExportBody]) -> Sequence[Outcome]:
        confirmed = threading.Event()
        found: list[Outcome | Sequence[Outcome]] = []

        def confirm(outcome: Outcome | Sequence[Outcome]) -> None:
            found.append(outcome)
            confirmed.set()

        route.sink.send(bodies, confirm)
        if not confirmed.wait(2 * self._timeout + _BEYOND):
            found.append(Outcome(Verdict.FAILED, f"{route.name}_no_answer"))
        outcome = found[0]
        return [outcome] * len(bodies) if isinstance(outcome, Outcome) else outcome


def _body(text: str, trace: int | None) -> ExportBody:
    # The same key as the spans of its trace; without one, anything that spreads.
    key = os.urandom(16).hex() if trace is None else f"{trace:032x}"
    return ExportBody(sendable_text(text).encode(), 1, key, SCORE)
