"""What the middlewares of both server interfaces are built of, whatever they wrap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from pytest_langfuse.tracing.web import routes
from pytest_langfuse.tracing.web.served_request import MiddlewareOptions, Resolver

Application = TypeVar("Application")


class Middleware(Generic[Application]):
    """Wraps an application; the arguments are explained by `LangfuseASGIMiddleware`."""

    def __init__(
        self,
        app: Application,
        *,
        trusted: bool | None = None,
        capture_query: bool = False,
        exclude: Iterable[str] = (),
        user_id: Resolver | None = None,
        session_id: Resolver | None = None,
        route: Resolver | None = None,
        send_request_id: bool = False,
    ) -> None:
        self.app = app
        self._options = MiddlewareOptions(
            trusted=trusted,
            capture_query=capture_query,
            exclude=exclude,
            user_id=user_id,
            session_id=session_id,
            route=route,
            send_request_id=send_request_id,
        )
        self._django = routes.is_django(app)
