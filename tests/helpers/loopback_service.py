"""A service on loopback that redirects as its caller says, and keeps what it got."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

# Not one that a client of an earlier test had for its Langfuse: it stays known, and is refused.
from pytest_langfuse.standin.http.free_ports import free_port


@dataclass
class Got:
    """A request as the service got it."""

    method: str
    host: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every line of a header."""
        return [value for key, value in self.headers if key.lower() == name]

    def one(self, name: str) -> str | None:
        """The one line of a header, or `None`."""
        lines = self.all(name)
        assert len(lines) <= 1, lines
        return lines[0] if lines else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def log_message(self, *args) -> None:
        """Nothing."""

    def answer(self) -> None:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = urlsplit(self.path)
        host = self.headers["host"].partition(":")[0]
        self.service.got.append(Got(self.command, host, url.path, list(self.headers.items()), body))
        query = parse_qs(url.query)
        status, extra = 200, {}
        if "to" in query:
            status, extra = int(query.get("status", ["302"])[0]), {"Location": query["to"][0]}
        elif "challenge" in query and "authorization" not in self.headers:
            status, extra = 401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
        self.send_response(status)
        answer = b"answer" * 1000
        for name, value in {**extra, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)


for _method in ("GET", "POST", "PUT"):
    setattr(_Handler, f"do_{_method}", _Handler.answer)


class Service:
    """Answers each request; `?to=URL&status=307` redirects, `?challenge=1` asks for authentication."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self._server = _Server(("127.0.0.1", free_port()), type("Handler", (_Handler,), {"service": self}))
        port = self._server.server_address[1]
        #: Two names of one address: only the first is on the list of the tests.
        self.here, self.elsewhere = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def chain(self, *hosts: str, status: int = 302) -> str:
        """An address on the first host that redirects to the next one, and so on."""
        *first, last = hosts
        url = f"{last}/{len(hosts)}"
        for number, host in reversed(list(enumerate(first, 1))):
            url = f"{host}/{number}?status={status}&to={quote(url, safe='')}"
        return url

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
