"""Endpoints by method and path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from pytest_langfuse.standin.endpoints.api_call import Endpoint


class EndpointTable:
    """Endpoints by the shape of their path."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = [(endpoint, endpoint.path.strip("/").split("/")) for endpoint in endpoints]

    def __iter__(self) -> Iterator[Endpoint]:
        return (endpoint for endpoint, _ in self._endpoints)

    def find(self, method: str, path: str) -> tuple[Endpoint | None, dict[str, str]]:
        """Return the endpoint for `method` and `path`, and the values of its `{…}`."""
        segments = path.rstrip("/").split("/")
        for endpoint, pattern in self._endpoints:
            if endpoint.method == method and (values := _match(pattern, segments)) is not None:
                return endpoint, values
        return None, {}

    def knows(self, path: str) -> bool:
        """Return whether the path exists under another method."""
        segments = path.rstrip("/").split("/")
        return any(_match(pattern, segments) is not None for _, pattern in self._endpoints)


def _match(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    values: dict[str, str] = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            # Names of prompts and datasets may contain slashes: split first, decode then.
            values[expected[1:-1]] = unquote(segment)
        elif expected != segment:
            return None
    return values
