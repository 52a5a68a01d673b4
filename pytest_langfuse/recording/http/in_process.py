"""HTTP clients whose requests are answered in this process: no socket, no TLS context.

A client that Langfuse builds for its REST API gets a `RestTransport`, which asks a `HandlerStack`. Its handlers can be
swapped at any time, so one client serves a whole session. Where there is no handler, or it returns `None`, the request
goes where it would have gone without us.

Building an `httpx.Client` costs 20 ms, nearly all of it for the TLS context, so the client that really sends is built
when the first request passes through, which under capture is never.

The only file of the harness with private names of httpx (`_transport`, `_mounts`, `_transport_for_url`; read from
httpx 0.27 and 0.28, and httpx2 2.16). `tests/recording/http/test_in_process.py` fails when one of them goes.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast, runtime_checkable

import httpx

from pytest_langfuse.recording.http.http_library import (
    answers_in_process,
    errors_of,
    for_client,
    for_handlers,
    library_of,
)

#: Answers a request, or returns `None` to let it pass through.
Handler = Callable[[httpx.Request], httpx.Response | None]


@runtime_checkable
class AsyncHandler(Protocol):
    """A handler that answers an `httpx.AsyncClient` separately (respx: side effects that are coroutines)."""

    def __call__(self, request: httpx.Request) -> httpx.Response | None:
        """Answer a synchronous client."""

    def answer_async(self, request: httpx.Request) -> Awaitable[httpx.Response | None]:
        """Answer an asynchronous client."""


class HandlerStack:
    """The handlers that answer the clients built with it.

    `front` is asked before `base` and passes on to it what it does not answer. `choose` may decide for each request, in
    the thread that makes it, which handler is asked. Without any, requests pass through.
    """

    def __init__(
        self, handler: Handler | None = None, *, choose: Callable[[HandlerStack], Handler | None] | None = None
    ) -> None:
        self.base = handler
        self.front: Handler | None = None
        self._choose = choose

    @property
    def handler(self) -> Handler | None:
        """The handler to ask first. Setting it replaces the base."""
        if self._choose is not None:
            return self._choose(self)
        return self.base if self.front is None else self.front

    @handler.setter
    def handler(self, handler: Handler | None) -> None:
        self.base = handler


@runtime_checkable
class WrappingTransport(Protocol):
    """A transport that wraps another, and can wrap a different one instead."""

    inner: httpx.BaseTransport

    def around(self, inner: httpx.BaseTransport) -> httpx.BaseTransport:
        """Return the same wrapper around another transport."""


class RestTransport(httpx.BaseTransport):
    """Answers from the handlers, or sends through `original`, which is called to get the real client.

    Closing it closes only a client that it built itself (`owned`).
    """

    def __init__(self, handlers: HandlerStack, original: Callable[[], httpx.Client], *, owned: bool) -> None:
        self._handlers = handlers
        self._original = original
        self._owned = owned
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer or pass through. Exceptions of the handler (`httpx.ConnectError`, …) reach the caller."""
        handler = self._handlers.handler
        if handler is not None:
            request.read()
            library = library_of(request)
            with errors_of(library, request):
                response = handler(for_handlers(request))
                if response is not None and library is not httpx:
                    response.read()
            if response is not None:
                return cast("httpx.Response", for_client(library, response))
        with self._lock:
            if self._client is None:
                self._client = self._original()
        return _original_transport(self._client, request).handle_request(request)

    def close(self) -> None:
        """Release the connections of a client that was built here."""
        with self._lock:
            client, self._client = self._client, None
        if self._owned and client is not None:
            client.close()


