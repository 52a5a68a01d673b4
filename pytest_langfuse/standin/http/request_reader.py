"""Requests of HTTP/1.1 read from a socket: keep-alive, chunked bodies, `Expect: 100-continue` (RFC 9112)."""

from __future__ import annotations

import http.client
import io
import socket
from typing import Any

import httpx

#: Bytes of a body; far above the 64 MiB that an exporter may send, far below what would hurt the machine.
MAX_BODY = 256 * 1024 * 1024
_MAX_LINE = 64 * 1024
_TLS_HANDSHAKE = b"\x16"


class BadRequest(Exception):  # noqa: N818 - an answer of the server, not a defect
    """What arrived is no HTTP request. `status` is the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status

    def answer(self) -> bytes:
        """The response; the connection is of no use after it."""
        text = str(self).encode("ascii", "replace")
        head = f"HTTP/1.1 {self.status} \r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        return head.encode("ascii") + text


class TlsHandshake(Exception):  # noqa: N818 - as above
    """The client speaks TLS to a server that does not."""


class _Incoming(io.RawIOBase):
    """The bytes of a connection. `waits` is off from before the first of them is taken."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.waits = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # Looked at, not taken: whoever asks meanwhile finds it in the socket, or `waits` off, or both.
        self._connection.recv(1, socket.MSG_PEEK)
        self.waits = False
        return self._connection.recv_into(buffer)


class RequestReader:
    """Reads the requests of one connection, one after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._raw = _Incoming(connection)
        self._stream = io.BufferedReader(self._raw, 64 * 1024)

    @property
    def waits(self) -> bool:
        """Whether the connection waits for its next request: all that came before was taken in and answered."""
        return self._raw.waits

    def close(self) -> None:
        """Release the stream; the connection stays open."""
        self._stream.close()

    def read(self) -> httpx.Request | None:
        """The next request with its body; `None` when the client closed the connection.

        Raises `BadRequest`, `TlsHandshake`, and `OSError` for a connection that broke.
        """
        self._raw.waits = True
        line = self._first_line()
        if line is None:
            return None
        try:
            method, target, version = line.decode("ascii").split()
        except ValueError:
            raise BadRequest(f"not a request line: {line[:80]!r}") from None
        if version not in {"HTTP/1.0", "HTTP/1.1"}:
            raise BadRequest(f"unsupported version: {version}", 505)
        headers = self._headers()
        if headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = self._body(headers)
        request = httpx.Request(method, _url(target, headers, self._connection), headers=headers, content=content)
        request.extensions["keep_alive"] = _keeps_alive(version, headers)
        return request

    def _first_line(self) -> bytes | None:
        # A robust server ignores an empty line before a request (RFC 9112, 2.2).
        for _ in range(2):
            # Looked at before a line is read: a handshake has no lines to wait for.
            if self._stream.peek(1)[:1] == _TLS_HANDSHAKE:
                raise TlsHandshake
            line = self._stream.readline(_MAX_LINE)
            if line.rstrip(b"\r\n"):
                if not line.endswith(b"\n"):
                    raise BadRequest("the request line does not end")
                return line
            if not line:
                return None
        raise BadRequest("empty lines instead of a request")

    def _headers(self) -> httpx.Headers:
        try:
            message = http.client.parse_headers(self._stream)
        except http.client.HTTPException as error:
            raise BadRequest(f"bad headers: {error}", 431) from None
        return httpx.Headers(list(message.items()))

    def _body(self, headers: httpx.Headers) -> bytes:
        coding = headers.get("transfer-encoding", "").lower()
        if coding:
            if coding != "chunked":
                raise BadRequest(f"unsupported transfer coding: {coding}", 501)
            return self._chunks()
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise BadRequest(f"bad Content-Length: {length}")
        return self._exactly(int(length))

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = self._stream.readline(_MAX_LINE)
            try:
                size = int(line.split(b";", 1)[0], 16)
            except ValueError:
                raise BadRequest(f"bad chunk size: {line[:40]!r}") from None
            if size == 0:
                self._headers()  # the trailer
                return bytes(body)
            if size < 0 or len(body) + size > MAX_BODY:
                raise BadRequest("the body is too large", 413)
            body += self._exactly(size)
            if self._stream.readline(_MAX_LINE).strip():
                raise BadRequest("a chunk is longer than its size")

    def _exactly(self, size: int) -> bytes:
        if size > MAX_BODY:
            raise BadRequest("the body is too large", 413)
        data = self._stream.read(size)
        if len(data) < size:
            raise ConnectionResetError(f"the client closed the connection after {len(data)} of {size} bytes")
        return data


def _keeps_alive(version: str, headers: httpx.Headers) -> bool:
    options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    return "keep-alive" in options if version == "HTTP/1.0" else "close" not in options


def _url(target: str, headers: httpx.Headers, connection: socket.socket) -> httpx.URL:
    if not target.startswith("/"):
        # Absolute form, as a client sends it to a proxy (RFC 9112, 3.2.2).
        if not target.startswith(("http://", "https://")):
            raise BadRequest(f"bad request target: {target[:80]}")
        return httpx.URL(target)
    host, port = connection.getsockname()[:2]
    try:
        base = httpx.URL(f"http://{headers.get('host') or f'{host}:{port}'}")
        return base.copy_with(raw_path=target.encode("ascii"))
    except (httpx.InvalidURL, UnicodeError) as error:
        raise BadRequest(f"bad Host or target: {error}") from None
