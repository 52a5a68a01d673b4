"""Scores that wait: for the decision about their trace, and for Langfuse to be reached again.

The SDK has a queue of scores that holds 100,000 of any size, sends them whether or not their trace is kept, and drops a
batch that failed three times. It gets a score from here when the trace is kept and it has few others.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import httpx

from pytest_langfuse.tracing.delivery import owner
from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker, CircuitOpen
from pytest_langfuse.tracing.delivery.owner import Owner, sending_for
from pytest_langfuse.tracing.delivery.score_routes import ScoreRoutes, ScoresNotQueued, ScoresRefused
from pytest_langfuse.tracing.delivery.sendable_values import sendable_text
from pytest_langfuse.tracing.failures import logger
from pytest_langfuse.tracing.monotonic import now

_QUIET = 60.0
#: The SDK's queue is filled up to so many scores.
_BACKLOG = 500
#: A batch that Langfuse answered so often with an error of its own, others being accepted or not, is given up.
_MOST_TRIES = 20
_PASSING = frozenset({408, 429})
_SERVER_ERROR = 500
#: Values that are looked into to tell the size of a score.
_MOST_VALUES = 1_000
#: Bytes of a score beside its texts.
_OVERHEAD = 200

_NO_ROOM = "they waited for Langfuse, and there was no room for more"
_SHUT_DOWN = "tracing was shut down while Langfuse could not be reached"

Decision = Callable[[int], bool | None]


class _Score(NamedTuple):
    content: Any
    size: int
    owner: Owner | None


class ScoreBuffer:
    """Hands scores on to `send`, the oldest first, unless their trace was dropped. Thread-safe; never blocks.

    `decision(trace_id)` tells whether a trace is kept, or `None` as long as that is open: then its scores wait for
    `decided`. While the breaker is open, all wait. At most `max_scores` and `max_bytes` do; beyond, the oldest go.
    `backlog()` is the number of scores that were handed on and are not sent yet.

    `breakers` are those of the ways that scores may go, and `routes` the ways, if they don't go to Langfuse's API.
    """

    def __init__(
        self,
        *,
        max_scores: int,
        max_bytes: int,
        breakers: Sequence[CircuitBreaker],
        routes: ScoreRoutes | None = None,
    ) -> None:
        self._max_scores, self._max_bytes = max_scores, max_bytes
        self._breakers, self._routes = breakers, routes
        for breaker in breakers:
            breaker.add_listener(lambda _old, new: None if new == "open" else self.hand_on())
        self.decision: Decision = lambda _: True
        self.send: Callable[[Any], None] = lambda _: None
        self.backlog: Callable[[], int] = lambda: 0
        self._clear()

    def _clear(self) -> None:
        self._lock = threading.RLock()
        self._ready: deque[_Score] = deque()
        self._undecided: OrderedDict[int, list[_Score]] = OrderedDict()
        self._scores = self._bytes = self._tries = self._dropped = 0
        #: The number of scores that were handed on so far.
        self.handed_on = 0
        self._logged = -_QUIET
        self._closed = False

    def add(self, content: Any, trace_id: int | None) -> None:
        """Take a score; without a trace (of a session, of a dataset run) it is always sent."""
        if self._closed:
            self._report(1, "tracing was shut down")
            return
        decision = True if trace_id is None else self.decision(trace_id)
        if decision is False:
            return
        score = _Score(content, _size(content), owner.current())
        with self._lock:
            if decision is None and trace_id is not None:
                self._undecided.setdefault(trace_id, []).append(score)
            else:
                self._ready.append(score)
            self._count(score, 1)
            dropped = self._make_room()
        # Nobody else is told of a decision that came in between. No lock of ours is held while asking for it.
        if decision is None and trace_id is not None and (decision := self.decision(trace_id)) is not None:
            self.decided(trace_id, decision)
        self._report(dropped, _NO_ROOM)
        self.hand_on()

    def decided(self, trace_id: int, kept: bool) -> None:  # noqa: FBT001 - a callback of the sampler's
        """A trace was kept or dropped."""
        if trace_id not in self._undecided:
            return
        with self._lock:
            scores = self._undecided.pop(trace_id, [])
            if kept:
                self._ready.extend(scores)
            else:
                for score in scores:
                    self._count(score, -1)
        if kept:
            self.hand_on()

    def hand_on(self, *, most: int = _BACKLOG) -> None:
        """Hand on what may be sent now, until the SDK has `most`."""
        if not self._ready or self._open:
            return
        with self._lock:
            for _ in range(min(len(self._ready), most - self.backlog())):
                score = self._ready.popleft()
                self._count(score, -1)
                with sending_for(score.owner):
                    self.send(score.content)
                self.handed_on += 1

    @property
    def _open(self) -> bool:
        return all(breaker.state == "open" for breaker in self._breakers)

    @property
    def failing(self) -> bool:
        """True from the first failed call, on all ways, until one succeeds."""
        return all(breaker.failing for breaker in self._breakers)

    @property
    def refusal(self) -> CircuitOpen | None:
        """The error with which nothing is sent while the breaker is open."""
        return CircuitOpen(min(breaker.retry_after for breaker in self._breakers)) if self._open else None

    def into_queue(self, scores: Callable[[], Sequence[tuple[str, int | None]]]) -> bool:
        """Put what `scores` returns, JSON and trace of each, into a queue. Return `False` if they go to Langfuse's API.

        Raises:
            CircuitOpen: Nothing can be sent now.
            ScoresNotQueued: The queue did not take some of them.
        """
        try:
            return self._routes is not None and self._routes.put(scores())
        except ScoresRefused as refused:
            self._report(refused.count, f"the queue refused them ({refused})")
            return True

    def uploaded(self) -> None:
        """Langfuse took a batch: there is room for more."""
        self._tries = 0
        self.hand_on()

    def failed(self, batch: Sequence[Any], error: Exception) -> bool:
        """Take a batch back that may be sent later. Return `False` if it is given up, for a reason to be logged."""
        if self._closed:
            self._report(len(batch), _SHUT_DOWN)
            return True
        if not isinstance(error, httpx.TransportError | CircuitOpen | ScoresNotQueued):
            status = getattr(error, "status_code", getattr(error, "status", None))
            if not isinstance(status, int) or not (status in _PASSING or status >= _SERVER_ERROR):
                return False
            self._tries += 1
            if self._tries >= _MOST_TRIES:
                self._tries = 0
                return False
        with self._lock:
            for content in reversed(batch):
                score = _Score(content, _size(content), owner.current())
                self._ready.appendleft(score)
                self._count(score, 1)
            dropped = self._make_room()
        self._report(dropped, _NO_ROOM)
        return True

    def in_unicode(self, batch: Sequence[Any]) -> list[Any]:
        """Return a batch of JSON values with texts that can be encoded: one that can't would take all with it."""
        found: list[Any] = json.loads(sendable_text(json.dumps(batch, ensure_ascii=False)))
        return found

    @property
    def ready(self) -> int:
        """The number of scores that wait for Langfuse."""
        return len(self._ready)

    @property
    def waiting(self) -> tuple[int, int]:
        """The number and the bytes of all scores that wait."""
        return self._scores, self._bytes

    def close(self) -> None:
        """Hand on what may be sent, and drop the rest."""
        self._closed = True
        self.hand_on(most=self._max_scores)
        with self._lock:
            dropped = self._scores
            self._ready.clear()
            self._undecided.clear()
            self._scores = self._bytes = 0
            self._logged = -_QUIET
        self._report(dropped, _SHUT_DOWN)

    def after_fork(self) -> None:
        """In a forked child: what waits is the parent's."""
        self._clear()

    def _make_room(self) -> int:
        dropped = 0
        while self._scores > self._max_scores or self._bytes > self._max_bytes:
            scores = [self._ready.popleft()] if self._ready else self._undecided.popitem(last=False)[1]
            for score in scores:
                self._count(score, -1)
            dropped += len(scores)
        return dropped

    def _count(self, score: _Score, change: int) -> None:
        self._scores += change
        self._bytes += change * score.size

    def _report(self, dropped: int, why: str) -> None:
        """Log at most once a minute: the whole number so far."""
        self._dropped += dropped
        if self._dropped and now() - self._logged >= _QUIET:
            self._logged, count = now(), self._dropped
            self._dropped = 0
            logger.warning("%d scores were dropped: %s.", count, why)


def _size(content: Any) -> int:
    """Return about how many bytes a score has, looking at no more than a part of it."""
    size, values = _OVERHEAD, [content]
    for _ in range(_MOST_VALUES):
        if not values:
            break
        value = values.pop()
        if isinstance(value, str | bytes):
            size += len(value)
        elif isinstance(value, dict):
            values.extend(value)
            values.extend(value.values())
        elif isinstance(value, list | tuple):
            values.extend(value)
        elif hasattr(value, "__dict__"):
            values.extend(vars(value).values())
        else:
            size += 8
    return size
