"""One time limit for all that a request waits for; httpcore's timeouts hold for each read and write of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore

from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.name_resolution import Addresses, NameResolution
from pytest_langfuse.tracing.open_connections import OpenConnections

#: Over TLS, so many bytes at most are written before the limit is looked at again: whoever reads slowly takes a bit at
#: a time.
_PIECE = 16 * 1024

_limits = threading.local()


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Limit all that this thread waits for inside the block, over connections of a `LimitedBackend`.

    A limit around this one still holds.
    """
    before = getattr(_limits, "until", None)
    until = None if seconds is None else now() + seconds
    _limits.until = until if before is None else before if until is None else min(before, until)
    try:
        yield
    finally:
        _limits.until = before


def _left(timeout: float | None, error: type[Exception]) -> float | None:
    until = getattr(_limits, "until", None)
    if until is None:
        return timeout
    left: float = until - now()
    if left <= 0:
        raise error
    return left if timeout is None else min(left, timeout)


class LimitedStream(httpcore.NetworkStream):
    """Apply the limit to each read and write of a connection."""

    def __init__(self, stream: httpcore.NetworkStream, connections: OpenConnections) -> None:
        self._stream, self._connections = stream, connections
        connections.add(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what arrives within the limit."""
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write within the limit."""
        plain = self._plain_socket()
        if plain is None:
            for start in range(0, len(buffer), _PIECE):
                self._stream.write(buffer[start : start + _PIECE], _left(timeout, httpcore.WriteTimeout))
            return
        view = memoryview(buffer)
        # As httpcore does it, but the limit holds for all of it, and what is left is not copied each time.
        try:
            while view:
                plain.settimeout(_left(timeout, httpcore.WriteTimeout))
                view = view[plain.send(view) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(error) from error
        except OSError as error:
            raise httpcore.WriteError(error) from error

    def _plain_socket(self) -> socket.socket | None:
        """Return the socket if what is written to it is what is sent: with TLS, it may not be."""
        found = self._stream.get_extra_info("socket")
        return found if isinstance(found, socket.socket) and not isinstance(found, ssl.SSLSocket) else None

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Start TLS within the limit."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return LimitedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._connections)

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection knows of itself."""
        return self._stream.get_extra_info(info)


class LimitedBackend(httpcore.NetworkBackend):
    """Makes connections for which `time_limit` holds, the resolution of names included."""

    def __init__(
        self, backend: httpcore.NetworkBackend, resolution: NameResolution, connections: OpenConnections
    ) -> None:
        self._backend, self._resolution, self._connections = backend, resolution, connections

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a host: to the first of its addresses that answers."""
        with time_limit(timeout):
            with _httpcore_errors(host):
                addresses = self._resolution.start(host, port).result(_left(None, httpcore.ConnectTimeout))
            for number, address in enumerate(addresses):
                left = _share(len(addresses) - number)
                try:
                    stream = self._backend.connect_tcp(address, port, left, local_address, socket_options)
                except (httpcore.ConnectError, httpcore.ConnectTimeout):
                    if number == len(addresses) - 1:
                        raise
                else:
                    return LimitedStream(stream, self._connections)
        raise _no_address(host)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a socket of this machine."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return LimitedStream(self._backend.connect_unix_socket(path, left, socket_options), self._connections)

    def sleep(self, seconds: float) -> None:
        """Wait between tries to connect."""
        self._backend.sleep(seconds)


class ResolvingAsyncBackend(httpcore.AsyncNetworkBackend):
    """Resolves names in threads of ours: at its end, `asyncio.run` waits for those of the loop's executor.

    asyncio's own timeouts limit the rest. Without asyncio it changes nothing.
    """

    def __init__(self, backend: httpcore.AsyncNetworkBackend, resolution: NameResolution) -> None:
        self._backend, self._resolution = backend, resolution

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host: to the first of its addresses that answers."""
        addresses = await self._resolved(host, port, timeout)
        for number, address in enumerate(addresses):
            left = None if timeout is None else timeout / len(addresses)
            try:
                return await self._backend.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses) - 1:
                    raise
        raise _no_address(host)

    async def _resolved(self, host: str, port: int, limit: float | None) -> Addresses:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return [host]
        with _httpcore_errors(host):
            return await asyncio.wait_for(asyncio.wrap_future(self._resolution.start(host, port)), limit)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a socket of this machine."""
        return await self._backend.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait between tries to connect."""
        await self._backend.sleep(seconds)


@contextmanager
def _httpcore_errors(host: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        message = f"The name {host!r} was not resolved in time."
        raise httpcore.ConnectTimeout(message) from None
    except OSError as error:
        raise httpcore.ConnectError(error) from error


def _share(addresses: int) -> float | None:
    """Return the part of what is left of the time that one of so many addresses may take."""
    left = _left(None, httpcore.ConnectTimeout)
    return None if left is None else left / addresses


def _no_address(host: str) -> httpcore.ConnectError:
    return httpcore.ConnectError(f"The name {host!r} has no address.")
