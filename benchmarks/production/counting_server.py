"""A Langfuse that only counts: it reads each request to its end, answers yes, and keeps nothing.

`python counting_server.py` prints its address; `GET /counts` says how many requests and bytes there were.
"""

from __future__ import annotations

import json
import socket
import sys
import threading

_YES = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
_PIECE = 1 << 20


class Counts:
    """Requests with a body, and the bytes of their bodies."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests = self.bytes = 0


def serve(connection: socket.socket, counts: Counts) -> None:
    """Answer the requests of one connection."""
    buffer = bytearray(_PIECE)
    head = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in head:
                size = connection.recv_into(buffer)
                if not size:
                    return
                head += buffer[:size]
            lines, _, body = head.partition(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in lines.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            left, head = length - len(body), body[length:]
            while left > 0:
                left -= connection.recv_into(buffer, min(left, _PIECE))
            if lines.startswith(b"GET"):
                with counts.lock:
                    text = json.dumps({"requests": counts.requests, "bytes": counts.bytes}).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
                continue
            with counts.lock:
                counts.requests += 1
                counts.bytes += length
            connection.sendall(_YES)


def main() -> None:
    """Serve until stdin is closed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    counts = Counts()

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, counts), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
