"""The options that the ASGI, WSGI and aiohttp middleware have in common."""

from __future__ import annotations

import fnmatch
import random
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from pytest_langfuse.tracing import setting_parsers as parsing
from pytest_langfuse.tracing.arguments import checked
from pytest_langfuse.tracing.context import RequestContext
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.suggest import did_you_mean
from pytest_langfuse.tracing.web import request_headers
from pytest_langfuse.tracing.web.request_headers import RequestHeaders
from pytest_langfuse.tracing.web.routes import normalised

#: Called with the ASGI scope, the WSGI environ or the `aiohttp.web.Request`.
Resolver = Callable[[Any], str | None]


class MiddlewareOptions(TypedDict, total=False):
    """The keyword arguments of each middleware; `LangfuseASGIMiddleware` explains them."""

    trusted: bool | None
    capture_query: bool
    exclude: Iterable[str]
    user_id: Resolver | None
    session_id: Resolver | None
    route: Resolver | None
    send_request_id: bool


_RESOLVER = parsing.functions(allowed="a function that gets the scope, environ or request", example="lambda scope: ...")
_PARSERS = {
    "trusted": parsing.boolean,
    "capture_query": parsing.boolean,
    "exclude": parsing.texts("paths", example="('/healthz',)"),
    "user_id": _RESOLVER,
    "session_id": _RESOLVER,
    "route": _RESOLVER,
    "send_request_id": parsing.boolean,
}
#: `None` is their default.
_OPTIONAL = frozenset({"trusted", "user_id", "session_id", "route"})


class MiddlewareSettings:
    """The options of a middleware, checked and with their defaults."""

    def __init__(self, options: MiddlewareOptions) -> None:
        __tracebackhide__ = True
        unknown = [name for name in options if name not in MiddlewareOptions.__annotations__]
        if unknown:
            hint = did_you_mean(unknown[0], MiddlewareOptions.__annotations__, what="options")
            raise TypeError(f"unexpected keyword argument {unknown[0]!r} for the middleware{hint}")
        self._user_id, self._session_id = options.get("user_id"), options.get("session_id")
        self._route = options.get("route")
        for name, value in options.items():
            if value is not None or name not in _OPTIONAL:
                checked("the middleware", name, value, _PARSERS[name])
        self._trusted = options.get("trusted")
        self.capture_query = options.get("capture_query", False)
        self.send_request_id = options.get("send_request_id", False)
        patterns = _PARSERS["exclude"](options.get("exclude", ()))
        self._excluded = re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else None

    def excludes(self, path: str) -> bool:
        """Return whether requests of this path are not observed."""
        return self._excluded is not None and self._excluded.match(path) is not None

    def route(self, source: Any) -> str | None:
        """Return the route that the application names."""
        template = _asked("route", self._route, source)
        return normalised(template) if template else None

    def context(self, source: Any, headers: RequestHeaders, *, trusted: bool) -> RequestContext:
        """Return the context of the request."""
        user = _asked("user_id", self._user_id, source)
        session = _asked("session_id", self._session_id, source)
        request = headers.plain_identifier(request_headers.REQUEST)
        if trusted:
            user = user or headers.identifier(request_headers.USER)
            session = session or headers.identifier(request_headers.SESSION)
            request = request or headers.identifier(request_headers.REQUEST)
        return RequestContext(user_id=user, session_id=session, request_id=request or _new_id())

    def trusts(self, installed: Any) -> bool:
        """Return whether headers are believed."""
        if self._trusted is not None:
            return self._trusted
        return installed is not None and bool(installed.config.trusted_request_headers)


def _new_id() -> str:
    """Return a UUID of version 4, from the generator of OpenTelemetry's ids: without a system call."""
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def _asked(what: str, resolver: Resolver | None, source: Any) -> str | None:
    if resolver is None:
        return None
    try:
        answer = resolver(source)
    except Exception as error:  # noqa: BLE001 - the request is served, with or without it
        failures.report(f"asking {what}= of the middleware", error)
        return None
    return None if answer is None else str(answer)
