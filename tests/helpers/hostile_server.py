"""A server on raw sockets that answers each request with whatever bytes it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Self

# Not one that a client of an earlier test had for its Langfuse: it stays known, and is refused.
from pytest_langfuse.standin.http.free_ports import free_port

#: Makes the bytes of an answer, in pieces, from the request as it came.
Answer = Callable[[bytes], Iterable[bytes]]


class HostileServer:
    """Reads one request a connection, writes the pieces of `answer` until the client goes, and closes.

    `sent` has the bytes that each connection took. With `reads=False` it reads nothing beyond the first bytes.
    """

    def __init__(self, answer: Answer, *, reads: bool = True) -> None:
        self._answer, self._reads = answer, reads
        self.requests: list[bytes] = []
        self.sent: list[int] = []
        self._changed = threading.Condition()
        self._socket = socket.create_server(("127.0.0.1", free_port()), backlog=128)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.closing = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._socket.close()

    def wait_for(self, count: int, timeout: float = 20.0) -> None:
        """Wait until so many connections were served and are closed."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.sent) >= count, timeout), f"{len(self.sent)} connections"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        sent = 0
        with connection:
            connection.settimeout(20)
            try:
                request = _request(connection) if self._reads else connection.recv(1)
                self.requests.append(request)
                for piece in self._answer(request):
                    connection.sendall(piece)
                    sent += len(piece)
                    if self.closing.is_set():
                        break
            except OSError:
                pass
        with self._changed:
            self.sent.append(sent)
            self._changed.notify_all()


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(65536)):
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    while len(body) < length:
        if not (piece := connection.recv(65536)):
            break
        body += piece
    return head + b"\r\n\r\n" + body


def head(*headers: str, status: str = "200 OK") -> bytes:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1")


def for_ever(piece: bytes) -> Iterator[bytes]:
    """The same piece again and again."""
    while True:
        yield piece
