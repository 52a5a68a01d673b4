"""A hand-written fixture that makes a client for each test and shuts it down afterwards."""

from collections.abc import Iterator

import pytest
from langfuse import Langfuse
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from work import each_test, five_observations


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Hold the spans that the test sends."""
    return InMemorySpanExporter()


@pytest.fixture
def langfuse(exporter: InMemorySpanExporter) -> Iterator[Langfuse]:
    """A client."""
    LangfuseResourceManager.reset()
    provider = TracerProvider()
    client = Langfuse(tracer_provider=provider, span_exporter=exporter)
    yield client
    client.shutdown()
    provider.shutdown()


@each_test
def test_with_a_client_of_its_own(number: int, langfuse: Langfuse, exporter: InMemorySpanExporter) -> None:
    """Five observations, counted."""
    five_observations(langfuse)
    langfuse.flush()
    assert len(exporter.get_finished_spans()) == 5
