"""A request to the public API, and the ways to answer it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import httpx

from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.otlp.decompress import TooLargeError, decompress

#: Bytes of a JSON body, unless an endpoint says otherwise: the default of Next.js, in which Langfuse runs.
DEFAULT_BODY_LIMIT = 1024 * 1024


class Refusal(Exception):  # noqa: N818 - an answer of the server, not a defect
    """The server refuses a request. `error` is Langfuse's name for the kind of error (`withMiddlewares.ts`)."""

    def __init__(self, status: int, message: str, error: object = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error = error

    def answer(self) -> httpx.Response:
        """Return the response with Langfuse's error JSON."""
        body: dict[str, object] = {"message": self.message}
        if self.error is not None:
            body["error"] = self.error
        return httpx.Response(self.status, json=body)


def not_found(message: str) -> Refusal:
    """Return the 404 of a record that does not exist."""
    return Refusal(404, message, "LangfuseNotFoundError")


def invalid_request(message: str) -> Refusal:
    """Return the 400 of an invalid request."""
    return Refusal(400, message, "InvalidRequestError")


def invalid_data(*issues: Issue) -> Refusal:
    """Return the 400 that names the invalid fields (Langfuse validates with zod)."""
    return Refusal(400, "Invalid request data", [issue.as_json() for issue in issues])


@dataclass(frozen=True, slots=True)
class Issue:
    """One field that does not validate."""

    path: tuple[str | int, ...]
    message: str
    code: str = "custom"

    def as_json(self) -> dict[str, object]:
        """Return the JSON that zod writes."""
        return {"code": self.code, "path": list(self.path), "message": self.message}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and a path below `/api/public`; `{name}` stands for one segment. `limit`: bytes of a body."""

    method: str
    path: str
    answer: Callable[[ApiCall], httpx.Response]
    limit: int | None = DEFAULT_BODY_LIMIT
    authenticated: bool = True


@dataclass
class ApiCall:
    """A request that matched an endpoint."""

    request: httpx.Request
    #: The path of the base URL that it was sent to: all before `/api/public`.
    base_path: str
    segments: Mapping[str, str] = field(default_factory=dict)

    @property
    def query(self) -> httpx.QueryParams:
        """The query string."""
        return self.request.url.params

    @property
    def base_url(self) -> str:
        """The base URL that the client uses: scheme, host, port and the path before `/api/public`."""
        url = self.request.url
        return f"{url.scheme}://{url.netloc.decode('ascii')}{self.base_path}"

    @cached_property
    def body(self) -> bytes:
        """The body, decompressed.

        Raises:
            Refusal: it is not compressed as `Content-Encoding` says, or too large to be decompressed.
        """
        encoding = self.request.headers.get("content-encoding", "").lower()
        raw = self.request.content
        if not encoding or encoding == "identity":
            return raw
        refusal = Refusal(400, "Failed to decompress request body")
        if not raw:
            raise refusal
        if encoding not in {"gzip", "deflate"}:
            raise Refusal(415, f'unsupported content encoding "{encoding}"')
        try:
            return decompress(raw, encoding)
        except TooLargeError as error:
            raise Refusal(413, str(error)) from error
        except DecodeError as error:
            raise refusal from error

    def json(self) -> Any:
        """Return the body, parsed as JSON."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise Refusal(400, "The stand-in Langfuse can't read JSON that is nested so deeply") from error
        except ValueError as error:
            raise Refusal(400, "Invalid JSON") from error

    def fields(self) -> dict[str, Any]:
        """Return the body, parsed as a JSON object."""
        body = self.json()
        if not isinstance(body, dict):
            raise invalid_data(Issue((), "Invalid input: expected object", "invalid_type"))
        return body

    def text(self, body: Mapping[str, Any], name: str) -> str:
        """Return a field that must be a string."""
        value = body.get(name)
        if not isinstance(value, str):
            received = "undefined" if name not in body else type(value).__name__
            message = f"Invalid input: expected string, received {received}"
            raise invalid_data(Issue((name,), message, "invalid_type"))
        return value


def now() -> str:
    """Return the time in Langfuse's format."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
