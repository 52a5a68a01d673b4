"""Compare a request through the middleware with one whose handler makes the same observation by hand.

One FastAPI and one WSGI application, driven in process, without sockets; Langfuse is healthy, on loopback, in a process
of its own. By hand means what a careful developer writes: `start_as_current_observation` with name, input and metadata,
`propagate_attributes` with user, session and request id, and `update` with the output. The time is that of a whole
request, in interleaved batches; the ratio is the median over the pairs of batches.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from langfuse import propagate_attributes
from measure import Table, progress, spread, surroundings
from production.processes import langfuse

from pytest_langfuse.tracing import (
    LangfuseASGIMiddleware,
    LangfuseWSGIMiddleware,
    get_langfuse_client,
    init_tracing,
    shutdown_tracing,
)

LIMIT = 1.05
#: Requests of a batch: short enough that both ways of a pair meet the same machine.
BATCH = 50
WAYS = ("by hand", "middleware")
HEADERS = {
    "host": "shop.example", "user-agent": "benchmark/1.0", "accept": "*/*", "accept-encoding": "gzip, br",
    "x-user-id": "u-1", "x-session-id": "s-1", "connection": "keep-alive",
}  # fmt: skip

Batch = Callable[[int], None]


def observed(method: str, path: str, headers: Any) -> Any:
    """Make the observation by hand, in two context managers."""
    user, session = headers.get("x-user-id"), headers.get("x-session-id")
    request = headers.get("x-request-id") or str(uuid.uuid4())
    return (
        propagate_attributes(user_id=user, session_id=session, metadata={"request_id": request}),
        get_langfuse_client().start_as_current_observation(
            name=f"{method} /items/{{i}}",
            input={"method": method, "path": path},
            metadata={"user_id": user, "session_id": session, "request_id": request},
        ),
    )


def asgi(way: str) -> Batch:
    """Build the FastAPI application."""
    app = FastAPI()

    if way == "by hand":

        @app.get("/items/{i}")
        async def by_hand(i: int, request: Request) -> dict[str, int]:
            propagated, observation = observed(request.method, request.url.path, request.headers)
            with propagated, observation as found:
                answer = {"i": i}
                found.update(output={"status_code": 200})
                return answer
    else:

        @app.get("/items/{i}")
        async def plain(i: int, request: Request) -> dict[str, int]:  # noqa: ARG001 - it has the same work to do
            return {"i": i}

    served: Any = LangfuseASGIMiddleware(app, trusted=True) if way == "middleware" else app

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:  # noqa: PLR2004 - OK
            raise AssertionError(message)

    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    base = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "root_path": "", "query_string": b"", "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 5000), "path": "/items/3", "raw_path": b"/items/3", "headers": headers,
    }  # fmt: skip
    runner = asyncio.Runner()

    async def batch(count: int) -> None:
        for _ in range(count):
            await served({**base}, receive, send)

    return lambda count: runner.run(batch(count))


def wsgi(way: str) -> Batch:
    """Build a minimal WSGI application: nearly all of a request is the observation."""

    def by_hand(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        names = ("x-user-id", "x-session-id", "x-request-id")
        headers = {name: environ.get(f"HTTP_{name.upper().replace('-', '_')}") for name in names}
        propagated, observation = observed(environ["REQUEST_METHOD"], environ["PATH_INFO"], headers)
        with propagated, observation as found:
            start_response("200 OK", [("content-type", "text/plain")])
            found.update(output={"status_code": 200})
            yield b"3"

    def plain(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:  # noqa: ARG001 - as above
        start_response("200 OK", [("content-type", "text/plain")])
        yield b"3"

    served: Any = (
        LangfuseWSGIMiddleware(plain, trusted=True, route=lambda _: "/items/{i}") if way == "middleware" else by_hand
    )
    base = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/items/3", "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.version": (1, 0),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HEADERS.items()},
    }  # fmt: skip

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        pass

    def batch(count: int) -> None:
        for _ in range(count):
            body = served({**base}, start_response)
            for _ in body:
                pass
            body.close()

    return batch


def measured(make: Callable[[str], Batch], rounds: int) -> dict[str, list[float]]:
    """Return the microseconds per request of each way."""
    batches = {way: make(way) for way in WAYS}
    for batch in batches.values():
        batch(BATCH * 4)
    figures: dict[str, list[float]] = {way: [] for way in WAYS}
    gc.collect()
    gc.freeze()
    for number in range(rounds):
        for way in WAYS if number % 2 else reversed(WAYS):
            # The processor's time: a sender thread of this process works for both alike, and is left out.
            begin = time.thread_time_ns()
            batches[way](BATCH)
            figures[way].append((time.thread_time_ns() - begin) / BATCH / 1000)
    gc.unfreeze()
    return figures


def main() -> int:
    """Run the benchmark; exit status 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="pairs of batches for each application")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file, as Markdown")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(("LANGFUSE_", "OTEL_"))]:
        del os.environ[name]
    table = Table(
        "The middleware and an observation made by hand",
        f"{options.rounds} interleaved pairs of {BATCH} requests; microseconds of a whole request. {surroundings()}",
        ["application", *(f"{way}, us" for way in WAYS), "middleware / by hand"],
    )
    with langfuse() as server:
        init_tracing(
            public_key="pk-lf-benchmark", secret_key="sk-lf-benchmark", base_url=server.url,  # noqa: S106 - made up
            flush_at=512, flush_interval=5.0, handle_signals=False,
        )  # fmt: skip
        for label, make in (("FastAPI", asgi), ("bare WSGI", wsgi)):
            progress(label)
            figures = measured(make, options.rounds)
            ratios = [ours / hand for ours, hand in zip(figures["middleware"], figures["by hand"], strict=True)]
            ratio = statistics.median(ratios)
            table.rows.append([label, *(spread(figures[way], 0) for way in WAYS), f"{ratio:.3f}"])
            table.require(f"cost of a request, {label}, middleware / by hand", ratio, LIMIT, digits=3)
        shutdown_tracing()
    return table.finish(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
