"""The stand-in Langfuse on a real socket: `LangfuseServer`, also to be run by hand or from another language.

python -m pytest_langfuse.outage.server --help
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import httpx

from pytest_langfuse.lazy import exported_by
from pytest_langfuse.outage.active_faults import InForce
from pytest_langfuse.outage.faults import Strike
from pytest_langfuse.outage.faults.disguise import SIGN_IN_PATH, sign_in_page
from pytest_langfuse.recording.recorded_span import SpanKey
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Source
from pytest_langfuse.standin.http.connections import Connections
from pytest_langfuse.standin.http.exchange import Exchange, drain
from pytest_langfuse.standin.http.listener import ClosedPort
from pytest_langfuse.standin.http.request_reader import BadRequest, RequestReader, TlsHandshake
from pytest_langfuse.standin.received_source import ReceivedSource
from pytest_langfuse.standin.stand_in import StandIn

if TYPE_CHECKING:
    from pytest_langfuse import Observations

#: handshake_failure, fatal (RFC 8446, 6.2): this server has no TLS.
_TLS_ALERT = bytes.fromhex("15030300020228")
_REMEMBERED = 10_000
#: Seconds between two looks at the connections.
_LOOK = 0.002


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that arrived. `path` includes the query, `size` is that of the body in bytes, as sent.

    `status` is that of the answer; `None` when `fault` struck the request.
    """

    method: str
    path: str
    size: int
    status: int | None
    fault: str | None = None


