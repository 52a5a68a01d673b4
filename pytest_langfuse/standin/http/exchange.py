"""One request on a connection, and everything that can happen to it, down to the socket."""

from __future__ import annotations

import contextlib
import http
import socket
import struct
import threading
from email.utils import formatdate

import httpx

_NO_BODY = frozenset({204, 304})
_DISCARDED = 64 * 1024


class Exchange:
    """A request that waits for its answer. After anything but `respond` the connection is gone (`over`).

    All waiting ends when the client closes the connection, or when the server stops and closes it.
    """

    def __init__(self, connection: socket.socket, request: httpx.Request, stopping: threading.Event) -> None:
        self.request = request
        self.over = not request.extensions.get("keep_alive", True)
        self._connection = connection
        self._stopping = stopping

    def respond(self, response: httpx.Response) -> None:
        """Answer."""
        self._send(self.encode(response))

    def encode(self, response: httpx.Response, *, length: int | None = None) -> bytes:
        """The bytes of a response. `length` is what `Content-Length` claims, if not the truth."""
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
        """Wait; `False` if the client or the server gave up before."""
        return _client_waits(self._connection, self._stopping, seconds)

    def hang(self) -> None:
        """Never answer."""
        self.over = True
        with contextlib.suppress(OSError):
            discard(self._connection)

    def reset(self) -> None:
        """Close the connection with RST: the client sees "connection reset by peer"."""
        self.over = True
        # Without lingering, the close that follows throws away what was not sent, and says so.
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def send_and_close(self, data: bytes) -> None:
        """Send bytes that need not be HTTP and close the connection in an orderly way (FIN)."""
        self.over = True
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

    To close with unread bytes would reset the connection, and the client might never see the answer (RFC 9112, 9.6).
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
    # The client sends the next request before it has the answer to this one: the socket tells no more.
    return not stopping.wait(seconds)


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