class AsyncRestTransport(httpx.AsyncBaseTransport):
    """`RestTransport` for an `httpx.AsyncClient`."""

    def __init__(self, handlers: HandlerStack, original: Callable[[], httpx.AsyncClient], *, owned: bool) -> None:
        self._handlers = handlers
        self._original = original
        self._owned = owned
        self._client: httpx.AsyncClient | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer or pass through. Exceptions of the handler (`httpx.ConnectError`, …) reach the caller."""
        handler = self._handlers.handler
        if handler is not None:
            await request.aread()
            library = library_of(request)
            with errors_of(library, request):
                asked = for_handlers(request)
                response = await handler.answer_async(asked) if isinstance(handler, AsyncHandler) else handler(asked)
                if response is not None and library is not httpx:
                    await response.aread()
            if response is not None:
                return cast("httpx.Response", for_client(library, response))
        # No lock: there is no await between the look and the assignment.
        if self._client is None:
            self._client = self._original()
        return await _original_async_transport(self._client, request).handle_async_request(request)

    async def aclose(self) -> None:
        """Release the connections of a client that was built here."""
        client, self._client = self._client, None
        if self._owned and client is not None:
            await client.aclose()


def sync_client(
    original: httpx.Client | None,
    *,
    timeout: float | None,
    headers: Mapping[str, str] | None,
    handlers: HandlerStack,
) -> httpx.Client:
    """Return a client for Langfuse's REST API, or a twin of the app's own `original`, that asks `handlers`.

    `timeout` (seconds; `None` waits for ever) and `headers` are for a client that the SDK would have built, as the SDK
    would have (`LangfuseResourceManager._init_api_clients`, langfuse 4.5 and 5.0). The twin shares headers, cookies,
    auth, event hooks and timeout with `original`, and `original` itself is left as it is: the app may use it for more
    than Langfuse. An `original` that answers in process already (`httpx.MockTransport`, `httpx.WSGITransport`) is the
    app's own stand-in and is returned as it is.
    """
    if original is None:

        def build() -> httpx.Client:
            return httpx.Client(timeout=timeout, headers=headers)

        client = httpx.Client(transport=RestTransport(handlers, build, owned=True), timeout=timeout, headers=headers)
        _route_all(client)
        return client
    if answers_in_process(original._transport):  # noqa: SLF001 - see the module
        return original
    twin = copy.copy(original)
    wrapper = original._transport  # noqa: SLF001
    if isinstance(wrapper, WrappingTransport):
        # The wrapper (a breaker, a limit) keeps working; only requests that it lets through are answered here.
        inner = wrapper.inner
        twin._transport = wrapper.around(RestTransport(handlers, lambda: httpx.Client(transport=inner), owned=False))  # noqa: SLF001
    else:
        twin._transport = RestTransport(handlers, lambda: original, owned=False)  # noqa: SLF001
    twin._mounts = {}  # noqa: SLF001
    _route_all(twin)
    return twin


def async_client(
    original: httpx.AsyncClient | None,
    *,
    timeout: float | None,
    headers: Mapping[str, str] | None,
    handlers: HandlerStack,
) -> httpx.AsyncClient:
    """Do what `sync_client` does for the asynchronous API. Redirects are followed, as `AsyncLangfuseAPI` does."""
    if original is None:

        def build() -> httpx.AsyncClient:
            return httpx.AsyncClient(timeout=timeout, headers=headers, follow_redirects=True)

        client = httpx.AsyncClient(
            transport=AsyncRestTransport(handlers, build, owned=True),
            timeout=timeout,
            headers=headers,
            follow_redirects=True,
        )
        _route_all(client)
        return client
    if answers_in_process(original._transport):  # noqa: SLF001
        return original
    twin = copy.copy(original)
    twin._transport = AsyncRestTransport(handlers, lambda: original, owned=False)  # noqa: SLF001
    twin._mounts = {}  # noqa: SLF001
    _route_all(twin)
    return twin


def adopt_client(
    client: httpx.Client | httpx.AsyncClient, handlers: HandlerStack, *, host: str | None = None
) -> Callable[[], None]:
    """Make an existing client ask `handlers`, in place. Return a function that undoes it.

    With `host`, this holds for requests to that host only: the app may use the client for other services, too.
    """
    if answers_in_process(client._transport):  # noqa: SLF001
        return lambda: None
    before = copy.copy(client)
    transport: RestTransport | AsyncRestTransport
    if isinstance(client, library_of(client).AsyncClient):
        transport = AsyncRestTransport(handlers, lambda: cast("httpx.AsyncClient", before), owned=False)
    else:
        transport = RestTransport(handlers, lambda: cast("httpx.Client", before), owned=False)

    def transport_for_url(url: httpx.URL) -> object:
        if host is None or url.host == host:
            return transport
        return before._transport_for_url(url)  # noqa: SLF001

    client._transport_for_url = transport_for_url  # type: ignore[method-assign, assignment]  # noqa: SLF001

    def undo() -> None:
        client.__dict__.pop("_transport_for_url", None)

    return undo


def _route_all(client: httpx.Client | httpx.AsyncClient) -> None:
    """Send every request of `client` through its own transport.

    `respx.mock(using="httpx")` replaces `Client._transport_for_url` on the class, for every client of the process; an
    attribute of the object is found first.
    """
    # Looked up with each request: the breaker of the production module is put around it later.
    client._transport_for_url = lambda url: client._transport  # type: ignore[method-assign, assignment]  # noqa: ARG005, SLF001


def _original_transport(client: httpx.Client, request: httpx.Request) -> httpx.BaseTransport:
    if client.is_closed:
        # As httpx says it: the app closed the client that it had given to Langfuse.
        message = "Cannot send a request, as the client has been closed."
        raise RuntimeError(message)
    return client._transport_for_url(request.url)  # noqa: SLF001 - a mount or a proxy may apply


def _original_async_transport(client: httpx.AsyncClient, request: httpx.Request) -> httpx.AsyncBaseTransport:
    if client.is_closed:
        message = "Cannot send a request, as the client has been closed."
        raise RuntimeError(message)
    return client._transport_for_url(request.url)  # noqa: SLF001
