"""Real delivery during an outage test: what the app sends goes over a socket, to a server of this machine.

Capture keeps a batch where it would have gone on the wire; here it goes on, through the app's own exporter and HTTP
clients with their own timeouts and retries, only to another address.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable

import httpx
import requests
from requests.adapters import HTTPAdapter

from pytest_langfuse.recording.http.unmocked import AsyncDirectTransport, DirectTransport


class Forward:
    """Sends to a server of this machine what was meant for Langfuse.

    `base_url_for(path)` is asked once for every request, each retry included: a fault may change the address (a port
    that refuses, another scheme), and the server counts what was tried. Thread-safe.
    """

    def __init__(self, base_url_for: Callable[[str], str]) -> None:
        self._base_url_for = base_url_for
        # Loopback: building a context that loads the system's certificates costs 20 ms a client.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Direct: a test that mocks another API with respx must not meet its own mock on the way.
        self._transport = DirectTransport(tls)
        self._async_transport = AsyncDirectTransport(tls)
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    # -- REST, as a handler of `recording.rest.Router` ----------------------------------------------------------

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Send the request of a synchronous client. Raises what httpx raises."""
        return self._transport.handle_request(self._readdressed(request))

    async def answer_async(self, request: httpx.Request) -> httpx.Response:
        """Send the request of an asynchronous client. Raises what httpx raises."""
        return await self._async_transport.handle_async_request(self._readdressed(request))

    def _readdressed(self, request: httpx.Request) -> httpx.Request:
        url = request.url.copy_with(**_address(self._base_url_for(request.url.path)))
        headers = httpx.Headers(request.headers)
        headers["host"] = url.netloc.decode("ascii")
        return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)

    # -- spans, as the session of OpenTelemetry's exporter ------------------------------------------------------

    def session(self) -> requests.Session:
        """A session for an `OTLPSpanExporter`: each of its tries is counted, and goes to where `base_url` is then."""
        session = requests.Session()
        # No proxy and no .netrc of the environment: the way is to this machine.
        session.trust_env = False
        adapter = _Adapter(self)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        with self._lock:
            self._sessions.append(session)
        return session

    def send(self, adapter: HTTPAdapter, request: requests.PreparedRequest, **options: object) -> requests.Response:
        """Send one try of an exporter."""
        url = httpx.URL(request.url or "")
        request.url = str(url.copy_with(**_address(self._base_url_for(url.path))))
        return HTTPAdapter.send(adapter, request, **options)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()


class _Adapter(HTTPAdapter):
    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        super().__init__()

    def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:  # type: ignore[override]
        return self._forward.send(self, request, **options)


def _address(base_url: str) -> dict[str, object]:
    url = httpx.URL(base_url)
    return {"scheme": url.scheme, "host": url.host, "port": url.port}
