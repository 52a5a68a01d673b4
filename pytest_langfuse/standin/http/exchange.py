"""A request on a connection, and the ways to answer it or fail, down to the socket."""

from __future__ import annotations

import contextlib
import http
import socket
import struct
import threading
from collections.abc import Callable
from email.utils import formatdate

import httpx

_NO_BODY = frozenset({204, 304})
_DISCARDED = 64 * 1024


class Exchange:
    """A request that waits for its answer. After anything but `respond`, the connection ends (`over`).

    Every wait ends when the client closes the connection, or when the server stops and closes it.
    """

    def __init__(self, connection: socket.socket, request: httpx.Request, stopping: threading.Event) -> None:
        self.request = request
        self.over = not request.extensions.get("keep_alive", True)
        #: Called before the client can see the end of the request.
        self.on_end: Callable[[], None] = lambda: None
        self._connection = connection
        self._stopping = stopping

    def respond(self, response: httpx.Response) -> None:
        """Send the response."""
        self.on_end()
        self._send(self.encode(response))

    def encode(self, response: httpx.Response, *, length: int | None = None) -> bytes:
        """Return the bytes of a response. `length` is a false `Content-Length`."""
        content = b"" if self.request.method == "HEAD" or response.status_code in _NO_BODY else response.content
        lines = [f"HTTP/1.1 {response.status_code} {_reason(response.status_code)}"]
        lines += [
            f"{name}: {value}"
            for name, value in response.headers.multi_items()
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "content-encoding"}
        ]
        lines.append(f"Date: {formatdate(usegmt=True)}")
        if response.status_code not in _NO_BODY:
            lines.append(f"Content-Length: {len(response.content) if length is None else length}")
        lines.append(f"Connection: {'close' if self.over else 'keep-alive'}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content

    def wait(self, seconds: float) -> bool:
        """Wait so many seconds; return `False` if the client disconnected or the server stopped earlier."""
        return _client_waits(self._connection, self._stopping, seconds)

    def hang(self) -> None:
        """Never answer."""
        self.over = True
        with contextlib.suppress(OSError):
            discard(self._connection)

    def reset(self) -> None:
        """Close the connection with RST: the client sees "connection reset by peer"."""
        self.over = True
        self.on_end()
        # A linger time of zero makes the close that follows send RST.
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def send_and_close(self, data: bytes) -> None:
        """Send bytes, which need not be HTTP, and close the connection in an orderly way (FIN)."""
        self.over = True
        self.on_end()
        self._send(data)

    def drip(self, data: bytes, interval: float) -> None:
        """Send one byte every `interval` seconds."""
        for index in range(len(data)):
            if index and not self.wait(interval):
                self.over = True
                return
            self._send(data[index : index + 1])

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError:
            # The client did not wait for the answer.
            self.over = True


def discard(connection: socket.socket) -> None:
    """Read until the client closes the connection, or the server stops."""
    while connection.recv(_DISCARDED):
        pass


def drain(connection: socket.socket) -> None:
    """Close our side and wait for the client to close its own.

    Closing with unread bytes would reset the connection, and the client might never see the answer (RFC 9112, 9.6).
    """
    connection.shutdown(socket.SHUT_WR)
    discard(connection)


def _client_waits(connection: socket.socket, stopping: threading.Event, seconds: float) -> bool:
    if seconds <= 0:
        return True
    try:
        connection.settimeout(seconds)
        try:
            if not connection.recv(1, socket.MSG_PEEK):
                return False
        except TimeoutError:
            return True
        finally:
            connection.settimeout(None)
    except OSError:
        return False
    # The client has sent its next request already, so the socket no longer shows when it disconnects.
    return not stopping.wait(seconds)


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
