"""HTTP transports below the reach of the test's own mocks, for requests to a server of this machine.

respx replaces methods of httpcore's pool and connection, and pytest-httpx methods of httpx's transports, for the whole
process. A test that mocks another API this way would be told that the request to the stand-in is "not mocked".
`httpcore.HTTP11Connection` lies below both, is public, and is not mocked.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager
from typing import cast

import httpcore
import httpx


class UnmockedTransport(httpx.BaseTransport):
    """Sends each request on a new connection and reads the whole response.

    Uses no proxy, and only the certificates of `tls`. Thread-safe.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the response, read to the end.

        Raises:
            httpx.TransportError: The request cannot be sent, or gets no answer.
        """
        timeout = request.extensions.get("timeout", {}).get("connect")
        with _httpx_exceptions(request):
            stream = httpcore.SyncBackend().connect_tcp(request.url.host, _port(request.url), timeout=timeout)
            connection: httpcore.HTTP11Connection | None = None
            try:
                if request.url.scheme == "https":
                    stream = stream.start_tls(self._tls, server_hostname=request.url.host, timeout=timeout)
                connection = httpcore.HTTP11Connection(_origin(request.url), stream)
                response = connection.handle_request(_for_httpcore(request))
                content = b"".join(cast("Iterable[bytes]", response.stream))
            finally:
                (stream if connection is None else connection).close()
        return _for_httpx(response, content)


class AsyncUnmockedTransport(httpx.AsyncBaseTransport):
    """`UnmockedTransport` for an `httpx.AsyncClient`, on asyncio and trio."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the response, read to the end."""
        timeout = request.extensions.get("timeout", {}).get("connect")
        with _httpx_exceptions(request):
            stream = await httpcore.AnyIOBackend().connect_tcp(request.url.host, _port(request.url), timeout=timeout)
            connection: httpcore.AsyncHTTP11Connection | None = None
            try:
                if request.url.scheme == "https":
                    stream = await stream.start_tls(self._tls, server_hostname=request.url.host, timeout=timeout)
                connection = httpcore.AsyncHTTP11Connection(_origin(request.url), stream)
                response = await connection.handle_async_request(_for_httpcore(request))
                content = b"".join([part async for part in cast("AsyncIterable[bytes]", response.stream)])
            finally:
                await (stream if connection is None else connection).aclose()
        return _for_httpx(response, content)


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _origin(url: httpx.URL) -> httpcore.Origin:
    return httpcore.Origin(url.raw_scheme, url.raw_host, _port(url))


def _for_httpcore(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _for_httpx(response: httpcore.Response, content: bytes) -> httpx.Response:
    return httpx.Response(
        response.status,
        headers=response.headers,
        stream=httpx.ByteStream(content),
        # Not the network stream: its connection is closed.
        extensions={name: value for name, value in response.extensions.items() if name != "network_stream"},
    )


@contextmanager
def _httpx_exceptions(request: httpx.Request) -> Iterator[None]:
    """Turn each exception of httpcore into the one of httpx that has the same name."""
    try:
        yield
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        of_httpx = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise of_httpx(str(error), request=request) from error
