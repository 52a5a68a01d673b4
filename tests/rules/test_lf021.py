"""LF021: an observation that was exported more than once."""

import base64

from langfuse import Langfuse
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

URL = "http://127.0.0.1:9"


def exporter(public_key: str = "pk-lf-1") -> OTLPSpanExporter:
    """The exporter of an application that adds one to Langfuse by hand."""
    keys = base64.b64encode(f"{public_key}:sk-lf-1".encode()).decode()
    headers = {"Authorization": f"Basic {keys}", "x-langfuse-ingestion-version": "4"}
    return OTLPSpanExporter(f"{URL}/api/public/otel/v1/traces", headers=headers)


def app(provider: TracerProvider) -> Langfuse:
    return Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url=URL, tracer_provider=provider)


def answer(langfuse: Langfuse) -> None:
    with langfuse.start_as_current_observation(name="answer"):
        langfuse.start_observation(name="search").end()


def test_an_exporter_beside_the_client(find, langfuse_fresh_client):
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    answer(app(provider))
    (finding,) = find("LF021")
    assert (
        finding.text == "'answer' (tests/rules/test_lf021.py:26) and 1 more were exported 2 times to the same project"
    )
    assert finding.fix.startswith("build one client for a tracer provider")


def test_the_processor_of_a_client_that_was_reset(find, langfuse_fresh_client):
    from langfuse._client.resource_manager import LangfuseResourceManager

    provider = TracerProvider()
    app(provider)
    with LangfuseResourceManager._lock:
        LangfuseResourceManager._instances.clear()
    answer(app(provider))
    (finding,) = find("LF021")
    assert "exported 2 times" in finding.text


def test_silent_for_two_projects_on_purpose(find, langfuse_fresh_client, langfuse_spans):
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter("pk-lf-2")))
    answer(app(provider))
    assert len(langfuse_spans) == 2
    assert find("LF021") == []


def test_silent_for_exporters_that_are_not_langfuse_s(find, langfuse_fresh_client, langfuse_spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{URL}/v1/traces")))
    answer(app(provider))
    assert len(langfuse_spans) == 2
    assert find("LF021") == []


def test_silent_for_a_second_flush(client, find):
    answer(client)
    client.flush()
    client.flush()
    assert find("LF021") == []
