"""`instrument_httpx`: requests of httpx carry the trace to the application's own services, and nowhere else.

So do those of httpx2, which OpenAI's client uses from version 3 on: it has the classes of httpx under other names.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from pytest_langfuse.tracing import singleton
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.langfuse_internals import HTTPX_HOP
from pytest_langfuse.tracing.propagation import hops
from pytest_langfuse.tracing.propagation.patch import Instrumentation, Instrumented, Patch

if TYPE_CHECKING:
    import httpx2

_EXTENSION = "pytest_langfuse.hop"

SyncHop = Callable[[httpx.Client, httpx.Request], httpx.Response]
AsyncHop = Callable[[httpx.AsyncClient, httpx.Request], Awaitable[httpx.Response]]


def instrument_httpx(
    client: httpx.Client | httpx.AsyncClient | httpx2.Client | httpx2.AsyncClient | None = None,
) -> Instrumentation:
    """Add `traceparent`, `tracestate` and `baggage` to requests of httpx and httpx2 to hosts of `propagate_to`.

    For one client, or for all, those that exist and those to come. Redirects are looked at one by one: what was added
    for one address does not go on to another that is not on the list. Call it as often as you like, before or after
    `init_tracing`; while no tracing is set up it adds nothing. What it returns can undo it.

    Raises:
        TypeError: `client` is not a client of httpx or httpx2.
    """
    __tracebackhide__ = True
    return _instrumented().add(client)


def _before(client: httpx.Client | httpx.AsyncClient, request: httpx.Request) -> None:
    try:
        installed = singleton.singleton.installation
        if _instrumented().covers(client) and not (installed is not None and installed.owns(client)):
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


@functools.cache
def _instrumented() -> Instrumented:
    kinds: tuple[type, ...] = (httpx.Client, httpx.AsyncClient)
    pools: tuple[type, ...] = (httpcore.ConnectionPool, httpcore.AsyncConnectionPool)
    if importlib.util.find_spec("httpx2") is not None and importlib.util.find_spec("httpcore2") is not None:
        second, core = importlib.import_module("httpx2"), importlib.import_module("httpcore2")
        kinds += (second.Client, second.AsyncClient)
        pools += (core.ConnectionPool, core.AsyncConnectionPool)
    patches = [Patch(kind, HTTPX_HOP, _async if kind.__name__.startswith("Async") else _sync) for kind in kinds]
    for pool in pools:
        if pool.__name__.startswith("Async"):
            patches.append(Patch(pool, "handle_async_request", _async_pool))
        else:
            patches.append(Patch(pool, "handle_request", _sync_pool))
    return Instrumented("instrument_httpx", kinds, patches)
