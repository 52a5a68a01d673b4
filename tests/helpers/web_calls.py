"""Requests to an application: in process, and to a real server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn
from aiohttp import web

# Not one that a client of an earlier test had for its Langfuse: it stays known, and is refused.
from pytest_langfuse.standin.http.free_ports import free_port


def scope_of(path: str, method: str = "GET", headers: Any = (), query: bytes = b"", **more: Any) -> dict[str, Any]:
    """The scope that a server makes of a request."""
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode("utf-8", "replace"), "query_string": query,
        "root_path": "", "headers": [(name.encode("latin-1"), value.encode("utf-8")) for name, value in headers],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 5000), **more,
    }  # fmt: skip


async def call(app: Any, path: str = "/", *, scope: dict[str, Any] | None = None, **given: Any) -> list[dict[str, Any]]:
    """Serve one request without a body; returns what the application sent."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope if scope is not None else scope_of(path, **given), receive, send)
    return sent


def environ_of(path: str, method: str = "GET", headers: Any = (), **more: Any) -> dict[str, Any]:
    """The environ that a server makes of a request."""
    given = {f"HTTP_{name.upper().replace('-', '_')}": value.encode().decode("latin-1") for name, value in headers}
    return {
        "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path.encode().decode("latin-1"), "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http", "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
        **given, **more,
    }  # fmt: skip


class Response:
    """What a WSGI application answered."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    exc_info: Any = None


def call_wsgi(app: Any, path: str = "/", *, environ: dict[str, Any] | None = None, **given: Any) -> Response:
    """Serve one request as a server does: all of the body, then `close`."""
    response = Response()

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        response.status, response.headers, response.exc_info = status, headers, exc_info

        def write(data: bytes) -> None:
            response.body += data

        return write

    body = app(environ if environ is not None else environ_of(path, **given), start_response)
    try:
        for part in body:
            response.body += part
    finally:
        if hasattr(body, "close"):
            body.close()
    return response


@contextlib.contextmanager
def uvicorn_serving(app: Any, **settings: Any) -> Iterator[str]:
    """A real ASGI server in a thread; its address."""
    listener = socket.create_server(("127.0.0.1", free_port()))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", **{"lifespan": "off", **settings}))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextlib.contextmanager
def aiohttp_serving(app: Any) -> Iterator[str]:
    """A real aiohttp server in a thread; its address."""
    ready = threading.Event()
    stop: list[Any] = []
    found: list[int] = []

    async def serve() -> None:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site: Any = web.TCPSite(runner, "127.0.0.1", free_port())
        await site.start()
        found.append(site._server.sockets[0].getsockname()[1])
        end = asyncio.Event()
        stop.append((asyncio.get_running_loop(), end))
        ready.set()
        await end.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(20)
    try:
        yield f"http://127.0.0.1:{found[0]}"
    finally:
        stop[0][0].call_soon_threadsafe(stop[0][1].set)
        thread.join()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Nothing."""


class _QuietServer(WSGIServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what some tests are about."""


@contextlib.contextmanager
def wsgiref_serving(app: Any) -> Iterator[str]:
    """A real WSGI server in a thread; its address."""
    server = make_server("127.0.0.1", free_port(), app, server_class=_QuietServer, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def raw(url: str, data: bytes) -> bytes:
    """Send bytes to a server, and return all that it answers until it closes, or resets."""
    port = int(url.rsplit(":", 1)[1])
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(data)
        while part := connection.recv(65536):
            answer += part
    return answer
