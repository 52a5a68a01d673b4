"""HTTP to Langfuse within bounds: a breaker that fails fast, and a limit to the whole of a request.

httpx's timeouts are for each read: a server that sends a byte now and then is never too slow for them. Here the whole
request, from the resolution of the name to the end of the response, has as long as one read may take.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from pytest_langfuse.tracing.delivery import bounded_answer
from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker, CircuitOpen
from pytest_langfuse.tracing.delivery.proxies import UnusableProxies, proxy_for
from pytest_langfuse.tracing.langfuse_internals import limit_waits, resolve_names
from pytest_langfuse.tracing.name_resolution import NameResolution
from pytest_langfuse.tracing.open_connections import OpenConnections
from pytest_langfuse.tracing.time_limit import time_limit
from pytest_langfuse.tracing.untraced import untraced

#: Request extension of a call that has its permit already.
PERMITTED = {"pytest_langfuse.permitted": True}

#: Statuses that any other request would get too.
_FAILURES = frozenset({401, 403, 408, 429, *range(500, 600)})


class CircuitOpenError(httpx.ConnectError, CircuitOpen):
    """`CircuitOpen` for code that knows httpx's errors only."""

    def __init__(self, retry_after: float, request: httpx.Request) -> None:
        CircuitOpen.__init__(self, retry_after)
        self.request = request


class TransportPool(httpx.BaseTransport):
    """The transports of a client, made on demand, one for each proxy of the environment.

    A client that is given a transport does not look for proxies itself. A TLS context, which takes 20 ms to make, is
    made for the first https address only, and shared.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._resolution = NameResolution()
        self.unusable = UnusableProxies()
        self._transports: dict[tuple[str | None, bool], httpx.HTTPTransport] = {}
        self._connections = OpenConnections()

    def to(self, url: httpx.URL) -> httpx.BaseTransport:
        """Return the transport for an address; `httpx.ProxyError` if its proxy can't be used."""
        key = (proxy_for(url), url.scheme == "https")
        with self._lock:
            transport = self._transports.get(key)
            if transport is None:
                transport = self.unusable.made(lambda: self._made(*key), proxy=key[0])
                self._transports[key] = transport
            return transport

    def _made(self, proxy: str | None, https: bool) -> httpx.HTTPTransport:  # noqa: FBT001 - parts of the key
        transport = httpx.HTTPTransport(proxy=proxy, verify=tls_context() if https else False)
        limit_waits(transport, self._resolution, self._connections)
        return transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        if self._connections.aborted:
            raise httpx.ConnectError("Tracing was shut down.", request=request)
        return self.to(request.url).handle_request(request)

    def close(self) -> None:
        """Release all connections."""
        with self._lock:
            transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            transport.close()

    def abort(self) -> None:
        """End all requests that are under way, in any thread, and refuse others."""
        self._connections.abort()

    def after_fork(self) -> None:
        """In a forked child: the connections are the parent's."""
        self._clear()


