"""Requests of HTTP/1.1 read from a socket, one after the other; h11 parses them."""

from __future__ import annotations

import re
import socket
from http import HTTPStatus
from typing import Final

import h11
import httpx

#: Bytes of a body; far above the 64 MiB that an exporter may send, far below what would exhaust the memory.
MAX_BODY: Final = 256 * 1024 * 1024
#: Bytes of the request line and the headers.
_MAX_HEAD: Final = 64 * 1024
_MAX_HEADERS: Final = 100
_RECEIVED: Final = 64 * 1024
_TLS_HANDSHAKE: Final = b"\x16"
#: Bytes in a message of the parser, and the characters of them that an answer shows.
_SENT: Final = re.compile(r"bytearray\(b(['\"].*['\"])\)", re.DOTALL)
_SHOWN: Final = 80


class BadRequest(Exception):  # noqa: N818 - an answer of the server, not a defect
    """The client sent something that is not an HTTP request, or one that is not accepted. `status` is the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status

    def answer(self) -> bytes:
        """Return the response, after which the connection is closed."""
        text = str(self).encode("ascii", "replace")
        status_line = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
        head = f"{status_line}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        return head.encode("ascii") + text


class TlsHandshake(Exception):  # noqa: N818 - not a defect either
    """The client speaks TLS to a server that does not."""


class RequestReader:
    """Reads the requests of one connection, one after the other.

    Each request gets its own parser, which is fed with what the one before left over: responses are written by
    `Exchange`, which may break any rule that h11 would enforce.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unparsed = b""
        #: True while the connection waits for its next request: everything before was read and answered.
        self.waits = False

    def read(self) -> httpx.Request | None:
        """Return the next request with its body, or `None` if the client closed the connection.

        Raises:
            BadRequest: the client sent something else, or too much.
            TlsHandshake: the client speaks TLS.
            OSError: the connection broke.
        """
        data = self._first_bytes()
        if data is None:
            return None
        # Checked before the parser sees it: a handshake has no lines to wait for.
        if data.startswith(_TLS_HANDSHAKE):
            raise TlsHandshake
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        parser.receive_data(data)
        try:
            return self._read(parser)
        except h11.RemoteProtocolError as error:
            if len(parser.trailing_data[0]) > _MAX_HEAD and b"\n" not in parser.trailing_data[0]:
                raise BadRequest("the request line does not end") from None
            raise BadRequest(_readable(str(error)), error.error_status_hint) from None

    def _first_bytes(self) -> bytes | None:
        """Return the beginning of the next request, or `None` at the end of the connection."""
        data = self._unparsed
        # A robust server ignores empty lines before a request (RFC 9112, 2.2).
        while not (data := data.lstrip(b"\r\n")):
            self.waits = True
            # Looked at, not taken: whoever asks meanwhile finds it in the socket, or `waits` off, or both.
            self._connection.recv(1, socket.MSG_PEEK)
            self.waits = False
            if not (data := self._connection.recv(_RECEIVED)):
                return None
        return data

    def _read(self, parser: h11.Connection) -> httpx.Request:
        head = self._next(parser)
        assert isinstance(head, h11.Request)  # noqa: S101 - the first event of a client
        version = head.http_version.decode("ascii")
        if version not in {"1.0", "1.1"}:
            raise BadRequest(f"unsupported version: HTTP/{version}", 505)
        headers = httpx.Headers(head.headers.raw_items())
        if len(head.headers) > _MAX_HEADERS:
            raise BadRequest(f"more than {_MAX_HEADERS} headers", 431)
        if int(headers.get("content-length", 0)) > MAX_BODY:
            raise BadRequest("the body is too large", 413)
        method, target = head.method.decode("ascii"), head.target.decode("ascii")
        url = _url(target, headers, self._connection)
        if parser.they_are_waiting_for_100_continue:
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = httpx.Request(method, url, headers=headers, content=self._body(parser))
        request.extensions["keep_alive"] = _keeps_alive(version, headers)
        self._unparsed = parser.trailing_data[0]
        return request

    def _body(self, parser: h11.Connection) -> bytes:
        body = bytearray()
        while isinstance(event := self._next(parser), h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise BadRequest("the body is too large", 413)
        return bytes(body)

    def _next(self, parser: h11.Connection) -> object:
        """Return the parser's next event."""
        while (event := parser.next_event()) is h11.NEED_DATA:
            data = self._connection.recv(_RECEIVED)
            if not data and parser.their_state is h11.SEND_BODY:
                raise ConnectionResetError("the client closed the connection before it had sent the whole body")
            parser.receive_data(data)
        return event


def _readable(message: str) -> str:
    """Return the parser's message without the names of its types, and with little of what was sent."""
    return _SENT.sub(lambda found: found[1] if len(found[1]) <= _SHOWN else f"{found[1][:_SHOWN]}...'", message)


def _keeps_alive(version: str, headers: httpx.Headers) -> bool:
    options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    return "keep-alive" in options if version == "1.0" else "close" not in options


def _url(target: str, headers: httpx.Headers, connection: socket.socket) -> httpx.URL:
    try:
        if not target.startswith("/"):
            # Absolute form, as a client sends it to a proxy (RFC 9112, 3.2.2).
            if not target.startswith(("http://", "https://")):
                raise BadRequest(f"bad request target: {target[:80]}")
            return httpx.URL(target)
        host, port = connection.getsockname()[:2]
        base = httpx.URL(f"http://{headers.get('host') or f'{host}:{port}'}")
        return base.copy_with(raw_path=target.encode("ascii"))
    except (httpx.InvalidURL, UnicodeError) as error:
        raise BadRequest(f"bad Host or target: {error}") from None
