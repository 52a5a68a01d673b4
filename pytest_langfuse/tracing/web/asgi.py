"""`LangfuseASGIMiddleware`: an observation for each HTTP request of an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry import context as otel_context

from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.lazy import exported_by
from pytest_langfuse.tracing.web import request_headers, routes
from pytest_langfuse.tracing.web.fastapi_operations import TELEMETRY, with_kept_context
from pytest_langfuse.tracing.web.middleware import Middleware
from pytest_langfuse.tracing.web.served_request import GUARD, RequestLine, ServedRequest, serve, with_request_id

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


@exported_by("pytest_langfuse.tracing")
class LangfuseASGIMiddleware(Middleware[Application]):
    """Observe each HTTP request of `app`, and give it a request context.

    The observation is named by method and route (`GET /items/{i}`), its input is `{"method", "path"}`, its output
    `{"status_code"}`, its metadata user, session and request id. It ends with the last message of the response's body;
    what a background task does afterwards is below it. WebSocket and lifespan pass untouched. Inside, everything has
    the context of `get_request_context()`.

    Before `init_tracing`, without keys, and for paths that match `exclude` (globs), there is only the context.

    Args:
        app: The application.
        trusted: Believe `x-user-id`, `x-session-id`, `traceparent` and baggage of the request: only behind a gateway
            that sets or removes them all. `None` is the setting `trusted_request_headers`. If not, the caller's span
            is linked, and the request starts a trace. `x-request-id` is taken from anybody if it is plain
            (128 letters, digits and `_.:+/=@-` at most); otherwise the request's id is a new UUID.
        capture_query: Show the query string too.
        exclude: Paths, globs allowed, that are not observed.
        user_id: Returns the user for a scope; wins over the header.
        session_id: Returns the session for a scope; wins over the header.
        route: Returns the template of the route for a scope, for frameworks that are not known here.
        send_request_id: Send the request's id back as `x-request-id`, unless the application does.

    Raises:
        TypeError: An option is unknown, with a suggestion, or of the wrong type.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or whatever else the server asks for."""
        if scope["type"] != "http" or GUARD in scope:
            if scope["type"] == "websocket" and (TELEMETRY in scope or routes.is_fastapi(self.app)):
                scope = with_kept_context(scope)
            await self.app(scope, receive, send)
            return
        if (served := self._begin(scope)) is None:
            await self.app(with_kept_context(scope), receive, send)
            return
        if not served.ended or self._options.send_request_id:
            messages = _Messages(self, served, scope, receive, send)
            receive, send = messages.receive, messages.send
        scope[GUARD] = True
        token = otel_context.attach(served.context)
        try:
            await self.app(with_kept_context(scope), receive, send)
        except GeneratorExit as error:
            # The server has thrown the coroutine away, perhaps from a context where the token means nothing.
            if otel_context.get_current() is served.context:
                otel_context.detach(token)
            served.failed(error)
            raise
        except BaseException as error:
            otel_context.detach(token)
            self.find_route(served, scope)
            served.failed(error)
            raise
        else:
            otel_context.detach(token)
            self.find_route(served, scope)
            served.end(complete=False)
        finally:
            # A scope may be used again: for another request it is as new.
            scope.pop(GUARD, None)

    def _begin(self, scope: Scope) -> ServedRequest | None:
        try:
            query = scope.get("query_string", b"").decode("utf-8", "replace") if self._options.capture_query else ""
            line = RequestLine(scope.get("method", ""), scope.get("path", ""), query)
            headers = request_headers.of_scope(scope.get("headers", ()))
        except Exception as error:  # noqa: BLE001 - whatever it is, the application is to see the request
            failures.report("reading a request", error)
            return None
        return serve(line, headers, scope, self._options)

    def find_route(self, served: ServedRequest, scope: Scope) -> None:
        """Note the route as soon as the framework has found it."""
        if served.ended or served.route is not None:
            return
        try:
            served.route = self._options.route(scope) or routes.of_scope(scope)
            if served.route is None and self._django:
                served.route = routes.of_django(scope["path"].removeprefix(scope.get("root_path", "")))
        except Exception as error:  # noqa: BLE001 - the name is a shorter one then
            failures.report("finding a request's route", error)

    def change_start(self, message: Message, served: ServedRequest) -> Message:
        """The response's start as it goes out."""
        if not self._options.send_request_id:
            return message
        return {**message, "headers": with_request_id(message.get("headers", ()), served, text=False)}


class _Messages:
    """The messages between server and application for one request."""

    __slots__ = ("_middleware", "_receive", "_scope", "_send", "_served", "_trailers")

    def __init__(
        self, middleware: LangfuseASGIMiddleware, served: ServedRequest, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._middleware, self._served, self._scope = middleware, served, scope
        self._receive, self._send = receive, send
        self._trailers = False

    async def receive(self) -> Message:
        """The server's next message; once the response has begun, a disconnect ends it."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._served.status is not None:
            self._served.end(complete=False)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on; the last of the body ends the observation."""
        kind = message["type"]
        if kind == "http.response.start":
            self._served.status = message["status"]
            self._trailers = bool(message.get("trailers", False))
            # Here and not later: the framework's state is complete only inside of it.
            self._middleware.find_route(self._served, self._scope)
            message = self._middleware.change_start(message, self._served)
        await self._send(message)
        if (
            (kind == "http.response.body" and not message.get("more_body", False) and not self._trailers)
            or kind == "http.response.pathsend"
            or (kind == "http.response.trailers" and not message.get("more_trailers", False))
        ):
            self._served.sent()
