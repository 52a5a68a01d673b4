"""`instrument_requests`: as `instrument_httpx`, for requests."""

from __future__ import annotations

import functools
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.propagation import hops, w3c_headers
from pytest_langfuse.tracing.propagation.patch import Instrumentation, Instrumented, Patch

if TYPE_CHECKING:
    import requests


def instrument_requests(session: requests.Session | None = None) -> Instrumentation:
    """Add `traceparent`, `tracestate` and `baggage` to requests that go to hosts of `propagate_to`.

    For one session, or for all, those that exist and those to come, `requests.get` included. Redirects are looked at
    one by one: what was added for one address does not go on to another that is not on the list. Call it as often as
    you like, before or after `init_tracing`; while no tracing is set up it adds nothing. What it returns can undo it.

    Raises:
        TypeError: `session` is not a session of requests.
        ModuleNotFoundError: requests is not installed.
    """
    __tracebackhide__ = True
    return _instrumented().add(session)


class _Marked(str):
    """The value of a header that we wrote. requests copies headers for the next hop, but not their values."""

    __slots__ = ("hop",)
    hop: hops.Hop


#: Of the request that is being sent here; `None` if it is not instrumented.
_current: ContextVar[hops.Hop | None] = ContextVar("pytest_langfuse.requests_hop", default=None)


@functools.cache
def _instrumented() -> Instrumented:
    try:
        import requests
    except ModuleNotFoundError as error:
        message = "instrument_requests() needs requests. Fix: pip install requests"
        raise ModuleNotFoundError(message, name=error.name) from None
    patches = [
        Patch(requests.Session, "send", _session),
        Patch(requests.adapters.HTTPAdapter, "send", _adapter),
    ]
    return Instrumented("instrument_requests", (requests.Session,), patches)


def _session(original: Any) -> Any:
    def send(self: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> Any:
        token = _current.set(_before(self, request))
        try:
            return original(self, request, **kwargs)
        finally:
            _current.reset(token)

    return send


def _adapter(original: Any) -> Any:
    def send(self: Any, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        # Undo what an instrumentation of sessions wrote: it names its own span, which Langfuse never gets.
        try:
            if (hop := _current.get()) is not None and hop.keep(request.headers):
                _mark(request.headers, hop)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes out
            failures.report("adding headers to a request", error)
        return original(self, request, *args, **kwargs)

    return send


def _before(session: requests.Session, request: requests.PreparedRequest) -> hops.Hop | None:
    try:
        if not _instrumented().covers(session):
            return None
        last = next((value.hop for value in request.headers.values() if isinstance(value, _Marked)), None)
        hop = hops.start(request.headers, str(request.url), last)
        _mark(request.headers, hop)
    except Exception as error:  # noqa: BLE001 - whatever it is, the request goes out
        failures.report("adding headers to a request", error)
        return None
    return hop


def _mark(headers: MutableMapping[str, Any], hop: hops.Hop) -> None:
    for name in w3c_headers.W3C_NAMES:
        if name in hop.changes and (value := w3c_headers.values(headers, name)):
            headers[name] = marked = _Marked(value)
            marked.hop = hop
