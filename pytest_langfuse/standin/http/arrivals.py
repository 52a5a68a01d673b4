"""The requests that arrived at a server, and how to wait for more of them."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace

_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that arrived.

    Attributes:
        method: The HTTP method.
        path: The path, with the query.
        size: Bytes of the body, as sent.
        status: The status of the answer; `None` if a fault struck the request.
        fault: The name of the fault that struck it, if one did.
        at_ns: When it was read, in nanoseconds since 1970. Arrivals that differ in times alone are equal.
        ended_ns: When it was answered, or its connection ended; `None` until then.
    """

    method: str
    path: str
    size: int
    status: int | None
    fault: str | None = None
    at_ns: int = field(default=0, compare=False, repr=False)
    ended_ns: int | None = field(default=None, compare=False, repr=False)


class ArrivalLog:
    """The last requests that arrived. Thread-safe."""

    def __init__(self) -> None:
        self._arrivals: deque[Arrival] = deque(maxlen=_REMEMBERED)
        self._count = 0
        self._changed = threading.Condition()

    def add(self, arrival: Arrival) -> int:
        """Add a request and wake those who wait for one. Return its number, for `end`."""
        with self._changed:
            self._arrivals.append(arrival)
            self._count += 1
            self._changed.notify_all()
            return self._count - 1

    def end(self, number: int, at_ns: int) -> None:
        """Take note that a request was answered, or that its connection has ended; the first note counts."""
        with self._changed:
            position = number - (self._count - len(self._arrivals))
            if position >= 0 and self._arrivals[position].ended_ns is None:
                self._arrivals[position] = replace(self._arrivals[position], ended_ns=at_ns)

    def snapshot(self) -> list[Arrival]:
        """Return the last arrivals, oldest first."""
        with self._changed:
            return list(self._arrivals)

    def wait_for(self, count: int, timeout: float) -> bool:
        """Wait until `count` requests have arrived in total, at most `timeout` seconds; return whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count >= count, timeout)

    def wait_for_next(self, timeout: float) -> None:
        """Wait until another request has arrived, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait(timeout)
