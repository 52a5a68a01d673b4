"""One time limit for all reads and writes of a request; httpcore's timeouts hold for each of them."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore

from pytest_langfuse.tracing.monotonic import now

_limits = threading.local()


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Limit all that this thread reads and writes inside the block, over connections of a `LimitedBackend`."""
    before = getattr(_limits, "until", None)
    _limits.until = None if seconds is None else now() + seconds
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

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what arrives within the limit."""
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write within the limit."""
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Start TLS within the limit."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return LimitedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection knows of itself."""
        return self._stream.get_extra_info(info)


class LimitedBackend(httpcore.NetworkBackend):
    """Makes connections for which `time_limit` holds."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a host."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return LimitedStream(self._backend.connect_tcp(host, port, left, local_address, socket_options))

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a socket of this machine."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return LimitedStream(self._backend.connect_unix_socket(path, left, socket_options))

    def sleep(self, seconds: float) -> None:
        """Wait between tries to connect."""
        self._backend.sleep(seconds)
