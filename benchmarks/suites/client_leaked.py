"""The same in the style of the SDK's own tests: reset the singletons, and leave the client to itself."""

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
def langfuse(exporter: InMemorySpanExporter) -> Langfuse:
    """A client."""
    LangfuseResourceManager.reset()
    return Langfuse(tracer_provider=TracerProvider(), span_exporter=exporter)


@each_test
def test_with_a_client_left_behind(number: int, langfuse: Langfuse, exporter: InMemorySpanExporter) -> None:
    """Five observations, counted."""
    five_observations(langfuse)
    langfuse.flush()
    assert len(exporter.get_finished_spans()) == 5
