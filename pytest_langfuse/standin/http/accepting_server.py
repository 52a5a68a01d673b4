"""A server for child processes of tests that use none: it takes everything at once, and nobody sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

import httpx

from pytest_langfuse.standin.http.exchange import Exchange
from pytest_langfuse.standin.http.http_server import Answer, HttpServer

#: Part of the path of every export.
_OTLP = "/otel/v1/"


class AcceptingServer(HttpServer):
    """Takes every OTLP export, and answers what else is asked with `answer`. Thread-safe.

    It listens from the first `start` on: most runs start no process.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer_other = answer
        self._lock = threading.Lock()
        super().__init__(self._taken, _Nothing())

    def start(self) -> Self:
        """Listen, if it does not yet.

        Raises:
            OSError: There is no free port.
        """
        with self._lock:
            return super().start()

    def _taken(self, request: httpx.Request) -> httpx.Response:
        if _OTLP in request.url.path:
            # An empty message: everything was accepted.
            return httpx.Response(200, headers={"content-type": "application/x-protobuf"})
        return self._answer_other(request)


class _Nothing:
    """Intercepts nothing."""

    def intercept(self, exchange: Exchange, answer: Answer, record: Callable[[str], None]) -> bool:
        """Let the request be answered."""
        del exchange, answer, record
        return False