@exported_by("pytest_langfuse")
class LangfuseServer:
    """A Langfuse on loopback: `with LangfuseServer() as server: ... server.url`.

    What it does with requests is `stand_in`'s business: what was sent can be read there. `public_key` and
    `secret_key` are checked when they are given. `port=0` picks a port that this process has never used. Thread-safe;
    when `stop` returns, no thread, connection or file descriptor is left. It can be started again, on another port.

    `on_arrival` is called with each request before it is answered, in the thread of its connection. `observations`
    makes `spans` out of what arrived; the default is `pytest_langfuse.Observations`.
    """

    def __init__(
        self,
        stand_in: StandIn | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        public_key: str | None = None,
        secret_key: str | None = None,
        on_arrival: Callable[[Arrival], None] | None = None,
        observations: Callable[[Source], Observations] | None = None,
    ) -> None:
        if stand_in is not None and (public_key is not None or secret_key is not None):
            raise TypeError("keys are checked by the stand-in: give them to StandIn(public_key=…, secret_key=…)")
        self.stand_in = stand_in or StandIn(public_key=public_key, secret_key=secret_key)
        self.in_force = InForce()
        self._address = host, port
        self._on_arrival = on_arrival
        self._connections: Connections | None = None
        self._closed_port: ClosedPort | None = None
        self._closed_port_lock = threading.Lock()
        self._arrivals: deque[Arrival] = deque(maxlen=_REMEMBERED)
        self._arrived = threading.Condition()
        self._readers: dict[socket.socket, RequestReader] = {}
        self._count = 0
        self._received = ReceivedSource(self.stand_in, self.wait_for_news)
        self._observations = observations or _public_observations

    # -- running -----------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen. Raises `OSError` when the port is taken."""
        if self._connections is None:
            self._connections = Connections(*self._address, self._serve)
        return self

    def stop(self) -> None:
        """Close the port and all connections, and wait for their threads."""
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.stop()
        with self._closed_port_lock:
            if self._closed_port is not None:
                self._closed_port.close()
                self._closed_port = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # -- where -------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port. Raises `RuntimeError` while the server does not run."""
        return self._running.listener.port

    @property
    def url(self) -> str:
        """The base URL, for `LANGFUSE_BASE_URL`."""
        return f"http://{self._host}:{self.port}"

    @property
    def otlp_endpoint(self) -> str:
        """For `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"{self.url}/api/public/otel"

    @property
    def tls_url(self) -> str:
        """A base URL at which the TLS handshake fails."""
        return f"https://{self._host}:{self.port}"

    @property
    def refusing_url(self) -> str:
        """A base URL at which connections are refused."""
        with self._closed_port_lock:
            if self._closed_port is None:
                self._running  # noqa: B018 - raises when there would be nothing to close the port
                self._closed_port = ClosedPort(self._address[0])
            return f"http://{self._host}:{self._closed_port.port}"

    def base_url_for(self, path: str) -> str:
        """Where a client that is about to send a request for `path` has to send it.

        This is `url`, unless an outage is in force that the client meets before it has a connection. To be asked once
        for each request: it counts as an attempt of that outage.
        """
        fault = self.in_force.before_connecting(path)
        return self.url if fault is None else fault.base_url(self)

    @property
    def _host(self) -> str:
        host = self._address[0]
        return f"[{host}]" if ":" in host else host

    @property
    def _running(self) -> Connections:
        if self._connections is None:
            raise RuntimeError("the server does not run: start() it, or use it in a `with` statement")
        return self._connections

    # -- what happened -----------------------------------------------------------------------------------------

    @property
    def arrivals(self) -> list[Arrival]:
        """The last requests that arrived, oldest first; those that a fault struck included."""
        with self._arrived:
            return list(self._arrivals)

    def wait_for_arrivals(self, count: int, timeout: float) -> bool:
        """Wait until `count` requests have arrived since the server was made, at most `timeout` seconds."""
        with self._arrived:
            return self._arrived.wait_for(lambda: self._count >= count, timeout)

    def wait_for_news(self, timeout: float) -> None:
        """Wait until a further request has arrived, at most `timeout` seconds."""
        with self._arrived:
            self._arrived.wait(timeout)

    def settle(self, timeout: float) -> bool:
        """Wait until all that clients have sent so far was taken in, at most `timeout` seconds.

        What is left then is `False`: a request whose client has not sent the rest, or that meets a fault that lasts.
        """
        end = time.monotonic() + timeout
        while self._connections is not None and self._connections.unread(self._reads):
            if time.monotonic() >= end:
                return False
            time.sleep(_LOOK)
        return True

    def _reads(self, connection: socket.socket) -> bool:
        reader = self._readers.get(connection)
        return reader is None or not reader.waits

    # -- what was accepted -------------------------------------------------------------------------------------

    @property
    def spans(self) -> Observations:
        """The observations that arrived and were accepted, with all assertions."""
        return self._observations(self._received)

    @property
    def scores(self) -> list[Score]:
        """The scores that arrived, as Langfuse shows them."""
        return self.stand_in.scores

    def accepted(self) -> Collection[SpanKey]:
        """Trace id and span id of each span that was accepted."""
        return self._received.keys()

    # -- faults ------------------------------------------------------------------------------------------------

    def refuse(self) -> None:
        """Close all connections and refuse new ones, until `resume`."""
        self._running.refuse()

    def resume(self) -> None:
        """Accept connections again."""
        if self._connections is not None:
            self._connections.listener.resume()

    # -- serving -----------------------------------------------------------------------------------------------

    def _serve(self, connection: socket.socket, stopping: threading.Event) -> None:
        reader = self._readers[connection] = RequestReader(connection)
        # A client that goes away is no concern of ours.
        with contextlib.closing(reader), contextlib.suppress(OSError), self._known(connection):
            try:
                while (request := reader.read()) is not None:
                    exchange = Exchange(connection, request, stopping)
                    self._answer(exchange)
                    if exchange.over:
                        return
            except TlsHandshake:
                connection.sendall(_TLS_ALERT)
                drain(connection)
            except BadRequest as error:
                connection.sendall(error.answer())
                drain(connection)

    @contextlib.contextmanager
    def _known(self, connection: socket.socket) -> Iterator[None]:
        try:
            yield
        finally:
            del self._readers[connection]

    def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.url.path == SIGN_IN_PATH:
            exchange.respond(sign_in_page())
            return
        met = self.in_force.on_arrival(request.url.path)
        # Noted before the client has its answer, so that it finds the note when it looks.
        if met is not None:
            fault, options = met
            self._note(request, None, fault.name)
            fault.strike(Strike(exchange, options, self.stand_in))
            return
        try:
            response = self.stand_in(request)
        except Exception:
            exchange.respond(httpx.Response(500, text="the stand-in Langfuse has a defect"))
            raise
        self._note(request, response.status_code, None)
        exchange.respond(response)

    def _note(self, request: httpx.Request, status: int | None, fault: str | None) -> None:
        path = request.url.raw_path.decode("ascii", "replace")
        arrival = Arrival(request.method, path, len(request.content), status, fault)
        with self._arrived:
            self._arrivals.append(arrival)
            self._count += 1
            self._arrived.notify_all()
        if self._on_arrival is not None:
            self._on_arrival(arrival)


def _public_observations(source: Source) -> Observations:
    # By its public name: this folder does not import `expect`. Loaded here, since a server that is run by hand does
    # not need it.
    from pytest_langfuse import Observations

    return Observations(source)
