"""A way in which a queue fails for a while, with counts of what was tried meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

#: `down`: no connection is accepted. `slow`: each answer is late. The others refuse what is sent.
Kind = Literal["down", "slow", "too_large", "not_authorized", "throttled"]
#: A queue, as messages name it.
QueueName = Literal["Kafka", "SQS"]
EITHER: Final[tuple[QueueName, ...]] = ("Kafka", "SQS")


class QueueFailure:
    """A failure of `kind` that `queues` can have. `delay` is in seconds, and for "slow".

    `strikes()` tells of each request that sends messages, in order, whether it is refused.
    """

    def __init__(
        self, kind: Kind, *, delay: float, strikes: Callable[[], bool], queues: Sequence[QueueName] = EITHER
    ) -> None:
        self.kind = kind
        self.queues = queues
        self.delay = delay
        self._strikes = strikes
        self._pattern: list[bool] = []
        #: Groups of bodies that this process has tried to send to them, those that reached no broker included.
        self.groups = 0
        #: Requests to send that have arrived, by the queue that counts them.
        self.arrived: dict[object, Callable[[], int]] = {}

    def is_struck(self, number: int) -> bool:
        """Return whether a request is refused, by its number from 0."""
        while len(self._pattern) <= number:
            self._pattern.append(self._strikes())
        return self._pattern[number]

    @property
    def attempts(self) -> int:
        """Tries to send: those of this process, and of others as far as they arrived."""
        return max(self.groups, sum(count() for count in self.arrived.values()))

    @property
    def struck(self) -> int:
        """Attempts that met the failure."""
        if self.kind in {"down", "slow"}:
            return self.attempts
        return sum(self.is_struck(number) for count in self.arrived.values() for number in range(count()))
