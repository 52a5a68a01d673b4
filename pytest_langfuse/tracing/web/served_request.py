"""One served request: its context and its observation, whichever server interface it came through."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from pytest_langfuse.tracing import singleton
from pytest_langfuse.tracing.context import RequestContext, within
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.langfuse_internals import OUTPUT
from pytest_langfuse.tracing.observed_error import masked, record_exception
from pytest_langfuse.tracing.open_requests import open_requests
from pytest_langfuse.tracing.web import request_headers
from pytest_langfuse.tracing.web.middleware_options import MiddlewareSettings
from pytest_langfuse.tracing.web.parent import find_parent
from pytest_langfuse.tracing.web.request_headers import RequestHeaders

#: In a scope or an environ that one of the middlewares is observing already.
GUARD = "pytest_langfuse.tracing"

SERVER_ERROR = 500
_REQUEST_ID = "x-request-id"


class RequestLine(NamedTuple):
    """The first line of a request."""

    method: str
    path: str
    query: str


class ServedRequest:
    """A request while it is served. No method raises, whatever tracing does."""

    __slots__ = (
        "__weakref__", "_end_time", "_masked", "_name", "_observation", "context", "ended", "error", "length",
        "request_id", "route", "status",
    )  # fmt: skip

    def __init__(self, context: Context, request_id: str, name: str, observation: Any, *, masked: bool = False) -> None:
        #: What the application runs in.
        self.context = context
        self.request_id = request_id
        self._name, self._observation, self._masked = name, observation, masked
        self.ended = observation is None
        self.status: int | None = None
        #: The length of the body (bytes), where it is known before it is sent.
        self.length: int | None = None
        self.route: str | None = None
        self.error: BaseException | None = None
        self._end_time: int | None = None
        if not self.ended:
            open_requests.add(self)

    def sent(self) -> None:
        """The last of the response's body has gone out. Why it is an error may only be known when the error comes."""
        if self.status is not None and self.status >= SERVER_ERROR:
            self._end_time = time.time_ns()
        else:
            self.end()

    def end(self, *, complete: bool = True) -> None:
        """The response is through; not `complete`: its reader has left, or the application has stopped."""
        if not self.ended:
            self.ended = True
            try:
                self._end(complete=complete)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not the application's
                failures.report("ending a request's observation", error)

    def failed(self, error: BaseException) -> None:
        """The application has raised: that is the end, unless the response was through before."""
        if self.error is None:
            self.error = error
        self.end(complete=False)

    def _end(self, *, complete: bool) -> None:
        try:
            level, message = self._verdict(complete=complete)
            span = trace.get_current_span(self.context)
            if self.route:
                span.update_name(f"{self._name} {self.route}")
            if self.status is not None and not self._masked:
                # As `update` would; it takes longer for that than for the rest of the request's observation.
                span.set_attribute(OUTPUT, f'{{"status_code": {self.status}}}')
            elif self.status is not None:
                self._observation.update(output={"status_code": self.status})
            if level is not None:
                self._observation.update(level=level, status_message=masked(message or "", self._observation))
            if isinstance(self.error, Exception):
                record_exception(span, self.error, self._observation)
        finally:
            # An error holds its frames, and one of them may hold this.
            self.error = None
            self._observation.end(end_time=self._end_time)
            open_requests.discard(self)

    def _verdict(self, *, complete: bool) -> tuple[Any, str | None]:
        error = self.error
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            return "WARNING", "cancelled before the response was complete"
        if error is not None:
            if self.status is None:
                # Servers answer so for an application that has failed before it answered.
                self.status = SERVER_ERROR
            return "ERROR", _described(error)
        if self.status is not None and self.status >= SERVER_ERROR:
            return "ERROR", _phrase(self.status)
        if not complete and self._end_time is None:
            return "WARNING", "the client left before the response was complete"
        return None, None


def serve(line: RequestLine, headers: RequestHeaders, source: Any, options: MiddlewareSettings) -> ServedRequest | None:
    """Begin a request. Return `None` if even its context can't be made. `source` is the scope or environ."""
    try:
        installed = singleton.singleton.installation
        trusted = options.trusts(installed)
        request = options.context(source, headers, trusted=trusted)
        if installed is None or not installed.enabled or options.excludes(line.path):
            return ServedRequest(within(request), str(request.request_id), "", None)
        return _observed(line, headers, request, options, installed=installed, trusted=trusted)
    except Exception as error:  # noqa: BLE001 - the request is served, with or without it
        failures.report("starting a request's observation", error)
        return None


def _observed(
    line: RequestLine,
    headers: RequestHeaders,
    request: RequestContext,
    options: MiddlewareSettings,
    *,
    installed: Any,
    trusted: bool,
) -> ServedRequest:
    parent, links = find_parent(headers, trusted=trusted)
    token = otel_context.attach(_around(request, parent))
    try:
        name = request_headers.method_name(line.method)
        given: Any = {"method": request_headers.shown_method(line.method), "path": request_headers.shown(line.path)}
        if options.capture_query:
            given["query"] = request_headers.shown(line.query)
        masked = "mask" in installed.client_arguments
        if not masked:
            # As the SDK encodes it, in a third of the time. The application's mask gets it as it is.
            given = json.dumps(given)
        about = {"user_id": request.user_id, "session_id": request.session_id, "request_id": request.request_id}
        with installed.client.start_as_current_observation(
            name=name,
            input=given,
            metadata={key: value for key, value in about.items() if value is not None},
            end_on_exit=False,
        ) as observation:
            inside = otel_context.get_current()
            if links:
                span = trace.get_current_span()
                for link in links:
                    span.add_link(link)
    finally:
        otel_context.detach(token)
    return ServedRequest(inside, str(request.request_id), name, observation, masked=masked)


def _around(request: RequestContext, parent: Context) -> Context:
    """The request's values in `parent`, without marking the span there: it is not a part of this request."""
    span = trace.get_current_span(parent)
    if not span.get_span_context().is_valid:
        return within(request, parent)
    return trace.set_span_in_context(span, within(request, trace.set_span_in_context(trace.INVALID_SPAN, parent)))


def _described(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error of the application may do anything
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def with_request_id(headers: Iterable[tuple[Any, Any]], served: ServedRequest, *, text: bool) -> list[tuple[Any, Any]]:
    """The response's headers with the request's id, unless the application has set one."""
    pairs = list(headers)
    name: Any = _REQUEST_ID if text else _REQUEST_ID.encode()
    if not any(key.lower() == name for key, _ in pairs):
        pairs.append((name, served.request_id if text else served.request_id.encode()))
    return pairs
