"""The outages that are active on a server, and the decision which of their faults a request meets."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from pytest_langfuse.outage.fault_options import FaultOptions, Schedule
from pytest_langfuse.outage.faults.connection import reset
from pytest_langfuse.outage.faults.disguise import SIGN_IN_PATH, sign_in_page
from pytest_langfuse.outage.faults.fault import ClientFault, Fault, QueueFault, ServerFault, Strike
from pytest_langfuse.standin.http.exchange import Exchange
from pytest_langfuse.standin.http.http_server import Answer
from pytest_langfuse.standin.paths import endpoint_of, matches

_REMEMBERED: Final = 10_000
_NO_OPTIONS = FaultOptions()


class NeverArrived(NamedTuple):
    """A request that met a fault before it had a connection. `at_ns` is in nanoseconds since 1970."""

    at_ns: int
    path: str
    fault: str


class ScheduledFault:
    """A fault with its options and its schedule."""

    def __init__(self, fault: Fault, options: FaultOptions) -> None:
        self.fault = fault
        self.options = options
        self.schedule = Schedule(options, repeating=isinstance(fault, ServerFault) and fault.repeating)

    def matches(self, path: str) -> bool:
        """Return whether requests for `path` can meet the fault."""
        if isinstance(self.fault, QueueFault):
            return False
        only = self.fault.endpoints if isinstance(self.fault, ServerFault) else None
        return matches(self.options.paths, path) and (only is None or endpoint_of(path) in only)

    @property
    def unconditional(self) -> bool:
        """True if the fault strikes every request, so that the server need not look at it."""
        options = self.options
        return options.after == 0 and options.times is None and options.rate == 1 and options.paths is None


class OutageState:
    """The faults of one outage, and what was tried while it was active. Changed by `ActiveFaults` alone."""

    def __init__(self, faults: Sequence[ScheduledFault]) -> None:
        self.faults = faults
        self.active = False
        self.attempts = 0
        self.struck = 0
        self.refused = 0


class ActiveFaults:
    """Decides for each request which fault it meets: the first one, of the latest outage first, that is due.

    Every schedule counts every request that it matches, whichever fault strikes it. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outages: list[OutageState] = []
        #: Faults that exports of spans met before they had a connection, so that they never arrived.
        self.before_connection: dict[str, None] = {}
        #: The last requests that never arrived.
        self.never_arrived: deque[NeverArrived] = deque(maxlen=_REMEMBERED)
        self._resets_all = False

    def add(self, outage: OutageState) -> None:
        """Activate the faults of an outage."""
        with self._lock:
            outage.active = True
            self._outages.insert(0, outage)

    def remove(self, outage: OutageState) -> None:
        """Deactivate them."""
        with self._lock:
            outage.active = False
            if outage in self._outages:
                self._outages.remove(outage)

    def reset_all(self) -> None:
        """From now on, reset each request that arrives at an endpoint of an outage, whatever its schedule says."""
        with self._lock:
            self._resets_all = True

    def before_connecting(self, path: str) -> ClientFault | None:
        """Return the fault that a client meets that is about to connect for a request to `path`."""
        with self._lock:
            met: tuple[OutageState, ClientFault] | None = None
            for outage, scheduled in self._matching(path):
                if isinstance(scheduled.fault, ClientFault) and scheduled.schedule.next() and met is None:
                    met = outage, scheduled.fault
            if met is None:
                return None
            # The request does not arrive, so `on_arrival` will not see it.
            self._count_attempt(path)
            for _, scheduled in self._matching(path):
                if isinstance(scheduled.fault, ServerFault):
                    scheduled.schedule.skip()
            outage, fault = met
            outage.struck += 1
            outage.refused += 1
            self.never_arrived.append(NeverArrived(time.time_ns(), path, fault.name))
            if endpoint_of(path) == "otlp":
                self.before_connection[fault.name] = None
            return fault

    def on_arrival(self, path: str) -> tuple[ServerFault, FaultOptions] | None:
        """Return the fault that a request for `path` meets that has arrived, with its options."""
        with self._lock:
            self._count_attempt(path)
            met: tuple[ServerFault, FaultOptions] | None = None
            for outage, scheduled in self._matching(path):
                fault = reset if self._resets_all else scheduled.fault
                due = isinstance(fault, ServerFault) and (scheduled.schedule.next() or self._resets_all)
                if isinstance(fault, ServerFault) and due and met is None:
                    met = fault, _NO_OPTIONS if self._resets_all else scheduled.options
                    outage.struck += 1
                    outage.refused += not fault.delivers
            return met

    def intercept(self, exchange: Exchange, answer: Answer, record: Callable[[str], None]) -> bool:
        """Let the fault that is due strike; `False` if none is. An `Interceptor` of the server."""
        path = exchange.request.url.path
        if path == SIGN_IN_PATH:
            # The page to which `redirect` leads is not Langfuse: nothing is counted.
            exchange.respond(sign_in_page())
            return True
        met = self.on_arrival(path)
        if met is None:
            return False
        fault, options = met
        record(fault.name)
        fault.strike(Strike(exchange, options, answer))
        return True

    def _matching(self, path: str) -> Iterator[tuple[OutageState, ScheduledFault]]:
        return ((outage, fault) for outage in self._outages for fault in outage.faults if fault.matches(path))

    def _count_attempt(self, path: str) -> None:
        for outage in self._outages:
            outage.attempts += any(scheduled.matches(path) for scheduled in outage.faults)
