"""An observation for a request inside of Django, where its test client comes through, too."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.generator_context import GeneratorContext, wrap_async_generator
from pytest_langfuse.tracing.web import request_headers, routes
from pytest_langfuse.tracing.web.middleware_options import MiddlewareSettings
from pytest_langfuse.tracing.web.served_request import (
    GUARD,
    RequestLine,
    ServedRequest,
    serve,
    with_request_id,
)

#: Watches a body whose parts are produced after the middlewares: `wsgi._ObservedBody`.
BodyWatch = Callable[[Iterable[bytes], ServedRequest, dict[str, Any], Context], Iterable[bytes]]


def respond(request: Any, get_response: Callable[[Any], Any], settings: MiddlewareSettings, watched: BodyWatch) -> Any:
    """Return the response to Django's request, observed unless one of our middlewares is around Django already."""
    around = (request.META, getattr(request, "scope", {}))
    served = None if any(GUARD in one for one in around) else _begin(request, settings)
    if served is None:
        return get_response(request)
    request.META[GUARD] = True
    token = otel_context.attach(served.context)
    try:
        response = get_response(request)
        inside = otel_context.get_current()
    except BaseException as error:
        served.failed(error)
        raise
    finally:
        otel_context.detach(token)
        request.META.pop(GUARD, None)
    try:
        _finish(request, response, served, settings, lambda body: watched(body, served, request.META, inside))
    except Exception as error:  # noqa: BLE001 - whatever it is, the response goes out
        failures.report("ending a request's observation", error)
    return response


def _begin(request: Any, settings: MiddlewareSettings) -> ServedRequest | None:
    try:
        query = request.META.get("QUERY_STRING", "") if settings.capture_query else ""
        line = RequestLine(request.method or "", request.path, request_headers.as_utf8(query))
        headers = request_headers.of_environ(request.META)
    except Exception as error:  # noqa: BLE001 - whatever it is, the application is to see the request
        failures.report("reading a request", error)
        return None
    return serve(line, headers, request, settings)


def _finish(
    request: Any,
    response: Any,
    served: ServedRequest,
    settings: MiddlewareSettings,
    watched: Callable[[Iterable[bytes]], Iterable[bytes]],
) -> None:
    served.status = response.status_code
    match = getattr(request, "resolver_match", None)
    served.route = settings.route(request) or (routes.normalised(match.route) if match is not None else None)
    if settings.send_request_id:
        for name, value in with_request_id((), served, text=True):
            response.headers.setdefault(name, value)
    if not getattr(response, "streaming", False):
        served.end()
    elif response.is_async:
        response.streaming_content = _watched_async(response.streaming_content, served)
    else:
        response.streaming_content = watched(response.streaming_content)


def _watched_async(parts: AsyncIterator[bytes], served: ServedRequest) -> AsyncIterator[bytes]:
    async def all_of_them() -> AsyncGenerator[bytes, None]:
        try:
            async for part in parts:
                yield part
        except BaseException as error:
            served.failed(error)
            raise
        served.end()

    wrapped: AsyncIterator[bytes] = wrap_async_generator(all_of_them, lambda _a, _k: GeneratorContext(served.context))()
    return wrapped
