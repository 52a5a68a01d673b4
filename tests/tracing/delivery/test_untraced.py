"""Requests of tracing itself, which no instrumentation of the application sees."""

import contextlib

import httpx
import pytest
import sentry_sdk
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.transport import Transport

from pytest_langfuse.tracing import init_tracing, langfuse_internals
from tests.helpers.loopback_langfuse import SCORES, TRACES

# Slow: media and scores are sent by threads of the SDK, which look for work now and then.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fresh")]

PICTURE = "data:image/png;base64,aGVsbG8="
INSTRUMENTORS = (HTTPXClientInstrumentor, RequestsInstrumentor, URLLibInstrumentor, URLLib3Instrumentor)


@pytest.fixture
def spans():
    """What an exporter of the application gets, from its own provider."""
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    return lambda: [span.name for span in memory.get_finished_spans()]


@pytest.fixture(params=["before", "after"])
def instrumented(request, keys):
    """Return `init_tracing` with everything exported, and OpenTelemetry's instrumentations before or after it."""
    with contextlib.ExitStack() as stack:

        def init():
            client = None if request.param == "before" else init_tracing(**keys, should_export_span=lambda span: True)
            for instrumentor in INSTRUMENTORS:
                instrumentor().instrument()
                stack.callback(instrumentor().uninstrument)
            return client or init_tracing(**keys, should_export_span=lambda span: True)

        yield init


def everything(client):
    """Make each kind of request that a client makes: export, score, prompt, media."""
    with client.start_as_current_observation(name="a") as a:
        a.update(input={"picture": PICTURE})
        client.create_score(name="s", value=1.0, trace_id=a.trace_id)
        client.get_prompt("p", fallback="f", max_retries=0)
    client.flush()
    client.flush()


def seen(collector):
    return {request.path for request in collector.requests}


ALL = {TRACES, SCORES, "/api/public/media", "/api/public/v2/prompts/p"}


def test_instrumentations_of_http_clients_see_none_of_them(spans, instrumented, collector):
    everything(instrumented())

    assert seen(collector) == ALL
    assert spans() == ["a"]
    assert [name for request in collector.requests if request.path == TRACES for name in request.spans] == ["a"]
    assert not any({"traceparent", "baggage"} & set(request.headers) for request in collector.requests)


async def test_nor_those_of_the_asynchronous_client(spans, instrumented, collector):
    client = instrumented()
    with contextlib.suppress(Exception):
        await client.async_api.prompts.get("p")
    await langfuse_internals.resources_of(client).async_api._client_wrapper.httpx_client.httpx_client.aclose()

    assert seen(collector) == {"/api/public/v2/prompts/p"}
    assert spans() == []


def test_the_applications_own_requests_are_traced_as_ever(spans, instrumented, collector):
    client = instrumented()
    with client.start_as_current_observation(name="a"):
        httpx.get(f"{collector.url}/other")
        everything(client)
        httpx.get(f"{collector.url}/other")

    assert sorted(spans()) == ["GET", "GET", "a", "a"]


class SentryRecorder(Transport):
    def __init__(self, envelopes):
        super().__init__({})
        self._envelopes = envelopes

    def capture_envelope(self, envelope):
        self._envelopes.append(envelope)


def test_sentry_sees_none_of_them(collector, keys):
    envelopes, crumbs = [], []
    with sentry_sdk.new_scope():
        sentry_sdk.init(
            dsn="http://key@127.0.0.1:9/1", traces_sample_rate=1.0, transport=SentryRecorder(envelopes),
            default_integrations=False, auto_enabling_integrations=False,
            integrations=[HttpxIntegration()],
            before_breadcrumb=lambda crumb, hint: crumbs.append(crumb["data"]["url"]),
        )  # fmt: skip
        try:
            client = init_tracing(**keys)
            with sentry_sdk.start_transaction(name="request"):
                everything(client)
                httpx.get(f"{collector.url}/other")
        finally:
            sentry_sdk.get_global_scope().set_client(None)

    [transaction] = [item.payload.json for one in envelopes for item in one.items if item.type == "transaction"]
    assert [span["description"] for span in transaction["spans"]] == [f"GET {collector.url}/other"]
    assert crumbs == [f"{collector.url}/other"]
    assert {request.path for request in collector.requests if "sentry-trace" in request.headers} == {"/other"}
    assert seen(collector) == {*ALL, "/other"}
