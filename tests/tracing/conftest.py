"""A Langfuse on loopback, and the tracing module as on a fresh interpreter."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator

import pytest
from langfuse import Langfuse

from pytest_langfuse.recording.sdk import fresh_globals
from pytest_langfuse.tracing import singleton as singleton_module
from tests.helpers.loopback_langfuse import Collector


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A Langfuse on loopback."""
    server = Collector()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own environment."""
    for name in list(os.environ):
        if name.startswith(("LANGFUSE_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture
def fresh(collector: Collector) -> Iterator[None]:
    """Langfuse, OpenTelemetry and the tracing singleton as on a fresh interpreter; nothing is captured."""
    with fresh_globals(), singleton_module.fresh():
        yield


@pytest.fixture
def tracing(langfuse_tracing: Callable[..., Langfuse]) -> Callable[..., Langfuse]:
    """`init_tracing` with keys, captured: what its client makes is in `langfuse_spans`."""
    return functools.partial(langfuse_tracing, public_key="pk-lf-test", secret_key="sk-lf-test")


@pytest.fixture
def client(tracing: Callable[..., Langfuse]) -> Langfuse:
    """The client of that, with default settings."""
    return tracing()


@pytest.fixture
def keys(collector: Collector) -> dict[str, str]:
    """Settings with which spans go to the collector."""
    return {"public_key": "pk-lf-test", "secret_key": "sk-lf-test", "base_url": collector.url}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the tracing module logged, at WARNING and above."""
    caplog.set_level(logging.WARNING)
    return lambda: [
        record.getMessage() for record in caplog.records if record.name.startswith(("pytest_langfuse", "langfuse"))
    ]
