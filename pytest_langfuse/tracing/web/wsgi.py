"""`LangfuseWSGIMiddleware`: an observation for each request of a WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, cast

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.lazy import exported_by
from pytest_langfuse.tracing.web import request_headers, routes
from pytest_langfuse.tracing.web.django_request import respond
from pytest_langfuse.tracing.web.middleware import Middleware
from pytest_langfuse.tracing.web.served_request import (
    GUARD,
    SERVER_ERROR,
    RequestLine,
    ServedRequest,
    serve,
    with_request_id,
)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


@exported_by("pytest_langfuse.tracing")
class LangfuseWSGIMiddleware(Middleware[Application]):
    """Observe each request of `app`, and give it a request context.

    Takes the keyword arguments of `LangfuseASGIMiddleware`; `user_id`, `session_id` and `route` are called with the
    environ. The observation ends with the last part of the body, or when the server closes it. The context holds while
    the body is produced, and not between its parts.

    In Django's `MIDDLEWARE`, as `"pytest_langfuse.tracing.LangfuseWSGIMiddleware"`, it observes what Django's test
    client requests, too; around Django's application there may be another one.

    Raises:
        TypeError: An option is unknown, with a suggestion, or of the wrong type.
    """

    #: For Django, which asks: an asynchronous application runs it in a thread.
    sync_capable, async_capable = True, False

    def __call__(self, environ: Environ, start_response: StartResponse | None = None) -> Iterable[bytes]:
        """Serve a request: of a server, or, in Django's `MIDDLEWARE`, of Django."""
        if start_response is None:
            get_response: Any = self.app
            return cast("Iterable[bytes]", respond(environ, get_response, self._options, _ObservedBody))
        return self._serve(environ, start_response)

    def _serve(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if GUARD in environ or (served := self._begin(environ)) is None:
            return self.app(environ, start_response)
        mount = environ.get("SCRIPT_NAME", "")
        environ[GUARD] = True

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            _note_status(served, status, exc_info)
            served.length = _length_of(headers)
            # Here already: Flask takes its request out of the environ before it returns.
            self._find_route(served, environ, mount)
            if self._options.send_request_id:
                headers = with_request_id(headers, served, text=True)
            return start_response(status, headers) if exc_info is None else start_response(status, headers, exc_info)

        token = otel_context.attach(served.context)
        try:
            body = self.app(environ, start)
        except BaseException as error:
            self._find_route(served, environ, mount)
            served.failed(error)
            environ.pop(GUARD, None)
            raise
        else:
            self._find_route(served, environ, mount)
            left = otel_context.get_current()
        finally:
            otel_context.detach(token)
        return _watched(body, served, environ, left)

    def _begin(self, environ: Environ) -> ServedRequest | None:
        try:
            path = request_headers.as_utf8(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")) or "/"
            query = request_headers.as_utf8(environ.get("QUERY_STRING", "")) if self._options.capture_query else ""
            line = RequestLine(environ.get("REQUEST_METHOD", ""), path, query)
            headers = request_headers.of_environ(environ)
        except Exception as error:  # noqa: BLE001 - whatever it is, the application is to see the request
            failures.report("reading a request", error)
            return None
        return serve(line, headers, environ, self._options)

    def _find_route(self, served: ServedRequest, environ: Environ, mount: str) -> None:
        if served.ended or served.route is not None:
            return
        try:
            served.route = self._options.route(environ) or routes.of_environ(environ, mount)
            if served.route is None and self._django:
                served.route = routes.of_django(request_headers.as_utf8(environ.get("PATH_INFO", "")) or "/")
        except Exception as error:  # noqa: BLE001 - the name is a shorter one then
            failures.report("finding a request's route", error)


def _note_status(served: ServedRequest, status: str, exc_info: Any) -> None:
    code = status[:3]
    served.status = int(code) if code.isascii() and code.isdigit() else None
    if exc_info and (served.status is None or served.status >= SERVER_ERROR):
        served.error = exc_info[1]


def _length_of(headers: Iterable[tuple[str, str]]) -> int | None:
    found = [value for name, value in headers if name.lower() == "content-length"]
    return int(found[0]) if found and found[0].isascii() and found[0].isdigit() else None


def _watched(body: Iterable[bytes], served: ServedRequest, environ: Environ, context: Context) -> Iterable[bytes]:
    """The body, so that its end is noticed; what is complete already, or goes to the kernel, stays as it is."""
    if isinstance(body, (list, tuple)):
        environ.pop(GUARD, None)
        served.end()
        return body
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type) and isinstance(body, wrapper):
        return _watched_file(body, served)
    return (_SizedObservedBody if hasattr(body, "__len__") else _ObservedBody)(body, served, environ, context)


def _watched_file(body: Any, served: ServedRequest) -> Iterable[bytes]:
    """A server recognises its own file wrapper and sends the file itself: only the closing can be watched."""
    close = getattr(body, "close", None)

    def close_watched() -> None:
        try:
            if close is not None:
                close()
        finally:
            served.end()

    same: Iterable[bytes] = body
    try:
        body.close = close_watched
    except AttributeError:
        served.end()
    return same


class _ObservedBody:
    """A body whose parts are produced in the request's context, each in whatever context the last one has left."""

    def __init__(self, body: Iterable[bytes], served: ServedRequest, environ: Environ, context: Context) -> None:
        self._body, self._served, self._environ, self._context = body, served, environ, context
        self._parts: Iterator[bytes] | None = None
        self._passed = 0
        # A generator has work to do after its last part.
        self._length = None if isinstance(body, Generator) else served.length

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = otel_context.attach(self._context)
        try:
            if self._parts is None:
                self._parts = iter(self._body)
            part = next(self._parts)
        except StopIteration:
            self._served.end()
            raise
        except BaseException as error:
            self._served.failed(error)
            raise
        finally:
            self._context = otel_context.get_current()
            otel_context.detach(token)
        if self._length is not None:
            self._passed += len(part)
            if self._passed >= self._length:
                # That was all. Not everybody comes back to be told so: Flask's test client does not.
                self._served.end()
        return part

    def close(self) -> None:
        """The server wants no more: all was sent, or its client has left."""
        token = otel_context.attach(self._context)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._served.failed(error)
            raise
        else:
            # A server may skip the body of an answer to HEAD.
            self._served.end(complete=self._environ.get("REQUEST_METHOD") == "HEAD")
        finally:
            otel_context.detach(token)
            self._environ.pop(GUARD, None)


class _SizedObservedBody(_ObservedBody):
    """A body that says how many parts it has; servers make a Content-Length of one."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type] # only bodies that have a length are wrapped in this
