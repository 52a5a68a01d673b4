"""Requests of tracing itself, which nothing is to trace: an export that is traced is exported, for ever."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
from opentelemetry import context as otel_context

from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.langfuse_internals import SUPPRESSING


@contextmanager
def untraced() -> Iterator[None]:
    """Hide what happens inside the block from OpenTelemetry's instrumentations, those built on them, and Sentry."""
    context = otel_context.get_current()
    for key in SUPPRESSING:
        context = otel_context.set_value(key, "pytest_langfuse.tracing", context)
    token = otel_context.attach(context)
    try:
        with ExitStack() as stack:
            _hide_from_sentry(stack)
            yield
    finally:
        otel_context.detach(token)


def _hide_from_sentry(stack: ExitStack) -> None:
    sentry: Any = sys.modules.get("sentry_sdk")
    if sentry is None:
        return
    try:
        if sentry.get_client().is_active():
            stack.enter_context(sentry.new_scope()).set_client(_silent_client(sentry))
    except Exception as error:  # noqa: BLE001 - whatever it is, the request goes out
        failures.report("hiding a request from Sentry", error)


@functools.cache
def _silent_client(sentry: Any) -> Any:
    """Return a client of Sentry's that sends nothing and in which no integration is on."""
    return sentry.Client(default_integrations=False, auto_enabling_integrations=False)


class _NoCookies(httpx.Cookies):
    """A jar that takes none.

    A jar has a lock, which each answer takes. In a child that was forked while a thread read an answer, nothing would
    ever release it.
    """

    def extract_cookies(self, response: httpx.Response) -> None:
        """Leave the cookies of an answer alone."""


class UntracedClient(httpx.Client):
    """An HTTP client whose requests no instrumentation sees. It neither keeps nor sends cookies."""

    @property
    def cookies(self) -> httpx.Cookies:
        """Return an empty jar that stays empty."""
        return _NoCookies()

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        """Take none."""

    def send(self, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        """Send a request."""
        with untraced():
            response = super().send(request, **kwargs)
        if response.is_closed:
            # It was read. httpx's stream refers to the response, which refers to the request: bodies of megabytes would
            # stay in memory until the garbage collector runs.
            response.stream = httpx.ByteStream(b"")
        return response
