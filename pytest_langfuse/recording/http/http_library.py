"""The library of an HTTP client: httpx, or httpx2, which has the same classes.

Handlers speak httpx. A client of the other library gets responses and errors of that one, as from its own transport.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

_SUCCESSOR = "httpx2"
#: Of a body that was decoded; the length is set anew.
_OF_ENCODED_BODY = {b"content-encoding", b"content-length", b"transfer-encoding"}


def library_of(value: object) -> Any:
    """Return the module `httpx` or `httpx2`, whichever a client, request or transport is of."""
    if any(base.__module__.partition(".")[0] == _SUCCESSOR for base in type(value).__mro__):
        return sys.modules[_SUCCESSOR]
    return httpx


def answers_in_process(transport: object) -> bool:
    """Return whether a transport is one that the app gave to its client for tests: a mock, WSGI or ASGI."""
    library = library_of(transport)
    names = ("MockTransport", "WSGITransport", "ASGITransport")
    return isinstance(transport, tuple(getattr(library, name) for name in names if hasattr(library, name)))


def for_handlers(request: Any) -> httpx.Request:
    """Return a request that has been read, as httpx has it."""
    if isinstance(request, httpx.Request):
        return request
    asked = httpx.Request(
        request.method,
        str(request.url),
        headers=request.headers.raw,
        # Not `content`, which would add headers.
        stream=httpx.ByteStream(request.content),
        extensions=request.extensions,
    )
    asked.read()
    return asked


def for_client(library: Any, response: httpx.Response) -> Any:
    """Return a response that has been read, as `library` has it."""
    if library is httpx:
        return response
    headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _OF_ENCODED_BODY]
    return library.Response(
        response.status_code, headers=headers, content=response.content, extensions=response.extensions
    )


@contextmanager
def errors_of(library: Any, request: Any) -> Iterator[None]:
    """Turn each error of httpx inside the block into the one of `library` that has the same name."""
    try:
        yield
    except httpx.RequestError as error:
        if library is httpx:
            raise
        of_library = getattr(library, type(error).__name__, library.TransportError)
        raise of_library(str(error), request=request) from error
