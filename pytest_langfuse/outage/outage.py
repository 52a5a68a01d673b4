"""An outage: faults that are active on a server for a while, with counts of what was tried meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final, Protocol, Self, cast

from pytest_langfuse import arguments
from pytest_langfuse.arguments import shown
from pytest_langfuse.lazy import exported_by
from pytest_langfuse.outage.active_faults import ActiveFaults, OutageState, ScheduledFault
from pytest_langfuse.outage.fault_options import FaultOptions
from pytest_langfuse.outage.faults import ClientFault, Fault, QueueFault, find_fault
from pytest_langfuse.outage.faults.connection import UNKNOWN_HOST, dns_error, refused, tls_error
from pytest_langfuse.outage.queue_options import check_queue_options
from pytest_langfuse.standin.queue.queue_failure import EITHER, QueueFailure, QueueName

_IN_TEST: Final = "use the fixture langfuse_outage"
#: Why a client of the server's own address does not meet a fault that strikes before it has a connection.
_MET_BEFORE: Final[Mapping[Fault, str]] = {
    refused: f"(the port is open or closed for all): {_IN_TEST}",
    tls_error: f"(the server speaks plain HTTP there): give it `server.tls_url`, or {_IN_TEST}",
    dns_error: f"(the address is known): give it http://{UNKNOWN_HOST}, or {_IN_TEST}",
}


class FailingServer(Protocol):
    """The server on which an outage is applied."""

    active_faults: ActiveFaults

    def refuse(self) -> None:
        """Close all connections and refuse new ones, until `resume`."""

    def resume(self) -> None:
        """Accept connections again."""


class FailingQueue(Protocol):
    """The queue on which an outage is applied."""

    def begin(self, failure: QueueFailure) -> None:
        """Fail in this way, until `end`."""

    def end(self, failure: QueueFailure) -> None:
        """Fail no more in this way."""


class HasFailingQueue(Protocol):
    """The part of `langfuse_queue` that an outage needs."""

    @property
    def failing(self) -> FailingQueue:
        """The queue on which an outage is applied."""


@exported_by("pytest_langfuse")
class Outage:
    """One or more faults. `with outage.apply(server):` activates them; faults of a queue, `apply(langfuse_queue)`.

    A request meets the first of the faults whose schedule says so. Faults that a client meets before it has a
    connection (`refused`, `tls_error`, `dns_error`) come before those of the server.
    """

    def __init__(self, *faults: tuple[Fault, FaultOptions]) -> None:
        self._state = OutageState([ScheduledFault(fault, options) for fault, options in faults])
        #: Of the queue, while the outage is active and afterwards.
        self._failures: list[QueueFailure] = []
        self._undo = ExitStack()
        self._lock = threading.Lock()
        #: When it began and ended last, in nanoseconds since 1970; 0: not yet.
        self.begun_ns = 0
        self.ended_ns = 0

    @classmethod
    def of(cls, *names: str, **options: Any) -> Self:
        """Return an outage of the named faults, all with the same options (see `FaultOptions`).

        Raises:
            ValueError: an unknown fault, with a suggestion, or a value out of range.
            TypeError: an unknown option, with a suggestion, or a value of the wrong type.
        """
        __tracebackhide__ = True
        return cls.named(f"langfuse_outage({', '.join(map(shown, names))})", names, options)

    @classmethod
    def named(cls, owner: str, names: Sequence[str], options: Mapping[str, Any]) -> Self:
        """Do what `of` does; `owner` begins the message of an error."""
        __tracebackhide__ = True
        if not names:
            raise TypeError(f'{owner}: expected the name of a fault, such as "hang"')
        try:
            faults = [find_fault(name) for name in names]
        except (TypeError, ValueError) as error:
            raise type(error)(f"{owner}: {error}") from None
        parsed = FaultOptions.of(owner, options)
        check_queue_options(owner, [fault for fault in faults if isinstance(fault, QueueFault)], options)
        if parsed.retry_after is not None and not any(name.startswith(("http_", "flapping")) for name in names):
            raise TypeError(f"{owner}: retry_after is a header of an HTTP status (http_429, http_503, …)")
        return cls(*((fault, parsed) for fault in faults))

    @property
    def name(self) -> str:
        """The names of the faults, `hang` or `hang+http_503`."""
        return "+".join(scheduled.fault.name for scheduled in self._state.faults)

    @property
    def required(self) -> bool:
        """True if a test fails when no request met a fault."""
        return any(scheduled.options.required for scheduled in self._state.faults)

    @property
    def max_block(self) -> float | None:
        """Seconds that a test may wait for Langfuse while the outage is active; `None` for any time."""
        return min(
            (given for fault in self._state.faults if (given := fault.options.max_block) is not None), default=None
        )

    @property
    def active(self) -> bool:
        """True while the outage is active."""
        return self._state.active

    @property
    def attempts(self) -> int:
        """Requests that were tried during the outage at the endpoints that it is limited to. Each retry is one."""
        return self._state.attempts + sum(failure.attempts for failure in self._failures)

    @property
    def struck(self) -> int:
        """Attempts that met a fault of this outage."""
        return self._state.struck + sum(failure.struck for failure in self._failures)

    @property
    def refused(self) -> int:
        """Attempts that were not accepted, or only in part: all struck ones but by `slow`, `drip`, `broker_slow`."""
        refusing = [failure for failure in self._failures if failure.kind != "slow"]
        return self._state.refused + sum(failure.struck for failure in refusing)

    @property
    def of_queue(self) -> bool:
        """True if each of its faults is one of a queue."""
        return len(self._queue_faults) == len(self._state.faults)

    @property
    def is_down(self) -> bool:
        """True if a fault is that of a queue without connections."""
        return any(fault.kind == "down" for fault in self._queue_faults)

    @property
    def queues(self) -> Sequence[QueueName]:
        """The queues that one of its faults can strike."""
        return [name for name in EITHER if any(name in fault.queues for fault in self._queue_faults)]

    @property
    def _queue_faults(self) -> Sequence[QueueFault]:
        return [scheduled.fault for scheduled in self._state.faults if isinstance(scheduled.fault, QueueFault)]

    def apply(self, server: FailingServer | HasFailingQueue) -> AbstractContextManager[Self]:
        """Activate the faults on `server`, for the block or until `recover`: every client of `server.url` meets them.

        Faults of a queue are for `langfuse_queue` in its place.

        Raises:
            ValueError: such a client can't meet a fault (the error names what can), or `max_block` was given.
            RuntimeError: the outage is already active.
            TypeError: `server` is not a `LangfuseServer`, or `langfuse_queue` where each fault is one of a queue.
        """
        __tracebackhide__ = True
        if self.of_queue:
            if not hasattr(server, "failing"):
                arguments.refuse("apply", "server", server, f"langfuse_queue: {self.name} is a fault of a queue")
            self._refuse_max_block()
            queue = cast("HasFailingQueue", server).failing
            return self._activated(None, lambda: queue)
        server = cast("FailingServer", server)
        if not isinstance(getattr(server, "active_faults", None), ActiveFaults):
            arguments.refuse("apply", "server", server, "a LangfuseServer")
        for scheduled in self._state.faults:
            fault = scheduled.fault
            if isinstance(fault, QueueFault):
                raise ValueError(  # noqa: TRY004 - it is not about a type
                    f"Outage.apply(): {fault.name} is a fault of a queue: {_IN_TEST}, or an outage of such faults alone"
                )
            if isinstance(fault, ClientFault) and not (fault is refused and scheduled.unconditional):
                what = "with a schedule or for some paths only " if fault is refused else ""
                raise ValueError(
                    f"Outage.apply(): a client of `server.url` can't meet {fault.name} {what}{_MET_BEFORE[fault]}"
                )
        self._refuse_max_block()
        return self._activated(server, None)

    def _refuse_max_block(self) -> None:
        __tracebackhide__ = True
        if self.max_block is not None:
            raise ValueError(
                f"Outage.apply(): max_block={self.max_block:g} is about the wait of a test, which it does not know; "
                "use the marker langfuse_outage or the fixture of that name"
            )

    def activate(
        self, server: FailingServer, queue: Callable[[], FailingQueue] | None = None
    ) -> AbstractContextManager[Self]:
        """Do what `apply` does for clients that ask `server.base_url_for(path)` before each request.

        `queue` is called if a fault is one of a queue.

        Raises:
            RuntimeError: the outage is already active.
            ValueError: a fault is one of a queue, and there is none.
        """
        __tracebackhide__ = True
        if self._queue_faults and queue is None:
            raise ValueError(
                f"{self._queue_faults[0].name} is a fault of a queue, which a Langfuse server has not: {_IN_TEST}"
            )
        return self._activated(server, queue)

    @contextmanager
    def _activated(self, server: FailingServer | None, queue: Callable[[], FailingQueue] | None) -> Iterator[Self]:
        with self._lock:
            if self.active:
                raise RuntimeError(f"the outage {self.name} is already active")
            self.begun_ns, self.ended_ns = time.time_ns(), 0
            if server is None:
                self._state.active = True
                self._undo.callback(setattr, self._state, "active", False)  # noqa: FBT003 - the value
            else:
                server.active_faults.add(self._state)
                self._undo.callback(server.active_faults.remove, self._state)
        try:
            faults = [scheduled.fault for scheduled in self._state.faults]
            if queue is not None:
                self._fail(queue)
            if server is not None and any(
                scheduled.fault is refused and scheduled.unconditional for scheduled in self._state.faults
            ):
                # For clients that do not use `LangfuseServer.base_url_for`: those of other processes.
                server.refuse()
                self._undo.callback(server.resume)
            if dns_error in faults:
                self._undo.enter_context(_unknown_host())
            yield self
        finally:
            self.recover()

    def _fail(self, queue: Callable[[], FailingQueue]) -> None:
        for scheduled in self._state.faults:
            fault, options = scheduled.fault, scheduled.options
            if isinstance(fault, QueueFault):
                delay = (fault.delay or 0.0) if options.delay is None else options.delay
                failure = QueueFailure(fault.kind, delay=delay, strikes=scheduled.schedule.next, queues=fault.queues)
                failing = queue()
                failing.begin(failure)
                self._failures.append(failure)
                self._undo.callback(failing.end, failure)

    def recover(self) -> None:
        """End the outage. Requests that hang go on hanging until their clients give up."""
        with self._lock:
            self._undo.close()
            if self.begun_ns and not self.ended_ns:
                self.ended_ns = time.time_ns()

    def __repr__(self) -> str:
        return f"<Outage {self.name}: {self.attempts} attempts, {self.refused} refused>"


@contextmanager
def _unknown_host() -> Iterator[None]:
    """Let name resolution of this process fail for `UNKNOWN_HOST`, without a query on the network."""
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in {UNKNOWN_HOST, UNKNOWN_HOST.encode()}:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return original(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = original
