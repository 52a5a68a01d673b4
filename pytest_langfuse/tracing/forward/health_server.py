"""`/healthz`, `/readyz` and `/metrics` of a forwarder over HTTP."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pytest_langfuse.tracing.forward.forwarder import Forwarder
from pytest_langfuse.tracing.forward.prometheus_text import CONTENT_TYPE, prometheus_text
from pytest_langfuse.tracing.lasting_thread import lasting_thread

_TEXT = "text/plain; charset=utf-8"
#: For a client that says nothing (seconds).
_PATIENCE = 10.0


class HealthServer:
    """Serves in daemon threads until `stop`.

    Raises:
        OSError: It can't listen there.
    """

    def __init__(self, forwarder: Forwarder, *, host: str, port: int) -> None:
        handler = type("Handler", (_HealthHandler,), {"forwarder": forwarder})
        family = socket.AF_INET6 if ":" in host or (not host and socket.has_dualstack_ipv6()) else socket.AF_INET
        server = type("Server", (_Server,), {"address_family": family})
        self._server: ThreadingHTTPServer = server((host, port), handler)
        #: It differs from the one asked for if that was 0.
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Start to answer."""
        lasting_thread(
            self._server.serve_forever, name="langfuse-forward-health", doing="answering about the health"
        ).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def server_bind(self) -> None:
        """Bind; an IPv6 address for all interfaces takes IPv4 too."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not `HTTPServer.server_bind`, which asks the resolver for the name of this machine.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client went away."""


class _HealthHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    forwarder: Forwarder

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, prometheus_text(self.forwarder), CONTENT_TYPE)
        elif path in {"/healthz", "/readyz"}:
            problems = self.forwarder.stuck() if path == "/healthz" else self.forwarder.not_ready()
            self._answer(503 if problems else 200, "".join(f"{one}\n" for one in problems) or "ok\n", _TEXT)
        else:
            self._answer(404, "paths: /healthz, /readyz, /metrics\n", _TEXT)

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's

    def _answer(self, status: int, text: str, content_type: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Name neither Python nor its version."""
        return "pytest-langfuse-forward"

    def log_message(self, *_: Any) -> None:
        """Nothing: probes come every few seconds."""
