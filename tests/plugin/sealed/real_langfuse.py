"""A plain HTTP server in the role of the real Langfuse: it keeps every request, and is to get none."""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class RealLangfuse:
    """What reached the server: method, path and the readable names in the body."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[str] = []

    def got(self, *words: str) -> bool:
        """Return whether a request holds all `words`."""
        return any(all(word in request for word in words) for request in self.requests)


@contextmanager
def real_langfuse() -> Iterator[RealLangfuse]:
    """Run the server inside the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if body.startswith(b"\x1f\x8b"):
                body = gzip.decompress(body)
            words = b" ".join(re.findall(rb"[\x20-\x7e]{4,}", body)).decode()
            real.requests.append(f"{self.command} {self.path} {words}"[:4_000])
            answer = b"{}"
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names of http.server

        def send_error(self, *args: Any, **kwargs: Any) -> None:
            """Keep what is no request of HTTP/1.1, such as the beginning of a gRPC connection."""
            real.requests.append(f"not understood: {self.raw_requestline!r}")
            super().send_error(*args, **kwargs)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    real = RealLangfuse(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield real
    finally:
        server.shutdown()
        server.server_close()
