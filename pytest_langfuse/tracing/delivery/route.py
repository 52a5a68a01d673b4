"""A way for spans out of the process: a sink, the breaker that guards it, and how it fares."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker
from pytest_langfuse.tracing.delivery.settlement import Settlement
from pytest_langfuse.tracing.delivery.sink import Outcome, Sink
from pytest_langfuse.tracing.monotonic import now

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
#: During a shutdown, which goes on until its deadline or until the breaker opens.
_LAST_PAUSE, _LONGEST_LAST_PAUSE = 0.1, 1.0

#: Of the operating system: the application's own random numbers stay as they would be.
_spread = random.SystemRandom()


@dataclass(slots=True, eq=False)
class Route:
    """A sink with its state, for the thread of a sender."""

    name: str
    sink: Sink
    breaker: CircuitBreaker
    settlement: Settlement = field(init=False)
    #: Groups that were handed to the sink and are not confirmed yet.
    flying: int = 0
    #: Nothing is sent before; the other side has asked for it until `retry_at`.
    not_before: float = 0.0
    retry_at: float = 0.0
    #: Pauses in a row, and all of them.
    failed: int = 0
    pauses: int = 0

    @property
    def full(self) -> bool:
        """As many groups are under way as the sink takes."""
        return self.flying >= self.sink.max_in_flight

    def pause(self, outcome: Outcome | None, *, stopping: bool) -> None:
        """Send nothing for a while, after a failure."""
        self.failed += 1
        self.pauses += 1
        if stopping:
            pause = min(_LAST_PAUSE * 2 ** min(self.failed - 1, 10), _LONGEST_LAST_PAUSE)
        else:
            pause = min(_FIRST_PAUSE * 2 ** min(self.failed - 1, 10), _LONGEST_PAUSE) * _spread.uniform(0.75, 1.0)
        if outcome is not None and outcome.retry_after is not None:
            pause = max(pause, self._obeyed(outcome.retry_after))
            self.retry_at = now() + pause
        self.not_before = now() + pause

    def obey(self, retry_after: float) -> None:
        """Send nothing for so many seconds, which the other side asked for; no longer than the breaker would wait."""
        self.retry_at = max(self.retry_at, now() + self._obeyed(retry_after))
        self.not_before = max(self.not_before, self.retry_at)

    def _obeyed(self, retry_after: float) -> float:
        return min(retry_after, self.breaker.recovery_timeout)

    def begin_last(self) -> None:
        """Wait no longer than the other side has asked for: this process is about to end."""
        self.failed = 0
        self.not_before = self.retry_at

    def after_fork(self) -> None:
        """In a forked child: what is under way is the parent's."""
        self.not_before = self.retry_at = 0.0
        self.failed = self.pauses = self.flying = 0
        self.sink.after_fork()
        self.settlement.after_fork()
