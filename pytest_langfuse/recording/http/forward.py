"""Real delivery during an outage test: the app's requests to Langfuse go to a server of this machine, over sockets.

A capture normally stops a batch just before the wire. Here it is sent, by the app's own exporter and HTTP clients with
their timeouts and retries, only to another address.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import requests
from opentelemetry.sdk.trace.export import SpanExportResult
from requests.adapters import HTTPAdapter

from pytest_langfuse.recording.http.unmocked import AsyncUnmockedTransport, UnmockedTransport
from pytest_langfuse.recording.supplied_timeout import SuppliedTimeout

#: Answers after which an exporter tries again (OpenTelemetry, OTLP specification, "Retryable Response Codes").
_RETRIED: Final = {429, 502, 503, 504}


class LoopbackForwarder:
    """Sends requests that were meant for Langfuse to a server of this machine.

    `base_url_for(path)` is called once for each request, retries included: a fault may change the address (a closed
    port, another scheme), and the server counts the attempts. `on_time_limit` is called in the thread of a request that
    the timeout supplied by capture has ended, with the monotonic time of its beginning. Thread-safe.
    """

    # An attribute of the class: freezegun replaces those of modules.
    _clock = staticmethod(time.monotonic)

    def __init__(
        self, base_url_for: Callable[[str], str], on_time_limit: Callable[[float], None] = lambda _began: None
    ) -> None:
        self._base_url_for = base_url_for
        self._on_time_limit = on_time_limit
        #: Whether the last attempt of this thread's exporter is one that it repeats as long as it has time.
        self._attempt = threading.local()
        # Loopback: building a context that loads the system's certificates costs 20 ms a client.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # A test that mocks another API with respx must not meet its own mock on the way.
        self._transport = UnmockedTransport(tls)
        self._async_transport = AsyncUnmockedTransport(tls)
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    # -- REST, as a handler of `HandlerStack` -------------------------------------------------------------------

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Send the request of a synchronous client.

        Raises:
            httpx.TransportError: The request cannot be sent, or gets no answer.
        """
        with self._watched(request):
            return self._transport.handle_request(self._readdressed(request))

    async def answer_async(self, request: httpx.Request) -> httpx.Response:
        """Send the request of an asynchronous client.

        Raises:
            httpx.TransportError: The request cannot be sent, or gets no answer.
        """
        with self._watched(request):
            return await self._async_transport.handle_async_request(self._readdressed(request))

    @contextmanager
    def _watched(self, request: httpx.Request) -> Iterator[None]:
        began = self._clock()
        try:
            yield
        except httpx.TimeoutException:
            if any(isinstance(limit, SuppliedTimeout) for limit in request.extensions.get("timeout", {}).values()):
                self._on_time_limit(began)
            raise

    def _readdressed(self, request: httpx.Request) -> httpx.Request:
        url = request.url.copy_with(**_address(self._base_url_for(request.url.path)))
        headers = httpx.Headers(request.headers)
        headers["host"] = url.netloc.decode("ascii")
        return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)

    # -- spans, as the session of OpenTelemetry's exporter ------------------------------------------------------

    def session(self) -> requests.Session:
        """Return a session for an `OTLPSpanExporter`; the address is looked up anew for each attempt."""
        session = requests.Session()
        # Neither a proxy nor a .netrc of the environment applies to this machine.
        session.trust_env = False
        adapter = _ForwardingAdapter(self)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        with self._lock:
            self._sessions.append(session)
        return session

    def export(self, export: Callable[[], SpanExportResult], *, limited: bool) -> SpanExportResult:
        """Call `export`, which sends through a session. `limited`: with the timeout that capture supplies."""
        self._attempt.in_need_of_time = False
        began = self._clock()
        result = SpanExportResult.FAILURE
        try:
            result = export()
        finally:
            # OpenTelemetry 1.35 raises the timeout of `requests`; later releases return a failure.
            if limited and result is not SpanExportResult.SUCCESS and self._attempt.in_need_of_time:
                self._on_time_limit(began)
        return result

    def send(self, adapter: HTTPAdapter, request: requests.PreparedRequest, **options: object) -> requests.Response:
        """Send one attempt of an exporter."""
        url = httpx.URL(request.url or "")
        request.url = str(url.copy_with(**_address(self._base_url_for(url.path))))
        try:
            response = HTTPAdapter.send(adapter, request, **options)  # type: ignore[arg-type]
        except (requests.ConnectionError, requests.Timeout):
            self._attempt.in_need_of_time = True
            raise
        self._attempt.in_need_of_time = response.status_code in _RETRIED
        return response

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()


class _ForwardingAdapter(HTTPAdapter):
    def __init__(self, forwarder: LoopbackForwarder) -> None:
        self._forwarder = forwarder
        super().__init__()

    def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:  # type: ignore[override]
        return self._forwarder.send(self, request, **options)


def _address(base_url: str) -> dict[str, object]:
    url = httpx.URL(base_url)
    return {"scheme": url.scheme, "host": url.host, "port": url.port}
