"""The stand-in Langfuse on a real socket, with faults: `LangfuseServer`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from http import HTTPStatus
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from pytest_langfuse import arguments
from pytest_langfuse.lazy import exported_by
from pytest_langfuse.outage.active_faults import ActiveFaults
from pytest_langfuse.outage.faults import FAULTS
from pytest_langfuse.outage.faults.fault import ServerFault
from pytest_langfuse.recording.recorded_span import SpanKey
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Source
from pytest_langfuse.standin.http.arrivals import Arrival
from pytest_langfuse.standin.http.http_server import HttpServer
from pytest_langfuse.standin.http.listener import ClosedPort
from pytest_langfuse.standin.paths import endpoint_of
from pytest_langfuse.standin.received_source import ReceivedSource
from pytest_langfuse.standin.stand_in import StandIn

if TYPE_CHECKING:
    import typing_extensions

    # Made by `observations`; a default, so that an annotation need not name it.
    SpansT = typing_extensions.TypeVar("SpansT", default=Any)
else:
    SpansT = TypeVar("SpansT")


@exported_by("pytest_langfuse")
class LangfuseServer(HttpServer, Generic[SpansT]):
    """A Langfuse on loopback: `with LangfuseServer() as server: ... server.url`.

    `stand_in` answers its requests and holds what was sent. `public_key` and `secret_key` are checked when they are
    given. `port=0` picks a port that this process has never used. Thread-safe; when `stop` returns, no thread,
    connection or file descriptor is left. It can be started again, on another port.

    `on_arrival` is called with each request before it is answered, in the thread of its connection. `observations`
    makes `spans` out of what arrived; the default is `pytest_langfuse.Observations`.

    Raises:
        TypeError: both a stand-in and keys were given, or an argument is of the wrong type.
        ValueError: `port` is out of range, `host` is empty, or one key is given without the other.
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
        observations: Callable[[Source], SpansT] | None = None,
    ) -> None:
        if stand_in is not None and (public_key is not None or secret_key is not None):
            raise TypeError("keys are checked by the stand-in: give them to StandIn(public_key=…, secret_key=…)")
        _check(stand_in, observations)
        self.stand_in = stand_in or StandIn(public_key=public_key, secret_key=secret_key)
        self.active_faults = ActiveFaults()
        super().__init__(self.stand_in, self.active_faults, host=host, port=port, on_arrival=on_arrival)
        self._closed_port: ClosedPort | None = None
        self._closed_port_lock = threading.Lock()
        self._received = ReceivedSource(self.stand_in, self.wait_for_next_arrival)
        self._observations = observations or cast("Callable[[Source], SpansT]", _exported_observations)

    def stop(self) -> None:
        """Close the port and all connections, and wait for their threads."""
        super().stop()
        with self._closed_port_lock:
            if self._closed_port is not None:
                self._closed_port.close()
                self._closed_port = None

    def __repr__(self) -> str:
        if self._connections is None:
            return f"<{type(self).__name__}, not running>"
        return (
            f"<{type(self).__name__} {self.url}: {len(self.arrivals)} requests, {len(self.stand_in.exports)} exports>"
        )

    # -- addresses ---------------------------------------------------------------------------------------------

    @property
    def otlp_endpoint(self) -> str:
        """The value for `OTEL_EXPORTER_OTLP_ENDPOINT`; `url` is the one for `LANGFUSE_BASE_URL`."""
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
                self._running  # noqa: B018 - raises if nothing would close the port
                self._closed_port = ClosedPort(self._address[0])
            return f"http://{self._host}:{self._closed_port.port}"

    def base_url_for(self, path: str) -> str:
        """Return the base URL to which a client has to send its next request for `path`.

        This is `url`, unless a fault is active that the client meets before it has a connection. Call it once for
        each request: it counts as an attempt of that outage.

        Raises:
            TypeError: `path` is not a text.
        """
        arguments.text("base_url_for", "path", path)
        fault = self.active_faults.before_connecting(path)
        return self.url if fault is None else fault.base_url(self)

    def end_waits(self) -> None:
        """Close all connections, and reset what an outage would let wait from now on."""
        self.active_faults.reset_all()
        self.drop()

    # -- what was accepted -------------------------------------------------------------------------------------

    @property
    def spans(self) -> SpansT:
        """The observations that arrived and were accepted, with all assertions."""
        return self._observations(self._received)

    @property
    def scores(self) -> list[Score]:
        """The scores that arrived, as Langfuse shows them."""
        return self.stand_in.scores

    def accepted(self) -> Collection[SpanKey]:
        """Return trace id and span id of each span that was accepted."""
        return self._received.keys()

    def refusals(self) -> list[str]:
        """Return the faults and statuses that exports of spans have met in place of being accepted, each once."""
        met = dict.fromkeys(f"fault {name}" for name in self.active_faults.before_connection)
        for arrival in self.arrivals:
            fault = FAULTS.get(arrival.fault or "")
            if endpoint_of(arrival.path) != "otlp":
                continue
            if isinstance(fault, ServerFault) and not fault.delivers:
                met[f"fault {fault.name}"] = None
            elif arrival.status is not None and arrival.status >= HTTPStatus.MULTIPLE_CHOICES:
                met[f"status {arrival.status}"] = None
        return list(met)


def _check(stand_in: object, observations: object) -> None:
    __tracebackhide__ = True
    call = "LangfuseServer"
    if stand_in is not None:
        arguments.instance(call, "stand_in", stand_in, StandIn, "a StandIn, or None")
    if observations is not None:
        arguments.function(call, "observations", observations)


def _exported_observations(source: Source) -> Any:
    """Return the `Observations` that the package exports: they are defined where this folder must not import them."""
    package = import_module(__name__.partition(".")[0])
    return package.Observations(source)
