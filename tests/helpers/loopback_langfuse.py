"""A Langfuse on loopback that does as it is told."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

# Not one that a client of an earlier test had for its Langfuse: it stays known, and is refused.
from pytest_langfuse.standin.http.free_ports import free_port
from pytest_langfuse.tracing.langfuse_internals import METADATA_IS_JSON

TRACES = "/api/public/otel/v1/traces"
#: Version 4 of the SDK sends scores as events.
SCORES = "/api/public/scores" if METADATA_IS_JSON else "/api/public/ingestion"


@dataclass
class Reply:
    """What the server answers: after `delay` seconds, or never, when `hang` is set."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = "application/x-protobuf"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    hang: bool = False
    drip: float = 0.0
    reset: bool = False


@dataclass
class Seen:
    """A request as the server got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int = 0

    @property
    def spans(self) -> list[str]:
        """Names of the spans in it."""
        request = ExportTraceServiceRequest.FromString(self.body)
        return [span.name for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request, client_address) -> None:
        """A client that went away is what many of these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    collector: Collector

    def log_message(self, *args) -> None:
        """Nothing."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        seen = Seen(
            self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body, self.client_address[1]
        )
        reply = self.collector.decide(seen)
        if reply.hang or reply.reset:
            self.close_connection = True
            if reply.hang:
                self.collector.released.wait(60)
            self.connection.close()
            return
        if reply.delay:
            self.collector.released.wait(reply.delay)
        self.send(reply)

    def send(self, reply: Reply) -> None:
        lines = [f"HTTP/1.1 {reply.status} Said So", f"content-length: {len(reply.body)}"]
        if reply.content_type:
            lines.append(f"content-type: {reply.content_type}")
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        raw = ("\r\n".join(lines) + "\r\n\r\n").encode() + reply.body
        if not reply.drip:
            self.wfile.write(raw)
            return
        self.close_connection = True
        for position in range(len(raw)):
            self.wfile.write(raw[position : position + 1])
            self.wfile.flush()
            if self.collector.released.wait(reply.drip):
                return


for _method in ("GET", "POST", "PATCH", "PUT"):
    setattr(_Handler, f"do_{_method}", _Handler.answer)


class Collector:
    """Answers each request with what `reply` says: a `Reply`, or a function of the request."""

    def __init__(self) -> None:
        self.reply: Reply | Callable[[Seen], Reply] = Reply()
        self.requests: list[Seen] = []
        self.accepted: list[str] = []
        self._changed = threading.Condition()
        self.released = threading.Event()
        self._server = Server(("127.0.0.1", free_port()), type("Handler", (_Handler,), {"collector": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def decide(self, seen: Seen) -> Reply:
        """Keep the request, and say how it is answered."""
        reply = self.reply(seen) if callable(self.reply) else self.reply
        with self._changed:
            self.requests.append(seen)
            if seen.path == TRACES and reply.status == 200 and not (reply.hang or reply.reset):
                self.accepted += seen.spans
            self._changed.notify_all()
        return reply

    @property
    def exports(self) -> list[Seen]:
        """The requests that carried spans."""
        return [seen for seen in self.requests if seen.path == TRACES]

    def wait_for(self, condition: Callable[[], bool], timeout: float = 20.0) -> None:
        """Wait until the condition holds; it is looked at after each request and now and then."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not condition():
                assert time.monotonic() < deadline, (
                    f"still not so: {len(self.requests)} requests, {len(self.accepted)} spans accepted"
                )
                self._changed.wait(0.02)

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
