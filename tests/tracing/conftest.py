"""A Langfuse on loopback, and the tracing module as on a fresh interpreter."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator

import pytest
from langfuse import Langfuse
from loopback_langfuse import Collector
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


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
def client(fresh: None) -> Iterator[Langfuse]:
    """A client of the SDK; what its spans carry is in `client.exporter`, at once and as they are."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    langfuse = Langfuse(
        public_key="pk-lf-client", secret_key="sk", base_url="http://127.0.0.1:9", tracer_provider=provider,
        span_exporter=InMemorySpanExporter(),
    )  # fmt: skip
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    langfuse.exporter = exporter
    yield langfuse
    langfuse.shutdown()
    provider.shutdown()


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
