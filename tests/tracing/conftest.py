"""A Langfuse on loopback, and the tracing module as on a fresh interpreter."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator

import pytest
from loopback_langfuse import Collector


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
def fresh() -> Iterator[None]:
    """Langfuse, OpenTelemetry and the tracing singleton as on a fresh interpreter."""
    from langfuse._client.resource_manager import LangfuseResourceManager
    from opentelemetry import trace
    from opentelemetry.util._once import Once

    from pytest_langfuse.tracing import _singleton

    instances = dict(LangfuseResourceManager._instances)
    provider, once = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE
    LangfuseResourceManager._instances.clear()
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()
    try:
        with _singleton.fresh():
            yield
    finally:
        LangfuseResourceManager._instances.clear()
        LangfuseResourceManager._instances.update(instances)
        trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = provider, once


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
