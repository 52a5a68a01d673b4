"""A service that is told to end: its observations wait in the process until then.

The variable `WAY` is `plain` or `ours`, `LANGFUSE_BASE_URL` the server. As a script: `ended_service.py KIND`. For a web
server: `ended_service:asgi`, `ended_service:wsgi`. It makes ten observations for the first request, or at once.
"""

# ruff: noqa: PLC0415 - each kind imports its own

from __future__ import annotations

import os
import sys

if sys.argv[1:] == ["gevent"]:
    from gevent import monkey

    monkey.patch_all()

import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

WAITING = 10
#: Nothing is sent while the process runs: what arrives was sent because it ended.
SETTINGS: dict[str, Any] = {"flush_at": 500, "flush_interval": 600.0}


def build() -> Any:
    """Return the client; keys and address are in the environment."""
    if os.environ["WAY"] == "plain":
        from langfuse import Langfuse

        return Langfuse(**SETTINGS)
    from pytest_langfuse.tracing import init_tracing

    return init_tracing(**SETTINGS)


client = build()


def observe() -> None:
    """Make the observations."""
    for _ in range(WAITING):
        client.start_observation(name="step").end()


def ready() -> None:
    """Tell the benchmark."""
    os.write(1, b"ready\n")


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Observe, or hang."""
    if environ["PATH_INFO"] == "/":
        observe()
    if environ["PATH_INFO"] == "/hang":
        time.sleep(60)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Observe, or hang."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/":
        observe()
    if scope["path"] == "/hang":
        time.sleep(60)  # noqa: ASYNC251 - the worker is to hang
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def child() -> int:
    """Observe in a child process."""
    observe()
    return os.getpid()


def main(kind: str) -> None:
    """Run as a script of this kind."""
    name, _, method = kind.partition("-")
    if name == "script":
        observe()
        ready()
        time.sleep(60)
    elif name == "process":
        context: Any = multiprocessing.get_context(method)
        process = context.Process(target=child)
        process.start()
        process.join()
    elif name == "pool":
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
            pool.submit(child).result()
    elif name == "gevent":
        from gevent.pywsgi import WSGIServer

        WSGIServer(("127.0.0.1", int(os.environ["PORT"])), wsgi, log=None).serve_forever()
    elif name == "waitress":
        import waitress

        waitress.serve(wsgi, host="127.0.0.1", port=int(os.environ["PORT"]))


if __name__ == "__main__":
    main(sys.argv[1])
