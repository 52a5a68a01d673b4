"""`instrument_httpx`: requests of httpx carry the trace to the application's own services, and nowhere else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpcore
import httpx

from pytest_langfuse.tracing import singleton
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.langfuse_internals import HTTPX_HOP
from pytest_langfuse.tracing.propagation import hops
from pytest_langfuse.tracing.propagation.patch import Instrumentation, Instrumented, Patch

_EXTENSION = "pytest_langfuse.hop"

SyncHop = Callable[[httpx.Client, httpx.Request], httpx.Response]
AsyncHop = Callable[[httpx.AsyncClient, httpx.Request], Awaitable[httpx.Response]]


def instrument_httpx(client: httpx.Client | httpx.AsyncClient | None = None) -> Instrumentation:
    """Add `traceparent`, `tracestate` and `baggage` to requests that go to hosts of `propagate_to`.

    For one client, or for all, those that exist and those to come. Redirects are looked at one by one: what was added
    for one address does not go on to another that is not on the list. Call it as often as you like, before or after
    `init_tracing`; while no tracing is set up it adds nothing. What it returns can undo it.

    Raises:
        TypeError: `client` is not a client of httpx.
    """
    __tracebackhide__ = True
    return _instrumented.add(client)


def _before(client: httpx.Client | httpx.AsyncClient, request: httpx.Request) -> None:
    try:
        installed = singleton.singleton.installation
        if _instrumented.covers(client) and not (installed is not None and installed.owns(client)):
            last = request.extensions.get(_EXTENSION)
            hop = hops.start(request.headers, str(request.url), last)
            # A new dict: older httpx keeps the one that the application handed in.
            request.extensions = {**request.extensions, _EXTENSION: hop}
    except Exception as error:  # noqa: BLE001 - whatever it is, the request goes out
        failures.report("adding headers to a request", error)


def _sync(original: SyncHop) -> SyncHop:
    def send(client: httpx.Client, request: httpx.Request) -> httpx.Response:
        _before(client, request)
        return original(client, request)

    return send


def _async(original: AsyncHop) -> AsyncHop:
    async def send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
        _before(client, request)
        return await original(client, request)

    return send


def _last_word(request: httpcore.Request) -> None:
    """Undo what an instrumentation of httpx's transports wrote: it names its own span, which Langfuse never gets."""
    try:
        hop = request.extensions.get(_EXTENSION)
        if isinstance(hop, hops.Hop) and hop.keep(headers := httpx.Headers(request.headers)):
            request.headers = headers.raw
    except Exception as error:  # noqa: BLE001 - whatever it is, the request goes out
        failures.report("adding headers to a request", error)


def _sync_pool(original: Any) -> Any:
    def handle_request(pool: httpcore.ConnectionPool, request: httpcore.Request) -> Any:
        _last_word(request)
        return original(pool, request)

    return handle_request


def _async_pool(original: Any) -> Any:
    async def handle_async_request(pool: httpcore.AsyncConnectionPool, request: httpcore.Request) -> Any:
        _last_word(request)
        return await original(pool, request)

    return handle_async_request


_instrumented = Instrumented(
    "instrument_httpx",
    (httpx.Client, httpx.AsyncClient),
    [
        Patch(httpx.Client, HTTPX_HOP, _sync),
        Patch(httpx.AsyncClient, HTTPX_HOP, _async),
        Patch(httpcore.ConnectionPool, "handle_request", _sync_pool),
        Patch(httpcore.AsyncConnectionPool, "handle_async_request", _async_pool),
    ],
)
