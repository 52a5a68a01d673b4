"""Real delivery during an outage test: the app's requests to Langfuse go to a server of this machine, over sockets.

A capture normally stops a batch just before the wire. Here it is sent, by the app's own exporter and HTTP clients with
their timeouts and retries, only to another address.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable

import httpx
import requests
from requests.adapters import HTTPAdapter

from pytest_langfuse.recording.http.unmocked import AsyncUnmockedTransport, UnmockedTransport


class LoopbackForwarder:
    """Sends requests that were meant for Langfuse to a server of this machine.

    `base_url_for(path)` is called once for each request, retries included: a fault may change the address (a closed
    port, another scheme), and the server counts the attempts. Thread-safe.
    """

    def __init__(self, base_url_for: Callable[[str], str]) -> None:
        self._base_url_for = base_url_for
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
        return self._transport.handle_request(self._readdressed(request))

    async def answer_async(self, request: httpx.Request) -> httpx.Response:
        """Send the request of an asynchronous client.

        Raises:
            httpx.TransportError: The request cannot be sent, or gets no answer.
        """
        return await self._async_transport.handle_async_request(self._readdressed(request))

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

    def send(self, adapter: HTTPAdapter, request: requests.PreparedRequest, **options: object) -> requests.Response:
        """Send one attempt of an exporter."""
        url = httpx.URL(request.url or "")
        request.url = str(url.copy_with(**_address(self._base_url_for(url.path))))
        return HTTPAdapter.send(adapter, request, **options)  # type: ignore[arg-type]

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
