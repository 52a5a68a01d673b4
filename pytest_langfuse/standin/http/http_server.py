"""An HTTP/1.1 server on loopback whose requests may meet something else than an answer."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

import httpx

from pytest_langfuse import arguments
from pytest_langfuse.standin.http.arrivals import Arrival, ArrivalLog
from pytest_langfuse.standin.http.connection_threads import ConnectionThreads
from pytest_langfuse.standin.http.exchange import Exchange, drain
from pytest_langfuse.standin.http.request_reader import BadRequest, RequestReader, TlsHandshake

#: Answers a request whose body was read.
Answer = Callable[[httpx.Request], httpx.Response]

#: handshake_failure, fatal (RFC 8446, 6.2): this server has no TLS.
_TLS_ALERT = bytes.fromhex("15030300020228")
_HIGHEST_PORT = 65535
#: Seconds between two looks at the connections.
_POLL_INTERVAL = 0.002


class Interceptor(Protocol):
    """Decides what a request meets before it is answered."""

    def intercept(self, exchange: Exchange, answer: Answer, record: Callable[[str], None]) -> bool:
        """Deal with `exchange` and return `True`, or return `False` to have it answered as usual.

        `answer` is how it would be answered. `record(fault)` adds the request to the arrivals, under the name of the
        fault that struck it; to be called before the client can see anything of the fault.
        """


class HttpServer:
    """Serves requests on `host:port`, each connection in its own thread. Thread-safe.

    `answer` answers a request that `interceptor` lets through. `port=0` picks a port that this process has never used.
    When `stop` returns, no thread, connection or file descriptor is left; it can be started again.
    `on_arrival` is called with each request before it is answered, in the thread of its connection.
    """

    def __init__(
        self,
        answer: Answer,
        interceptor: Interceptor,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_arrival: Callable[[Arrival], None] | None = None,
    ) -> None:
        __tracebackhide__ = True
        call = type(self).__name__
        arguments.text(call, "host", host, filled=True)
        arguments.count(call, "port", port, least=0, most=_HIGHEST_PORT)
        if on_arrival is not None:
            arguments.function(call, "on_arrival", on_arrival)
        self._answer = answer
        self._interceptor = interceptor
        self._address = host, port
        self._on_arrival = on_arrival
        self._connections: ConnectionThreads | None = None
        self._arrivals = ArrivalLog()
        self._readers: dict[socket.socket, RequestReader] = {}

    # -- running -----------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken, or there is no such host.
        """
        if self._connections is None:
            self._connections = ConnectionThreads(*self._address, self._serve)
        return self

    def stop(self) -> None:
        """Close the port and all connections, and wait for their threads."""
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def refuse(self) -> None:
        """Close all connections and refuse new ones, until `resume`."""
        self._running.refuse()

    def drop(self) -> None:
        """Close all connections; requests under way get no answer."""
        if self._connections is not None:
            self._connections.drop()

    def resume(self) -> None:
        """Accept connections again."""
        if self._connections is not None:
            self._connections.listener.resume()

    # -- addresses ---------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port.

        Raises:
            RuntimeError: the server does not run.
        """
        return self._running.listener.port

    @property
    def url(self) -> str:
        """The base URL.

        Raises:
            RuntimeError: the server does not run.
        """
        return f"http://{self._host}:{self.port}"

    @property
    def _host(self) -> str:
        host = self._address[0]
        return f"[{host}]" if ":" in host else host

    @property
    def _running(self) -> ConnectionThreads:
        if self._connections is None:
            raise RuntimeError("the server does not run: start() it, or use it in a `with` statement")
        return self._connections

    # -- arrivals ----------------------------------------------------------------------------------------------

    @property
    def arrivals(self) -> list[Arrival]:
        """The last requests that arrived, oldest first, including those that a fault struck."""
        return self._arrivals.snapshot()

    def wait_for_arrivals(self, count: int, timeout: float) -> bool:
        """Wait until `count` requests have arrived since the server was made, at most `timeout` seconds.

        Returns whether they have.

        Raises:
            TypeError: `count` or `timeout` is not a number.
            ValueError: one of them is out of range.
        """
        __tracebackhide__ = True
        arguments.count("wait_for_arrivals", "count", count, least=0)
        arguments.number("wait_for_arrivals", "timeout", timeout)
        return self._arrivals.wait_for(count, timeout)

    def wait_for_next_arrival(self, timeout: float) -> None:
        """Wait until another request has arrived, at most `timeout` seconds.

        Raises:
            TypeError: `timeout` is not a number.
            ValueError: it is out of range.
        """
        __tracebackhide__ = True
        arguments.number("wait_for_next_arrival", "timeout", timeout)
        self._arrivals.wait_for_next(timeout)

    def settle(self, timeout: float) -> bool:
        """Wait until everything that clients have sent so far was processed, at most `timeout` seconds.

        Returns `False` if something is left: a request whose client has not sent the rest, or that meets a fault that
        lasts.

        Raises:
            TypeError: `timeout` is not a number.
            ValueError: it is out of range.
        """
        __tracebackhide__ = True
        arguments.number("settle", "timeout", timeout)
        end = time.monotonic() + timeout
        while self._connections is not None and self._connections.unread(self._reads):
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_INTERVAL)
        return True

    def _reads(self, connection: socket.socket) -> bool:
        reader = self._readers.get(connection)
        return reader is None or not reader.waits

    # -- serving -----------------------------------------------------------------------------------------------

    def _serve(self, connection: socket.socket, stopping: threading.Event) -> None:
        reader = self._readers[connection] = RequestReader(connection)
        # A client that disconnects is not an error of the server.
        with contextlib.suppress(OSError), self._forgotten_afterwards(connection):
            try:
                while (request := reader.read()) is not None:
                    exchange = Exchange(connection, request, stopping)
                    self._process(exchange)
                    if exchange.over:
                        return
            except TlsHandshake:
                connection.sendall(_TLS_ALERT)
                drain(connection)
            except BadRequest as error:
                connection.sendall(error.answer())
                drain(connection)

    @contextlib.contextmanager
    def _forgotten_afterwards(self, connection: socket.socket) -> Iterator[None]:
        try:
            yield
        finally:
            del self._readers[connection]

    def _process(self, exchange: Exchange) -> None:
        arrived_ns, numbers = time.time_ns(), list[int]()

        def record(status: int | None, fault: str | None) -> None:
            numbers.append(self._record(exchange.request, status, fault, arrived_ns))

        def end() -> None:
            for number in numbers:
                self._arrivals.end(number, time.time_ns())

        # Noted before the client has its answer, as the arrival is.
        exchange.on_end = end
        try:
            if self._interceptor.intercept(exchange, self._answer, lambda fault: record(None, fault)):
                return
            try:
                response = self._answer(exchange.request)
            except Exception:
                exchange.respond(httpx.Response(500, text="internal error of the stand-in Langfuse"))
                raise
            # Recorded before the client has its answer, so that the client finds the record when it looks.
            record(response.status_code, None)
            exchange.respond(response)
        finally:
            end()

    def _record(self, request: httpx.Request, status: int | None, fault: str | None, arrived_ns: int) -> int:
        path = request.url.raw_path.decode("ascii", "replace")
        arrival = Arrival(request.method, path, len(request.content), status, fault, arrived_ns)
        number = self._arrivals.add(arrival)
        if self._on_arrival is not None:
            self._on_arrival(arrival)
        return number
