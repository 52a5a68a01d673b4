"""`langfuse_aiohttp_middleware`: an observation for each request of an aiohttp server, which has no ASGI or WSGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Unpack

from opentelemetry import context as otel_context

from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.global_propagator import SERVED_REQUEST
from pytest_langfuse.tracing.web import request_headers, routes
from pytest_langfuse.tracing.web.middleware_options import MiddlewareOptions, MiddlewareSettings
from pytest_langfuse.tracing.web.served_request import (
    RequestLine,
    ServedRequest,
    serve,
)

Handler = Callable[[Any], Awaitable[Any]]


def langfuse_aiohttp_middleware(**options: Unpack[MiddlewareOptions]) -> Callable[[Any, Handler], Awaitable[Any]]:
    """Return a middleware for `aiohttp.web.Application(middlewares=[...])`; put it first.

    Takes the keyword arguments of `LangfuseASGIMiddleware`; `user_id`, `session_id` and `route` are called with the
    `aiohttp.web.Request`. The observation ends when the handler returns its response, or has streamed it. WebSocket
    handshakes pass untouched.

    Raises:
        TypeError: An option is unknown, with a suggestion, or of the wrong type.
    """
    __tracebackhide__ = True
    settings = MiddlewareSettings(options)

    async def middleware(request: Any, handler: Handler) -> Any:
        if (
            otel_context.get_value(SERVED_REQUEST) is request
            or request.headers.get("upgrade", "").lower() == "websocket"
        ):
            return await handler(request)
        served = _begin(request, settings)
        if served is None:
            return await handler(request)
        # Not in the request, where aiohttp warns of names that it has not made.
        served.context = otel_context.set_value(SERVED_REQUEST, request, served.context)
        token = otel_context.attach(served.context)
        try:
            response = await handler(request)
        except GeneratorExit as error:
            if otel_context.get_current() is served.context:
                otel_context.detach(token)
            served.failed(error)
            raise
        except BaseException as error:
            otel_context.detach(token)
            _raised(served, error)
            raise
        otel_context.detach(token)
        served.status = getattr(response, "status", None)
        served.end()
        if settings.send_request_id and not getattr(response, "prepared", True):
            response.headers.setdefault("x-request-id", served.request_id)
        return response

    # What `@aiohttp.web.middleware` sets; without it aiohttp takes a function for a factory of its first versions.
    middleware.__middleware_version__ = 1  # type: ignore[attr-defined]
    return middleware


def _begin(request: Any, settings: MiddlewareSettings) -> ServedRequest | None:
    try:
        line = RequestLine(request.method, request.path, request.query_string if settings.capture_query else "")
        headers = request_headers.of_scope(request.raw_headers)
    except Exception as error:  # noqa: BLE001 - whatever it is, the application is to see the request
        failures.report("reading a request", error)
        return None
    served = serve(line, headers, request, settings)
    if served is not None and not served.ended:
        try:
            served.route = settings.route(request) or _template(request)
        except Exception as error:  # noqa: BLE001 - the name is a shorter one then
            failures.report("finding a request's route", error)
    return served


def _template(request: Any) -> str | None:
    """Return the route, which aiohttp finds before any middleware runs; sub-applications are included."""
    resource = getattr(getattr(request.match_info, "route", None), "resource", None)
    canonical = getattr(resource, "canonical", None)
    return routes.normalised(canonical) if isinstance(canonical, str) else None


def _raised(served: ServedRequest, error: BaseException) -> None:
    """End a request that raised; some of aiohttp's exceptions are responses."""
    status = getattr(error, "status", None)
    if isinstance(error, Exception) and isinstance(status, int) and hasattr(error, "prepared"):
        served.status = status
        served.end()
    else:
        served.failed(error)
