"""The outages in force on a server, and which of their faults a request meets."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from pytest_langfuse.outage.fault_options import FaultOptions, Schedule
from pytest_langfuse.outage.faults import ClientFault, Fault, ServerFault
from pytest_langfuse.standin.paths import endpoint_of, matches


class PlannedFault:
    """A fault with its options and its place in its schedule."""

    def __init__(self, fault: Fault, options: FaultOptions) -> None:
        self.fault = fault
        self.options = options
        self.schedule = Schedule(options, repeating=isinstance(fault, ServerFault) and fault.repeating)

    def matches(self, path: str) -> bool:
        """Whether the fault is one for requests to `path`."""
        only = self.fault.endpoints if isinstance(self.fault, ServerFault) else None
        return matches(self.options.paths, path) and (only is None or endpoint_of(path) in only)

    @property
    def unconditional(self) -> bool:
        """Whether every request is struck, so that no request has to be looked at."""
        options = self.options
        return options.after == 0 and options.times is None and options.rate == 1 and options.paths is None


class FaultCounts:
    """What was tried while faults were in force. Counted by `InForce` alone."""

    def __init__(self, planned: list[PlannedFault]) -> None:
        self.planned = planned
        self.active = False
        self.attempts = 0
        self.struck = 0
        self.refused = 0


class InForce:
    """Decides for each request which fault it meets: the first one, of the latest outage first, whose turn it is.

    Every schedule counts every request that it matches, whoever strikes it. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[FaultCounts] = []

    def add(self, counts: FaultCounts) -> None:
        """Put faults in force."""
        with self._lock:
            counts.active = True
            self._all.insert(0, counts)

    def remove(self, counts: FaultCounts) -> None:
        """Take them out of force."""
        with self._lock:
            counts.active = False
            if counts in self._all:
                self._all.remove(counts)

    def before_connecting(self, path: str) -> ClientFault | None:
        """The fault that a client meets which is about to connect for a request to `path`."""
        with self._lock:
            met: tuple[FaultCounts, ClientFault] | None = None
            for counts, planned in self._matching(path):
                if isinstance(planned.fault, ClientFault) and planned.schedule.next() and met is None:
                    met = counts, planned.fault
            if met is None:
                return None
            # The request does not arrive, so `on_arrival` will not see it.
            self._count_attempt(path)
            for _, planned in self._matching(path):
                if isinstance(planned.fault, ServerFault):
                    planned.schedule.skip()
            counts, fault = met
            counts.struck += 1
            counts.refused += 1
            return fault

    def on_arrival(self, path: str) -> tuple[ServerFault, FaultOptions] | None:
        """The fault that a request meets which has arrived."""
        with self._lock:
            self._count_attempt(path)
            met: tuple[ServerFault, FaultOptions] | None = None
            for counts, planned in self._matching(path):
                fault = planned.fault
                if isinstance(fault, ServerFault) and planned.schedule.next() and met is None:
                    met = fault, planned.options
                    counts.struck += 1
                    counts.refused += not fault.delivers
            return met

    def _matching(self, path: str) -> Iterator[tuple[FaultCounts, PlannedFault]]:
        return ((counts, planned) for counts in self._all for planned in counts.planned if planned.matches(path))

    def _count_attempt(self, path: str) -> None:
        for counts in self._all:
            counts.attempts += any(planned.matches(path) for planned in counts.planned)
