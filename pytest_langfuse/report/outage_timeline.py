"""The times of an outage: what production tracing made of it, and the requests that met it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_langfuse.outage.outage import Outage
    from pytest_langfuse.outage.server.langfuse_server import LangfuseServer

_NOTHING: Final = {"ended": 0, "exported": 0, "buffered": 0, "dropped": 0}
#: Counts that are kept; of more, every second one goes.
_MOST: Final = 500


class OutageTimeline:
    """Notes how the breakers and the counts of production tracing change. Called in any thread.

    `health` returns the state of production tracing, `None` where a test does not use it.
    """

    def __init__(self, health: Callable[[], Any]) -> None:
        self._health = health
        self._breaker: list[dict[str, Any]] = []
        self._counts: list[dict[str, Any]] = []
        #: The first ones: what earlier tests have made.
        self._before: dict[str, int] | None = None
        self._lock = threading.Lock()

    def look(self) -> None:
        """Note the counts since the first look, and how many are buffered, if they have changed."""
        self._look()

    def end(self) -> Any:
        """Return the state of production tracing at the end of a test; note its counts if there was a look before."""
        return self._health() if self._before is None else self._look()

    def _look(self) -> Any:
        # Not longer: after a fork, nobody may be left who gives the lock back.
        is_alone = self._lock.acquire(timeout=1.0)
        try:
            health = self._health()
            self._note(_counts_of(health))
            return health
        finally:
            if is_alone:
                self._lock.release()

    def _note(self, counts: dict[str, int] | None) -> None:
        if self._before is None:
            # Where tracing is installed later, there is nothing that an earlier test has made.
            self._before = {**_NOTHING, **(counts or {}), "buffered": 0}
        if counts is None:
            return
        if any(counts[name] < self._before[name] for name in counts):
            # Another installation: counts never fall.
            self._before = _NOTHING
        counts = {name: count - self._before[name] for name, count in counts.items()}
        if self._counts and self._counts[-1].items() >= counts.items():
            return
        self._counts.append({"at": _now(), **counts})
        if len(self._counts) > _MOST:
            # Neither the first nor the last one.
            del self._counts[1:-1:2]

    def breaker_changed(self, route: str, before: str, now: str) -> None:
        """Note that the breaker of a way of export has another state."""
        if len(self._breaker) < _MOST:
            self._breaker.append({"at": _now(), "route": route, "before": before, "state": now})

    def row(self, outages: Sequence[Outage], server: LangfuseServer[Any]) -> dict[str, Any]:
        """Return what is written of the outages of a test, on a server."""
        self.look()
        ends = [outage.ended_ns for outage in outages]
        return {
            "faults": [outage.name for outage in outages],
            "begun": min(outage.begun_ns for outage in outages) // 1_000,
            # One that lasts until the test ends has not ended.
            "ended": max(ends) // 1_000 if all(ends) else None,
            "attempts": sum(outage.attempts for outage in outages),
            "refused": sum(outage.refused for outage in outages),
            "requests": sorted(_requests(server), key=lambda request: request["start"]),
            "breaker": list(self._breaker),
            "health": list(self._counts),
        }


def _counts_of(health: Any) -> dict[str, int] | None:
    if health is None:
        return None
    dropped = sum(health.dropped.values())
    return {"ended": health.ended, "exported": health.exported, "buffered": health.buffered, "dropped": dropped}


def _requests(server: LangfuseServer[Any]) -> Iterator[dict[str, Any]]:
    for arrival in server.arrivals:
        # A client that does not give up waits on when the test ends.
        seconds = None if arrival.ended_ns is None else max(0, arrival.ended_ns - arrival.at_ns) / 1e9
        yield _request(arrival.at_ns, seconds, arrival.path, arrival.fault or str(arrival.status))
    for missed in list(server.active_faults.never_arrived):
        yield _request(missed.at_ns, 0.0, missed.path, missed.fault)


def _request(at_ns: int, seconds: float | None, path: str, result: str) -> dict[str, Any]:
    return {"start": at_ns // 1_000, "duration": seconds, "path": path, "result": result}


def _now() -> int:
    return time.time_ns() // 1_000
