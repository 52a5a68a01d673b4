"""`instrument_aiohttp`: as `instrument_httpx`, for aiohttp's client."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.propagation import hops
from pytest_langfuse.tracing.propagation.patch import Instrumentation, Instrumented, Patch

if TYPE_CHECKING:
    import aiohttp


def instrument_aiohttp(session: aiohttp.ClientSession | None = None) -> Instrumentation:
    """Add `traceparent`, `tracestate` and `baggage` to requests that go to hosts of `propagate_to`.

    For one session, or for all, those that exist and those to come. Redirects are looked at one by one: what was added
    for one address does not go on to another that is not on the list. Call it as often as you like, before or after
    `init_tracing`; while no tracing is set up it adds nothing. What it returns can undo it.

    Raises:
        ModuleNotFoundError: aiohttp is not installed.
        TypeError: `session` is not a session of aiohttp.
    """
    __tracebackhide__ = True
    return _instrumented().add(session)


@functools.cache
def _instrumented() -> Instrumented:
    try:
        import aiohttp
    except ModuleNotFoundError as error:
        message = "instrument_aiohttp() needs aiohttp. Fix: pip install aiohttp"
        raise ModuleNotFoundError(message, name=error.name) from None
    return Instrumented(
        "instrument_aiohttp", (aiohttp.ClientSession,), [Patch(aiohttp.ClientRequest, "send", _request)]
    )


def _request(original: Any) -> Any:
    async def send(self: aiohttp.ClientRequest, *args: Any, **kwargs: Any) -> Any:
        # One for each redirect, with a copy of what the application gave: nothing has to be undone.
        try:
            if _instrumented().covers(self.session):
                hops.start(self.headers, str(self.url), None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes out
            failures.report("adding headers to a request", error)
        return await original(self, *args, **kwargs)

    return send