class AsyncTransportPool(httpx.AsyncBaseTransport):
    """`TransportPool` for an `httpx.AsyncClient`. What it says of proxies, `unusable` has not said before."""

    def __init__(self, unusable: UnusableProxies) -> None:
        self._resolution = NameResolution()
        self._unusable = unusable
        self._transports: dict[tuple[str | None, bool], httpx.AsyncHTTPTransport] = {}

    def to(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        """Return the transport for an address; `httpx.ProxyError` if its proxy can't be used."""
        key = (proxy_for(url), url.scheme == "https")
        transport = self._transports.get(key)
        if transport is None:
            transport = self._transports[key] = self._unusable.made(lambda: self._made(*key), proxy=key[0])
        return transport

    def _made(self, proxy: str | None, https: bool) -> httpx.AsyncHTTPTransport:  # noqa: FBT001 - parts of the key
        transport = httpx.AsyncHTTPTransport(proxy=proxy, verify=tls_context() if https else False)
        resolve_names(transport, self._resolution)
        return transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        return await self.to(request.url).handle_async_request(request)

    async def aclose(self) -> None:
        """Release all connections."""
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.aclose()


@contextmanager
def _permitted(breaker: CircuitBreaker, request: httpx.Request) -> Iterator[Callable[[httpx.Response], httpx.Response]]:
    """Let one call through the breaker. The yielded function reports its response to the breaker."""
    permit = breaker.try_acquire()
    if permit is None:
        raise CircuitOpenError(breaker.retry_after, request)

    def judged(response: httpx.Response) -> httpx.Response:
        (breaker.failure if response.status_code in _FAILURES else breaker.success)(permit)
        return response

    try:
        yield judged
    except Exception:
        breaker.failure(permit)
        raise
    except BaseException:
        breaker.release(permit)
        raise


class BoundedTransport(httpx.BaseTransport):
    """A request takes at most its read timeout as a whole. For Langfuse's `host`, `breaker` decides whether it is made.

    Other hosts (a media upload to object storage) pass as they are. A request whose extensions say that it has a
    permit already (`PERMITTED`) is not asked for another.
    """

    def __init__(self, inner: httpx.BaseTransport, *, host: str, breaker: CircuitBreaker) -> None:
        self.inner = inner
        self._host, self._breaker = host, breaker

    def around(self, inner: httpx.BaseTransport) -> BoundedTransport:
        """Return a copy around another transport, with the same breaker: for a harness that answers requests."""
        return BoundedTransport(inner, host=self._host, breaker=self._breaker)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and read the response to its end."""
        if request.url.host != self._host:
            return self.inner.handle_request(request)
        if PERMITTED.keys() <= request.extensions.keys():
            return self.send(request)
        with _permitted(self._breaker, request) as judged:
            return judged(self.send(request))

    def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request that has its permit, and read the response to its end or up to a limit."""
        request.headers["accept-encoding"] = bounded_answer.ENCODINGS
        with time_limit(_limit(request)):
            response = self.inner.handle_request(request)
            return bounded_answer.read(response, bounded_answer.largest_answer(request))

    def close(self) -> None:
        """Release all connections."""
        self.inner.close()


class AsyncBoundedTransport(httpx.AsyncBaseTransport):
    """As `BoundedTransport`, around the transport of an `httpx.AsyncClient`; the time is bounded under asyncio only."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, host: str, breaker: CircuitBreaker) -> None:
        self._transport = transport
        self._host, self._breaker = host, breaker

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and read the response to its end."""
        with untraced():
            if request.url.host != self._host:
                return await self._transport.handle_async_request(request)
            with _permitted(self._breaker, request) as judged:
                return judged(await self._send(request))

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return await _read(self._transport, request)
        try:
            async with asyncio.timeout(_limit(request)):
                return await _read(self._transport, request)
        except TimeoutError:
            message = "Langfuse did not answer in time."
            raise httpx.ReadTimeout(message, request=request) from None

    async def aclose(self) -> None:
        """Release all connections."""
        await self._transport.aclose()


async def _read(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    request.headers["accept-encoding"] = bounded_answer.ENCODINGS
    response = await transport.handle_async_request(request)
    return await bounded_answer.read_async(response, bounded_answer.largest_answer(request))


def _limit(request: httpx.Request) -> float | None:
    timeouts: Mapping[str, float | None] = request.extensions.get("timeout", {})
    return timeouts.get("read")


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return the shared context: httpx's, plus the certificates that OpenTelemetry's and requests' variables name."""
    context = httpx.create_ssl_context()
    for name in _CERTIFICATES:
        path = Path(os.environ.get(name) or "/nonexistent")
        if path.is_file():
            context.load_verify_locations(cafile=path)
        elif path.is_dir():
            context.load_verify_locations(capath=path)
    return context


_CERTIFICATES = (
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
