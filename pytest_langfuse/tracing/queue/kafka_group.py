"""The bodies of one call of `KafkaSink.send`, and what became of each."""

from __future__ import annotations

import threading
from typing import Final

from pytest_langfuse.tracing.delivery.sink import Confirm, Outcome, Verdict
from pytest_langfuse.tracing.monotonic import now

ACCEPTED: Final = Outcome(Verdict.ACCEPTED)
#: The worst first: what a body gets of the outcomes of its messages.
_RANK: Final = (Verdict.FAILED, Verdict.TOO_LARGE, Verdict.REFUSED, Verdict.ACCEPTED)


class KafkaGroup:
    """Bodies that were sent together, with the number of reports that each waits for. Thread-safe."""

    def __init__(self, bodies: int, confirm: Confirm) -> None:
        self.since = now()
        self._lock = threading.Lock()
        self._outcomes: list[Outcome] = [ACCEPTED] * bodies
        self._missing = [0] * bodies
        self._confirm = confirm
        self._sent = False
        self.confirmed = False

    def expect(self, index: int) -> None:
        """Wait for one more report about a body."""
        with self._lock:
            self._missing[index] += 1

    def settle(self, index: int, outcome: Outcome) -> None:
        """Take the outcome of a body that is not sent."""
        with self._lock:
            self._take(index, outcome)

    def reported(self, index: int, outcome: Outcome) -> None:
        """Take the outcome of a message."""
        with self._lock:
            self._take(index, outcome)
            self._missing[index] -= 1
            done = self._done()
        if done:
            self._tell()

    def all_sent(self) -> None:
        """Confirm the group with the last report that is missing."""
        with self._lock:
            self._sent = True
            done = self._done()
        if done:
            self._tell()

    def give_up(self, outcome: Outcome) -> None:
        """Confirm it now, with this outcome for what was not reported; reports that come later are ignored."""
        with self._lock:
            for index, missing in enumerate(self._missing):
                if missing or not self._sent:
                    self._take(index, outcome)
            done, self.confirmed = not self.confirmed, True
        if done:
            self._tell()

    def _take(self, index: int, outcome: Outcome) -> None:
        if outcome is not ACCEPTED and _RANK.index(outcome.verdict) < _RANK.index(self._outcomes[index].verdict):
            self._outcomes[index] = outcome

    def _done(self) -> bool:
        done = self._sent and not self.confirmed and not any(self._missing)
        self.confirmed = self.confirmed or done
        return done

    def _tell(self) -> None:
        usual = all(outcome is ACCEPTED for outcome in self._outcomes)
        self._confirm(ACCEPTED if usual else tuple(self._outcomes))
