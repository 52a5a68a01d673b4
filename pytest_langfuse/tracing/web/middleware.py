"""The common base of the ASGI and the WSGI middleware."""

from __future__ import annotations

from typing import Generic, TypeVar, Unpack

from pytest_langfuse.tracing import setting_parsers as parsing
from pytest_langfuse.tracing.arguments import checked
from pytest_langfuse.tracing.web import routes
from pytest_langfuse.tracing.web.middleware_options import MiddlewareOptions, MiddlewareSettings

Application = TypeVar("Application")


class Middleware(Generic[Application]):
    """Wraps an application; `LangfuseASGIMiddleware` explains the keyword arguments."""

    def __init__(self, app: Application, **options: Unpack[MiddlewareOptions]) -> None:
        __tracebackhide__ = True
        self.app: Application = checked("the middleware", "app", app, parsing.function)
        self._options = MiddlewareSettings(options)
        self._django = routes.is_django(app)
