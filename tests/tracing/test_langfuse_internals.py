"""Each private name that production tracing uses is still there, with the meaning that it had."""

import atexit
import inspect
import threading

import httpx
import pytest
from langfuse import Langfuse, propagate_attributes
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import (
    _SUPPRESS_INSTRUMENTATION_KEY_PLAIN,
    is_http_instrumentation_enabled,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from pytest_langfuse.tracing import init_tracing, langfuse_internals
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery.held_bytes import HeldBytes
from pytest_langfuse.tracing.name_resolution import NameResolution
from pytest_langfuse.tracing.open_connections import OpenConnections
from pytest_langfuse.tracing.untraced import untraced

pytestmark = pytest.mark.usefixtures("fresh")


class Watcher:
    """Notes what a `SpanQueue` says."""

    def __init__(self):
        self.lock, self.seen = threading.RLock(), []

    def came(self, span):
        self.seen.append("came")

    def evicted(self):
        self.seen.append("evicted")

    def left(self, span):
        self.seen.append("left")


def need(condition, sentence):
    assert condition, f"{sentence} Read the new release and adapt pytest_langfuse/tracing/langfuse_internals.py."


@pytest.fixture
def client(keys):
    return init_tracing(**keys, flush_at=512, flush_interval=60)


def test_resource_attributes():
    need(
        langfuse_internals.ENVIRONMENT == "langfuse.environment",
        "langfuse renamed the resource attribute of the environment.",
    )
    need(langfuse_internals.RELEASE == "langfuse.release", "langfuse renamed the resource attribute of the release.")


def test_attribute_of_the_output(client):
    observation = client.start_observation(name="x")
    observation.update(output={"status_code": 200})
    need(
        langfuse_internals.OUTPUT == "langfuse.observation.output"
        and observation._otel_span.attributes[langfuse_internals.OUTPUT] == '{"status_code": 200}',
        "langfuse writes an observation's output otherwise: the middleware sets that attribute itself.",
    )
    observation.end()


def test_registry_of_clients(client, keys):
    resources = langfuse_internals.resources_of(client)
    need(resources is not None, "Langfuse._resources is gone: what a client works with is kept elsewhere.")
    need(
        langfuse_internals.registered(keys["public_key"]) is resources,
        "LangfuseResourceManager._instances no longer has the client of a public key.",
    )
    need(hasattr(type(resources), "_lock"), "LangfuseResourceManager._lock is gone.")
    with pytest.raises(RuntimeError), langfuse_internals.set_aside(resources):
        raise RuntimeError
    need(
        langfuse_internals.registered(keys["public_key"]) is resources,
        "LangfuseResourceManager._instances doesn't take a client back.",
    )
    with langfuse_internals.set_aside(resources):
        pass
    need(
        langfuse_internals.registered(keys["public_key"]) is None, "LangfuseResourceManager._instances keeps a client."
    )


def test_settings_of_a_client(client):
    found = langfuse_internals.settings(langfuse_internals.resources_of(client))
    for name in set(langfuse_internals.SETTINGS) - {"release"}:
        need(name in found, f"LangfuseResourceManager.{name} is gone: an earlier client can't be compared.")


def test_http_client(client):
    resources = langfuse_internals.resources_of(client)
    need(isinstance(resources.httpx_client, httpx.Client), "LangfuseResourceManager.httpx_client is no httpx.Client.")


def test_asynchronous_client(client):
    seen = []
    langfuse_internals.guard_async(
        langfuse_internals.resources_of(client), lambda transport: seen.append(transport) or transport
    )
    need(
        seen and all(isinstance(transport, httpx.AsyncBaseTransport) for transport in seen),
        "AsyncLangfuseAPI._client_wrapper.httpx_client.httpx_client, or httpx's _transport, is gone.",
    )


def test_threads_and_exit_handlers(client, monkeypatch):
    resources = langfuse_internals.resources_of(client)
    need(
        any(getattr(resources, name, None) for name in langfuse_internals._CONSUMERS),
        f"None of {langfuse_internals._CONSUMERS} is there: whether scores are consumed can't be seen.",
    )
    unregistered = []
    monkeypatch.setattr(atexit, "unregister", unregistered.append)
    langfuse_internals.release_exit_handlers(resources)
    need(
        unregistered == [resources.shutdown, resources.prompt_cache._task_manager.shutdown],
        "The SDK's exit handlers are others now: the exit could wait for Langfuse without a limit.",
    )


def test_queue_of_spans(client):
    processor = singleton_module.singleton.installation.pipeline._intake.processor
    need(isinstance(processor, BatchSpanProcessor), "Langfuse's span processor is no BatchSpanProcessor any more.")
    batch = getattr(processor, "_batch_processor", None)
    queue = processor.queue if batch is None else batch._queue
    need(isinstance(queue, langfuse_internals.SpanQueue), "BatchProcessor._queue is not the queue that it uses.")
    need(queue.maxlen == 100_000, "OTEL_BSP_MAX_QUEUE_SIZE no longer sizes the queue of a span processor.")


def test_spans_go_through_the_queue_and_the_exporter():
    exported = []

    class Around(InMemorySpanExporter):
        def export(self, spans):
            exported.extend(spans)
            return super().export(spans)

    processor = BatchSpanProcessor(InMemorySpanExporter())
    watcher = Watcher()
    langfuse_internals.watch_queue(processor, watcher, HeldBytes(10**9))
    langfuse_internals.watch_transformations(processor, lambda inner: Around())
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("x").start_span("s").end()
    processor.force_flush()
    provider.shutdown()
    need(watcher.seen[:1] == ["came"], "BatchProcessor.emit does not use _queue.appendleft any more: not counted.")
    need(watcher.seen == ["came", "left"], "BatchProcessor._export does not use _queue.pop any more: not counted.")
    need(len(exported) == 1, "BatchProcessor does not export through _exporter any more: lost spans are not seen.")


def test_the_queue_of_the_sdk_drops_the_oldest():
    watcher = Watcher()
    queue = langfuse_internals.SpanQueue(2, watcher, HeldBytes(10**9))
    for name in "123":
        queue.appendleft(ReadableSpan(name))

    assert [span.name for span in queue] == ["3", "2"]
    assert watcher.seen == ["came", "came", "evicted", "came"]


def test_the_rules_of_the_processor_are_known(client):
    """`wants` must say what `on_end` does, for each kind of span."""
    intake = singleton_module.singleton.installation.pipeline._intake
    provider = singleton_module.singleton.installation.pipeline.provider.provider
    scopes = {
        "ours": client._otel_tracer,
        "another library": provider.get_tracer("fastapi"),
        "an LLM library": provider.get_tracer("openinference.instrumentation.openai"),
        "another project": provider.get_tracer("langfuse-sdk", "1", None, {"public_key": "x"}),
    }
    for name, tracer in scopes.items():
        span = tracer.start_span("s")
        before = len(intake.queued.queue)
        span.end()
        taken = len(intake.queued.queue) > before
        need(
            intake.wants(span) == taken,
            f"LangfuseSpanProcessor.on_end {'takes' if taken else 'refuses'} a span of {name}, unlike `wants`.",
        )


def test_what_is_propagated(client):
    with propagate_attributes(user_id="u", session_id="s", as_baggage=True):
        found = (
            otel_context.get_value(langfuse_internals.USER_KEY),
            otel_context.get_value(langfuse_internals.SESSION_KEY),
        )
        entries = dict(baggage.get_all())
    need(found == ("u", "s"), "langfuse keeps propagated values elsewhere in OpenTelemetry's context.")
    need(
        entries.items() >= {langfuse_internals.USER_BAGGAGE: "u", langfuse_internals.SESSION_BAGGAGE: "s"}.items(),
        "langfuse renamed its baggage entries: its services no longer understand ours.",
    )
    need(
        all(name.startswith(langfuse_internals.BAGGAGE_PREFIX) for name in entries),
        "langfuse's baggage has another prefix.",
    )
    with client.start_as_current_observation(name="x") as observation:
        claim = baggage.get_baggage(langfuse_internals.TRACE_BAGGAGE)
    if langfuse_internals.METADATA_IS_JSON:
        need(claim == observation.trace_id, "langfuse 5 claims the application's root under another name.")


def test_hop_of_httpx():
    sent = []
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as session:
        method = getattr(session, langfuse_internals.HTTPX_HOP, None)
        need(method is not None, "httpx.Client._send_single_request is gone: instrument_httpx() can't look at hops.")
        setattr(session, langfuse_internals.HTTPX_HOP, lambda request: sent.append(request) or method(request))
        session.get("http://127.0.0.1/")
    need(len(sent) == 1, "httpx no longer sends each request through Client._send_single_request.")
    need(
        inspect.iscoroutinefunction(getattr(httpx.AsyncClient, langfuse_internals.HTTPX_HOP)),
        "httpx.AsyncClient._send_single_request is gone, or no coroutine function.",
    )


def test_time_limit_hook():
    transport = httpx.HTTPTransport()
    pool = getattr(transport, "_pool", None)
    need(hasattr(pool, "_network_backend"), "httpx.HTTPTransport._pool._network_backend is gone.")
    before = pool._network_backend
    langfuse_internals.limit_waits(transport, NameResolution(), OpenConnections())
    need(pool._network_backend is not before, "httpcore's network backend can't be replaced any more.")
    transport.close()


def test_line_about_missing_keys(caplog):
    Langfuse()
    need(
        any(not langfuse_internals.MissingKeysSilenced().filter(record) for record in caplog.records),
        "langfuse's warning of missing keys has another text: it would be repeated at each observed call.",
    )


def test_arguments_of_the_client():
    known = set(inspect.signature(Langfuse).parameters)
    used = {
        "public_key", "secret_key", "base_url", "environment", "release", "sample_rate", "flush_at", "flush_interval",
        "timeout", "httpx_client", "tracer_provider", "span_exporter", "tracing_enabled",
    }  # fmt: skip
    need(used <= known, f"Langfuse() no longer takes {sorted(used - known)}.")


def test_waiting_for_scores_and_media(client):
    resources = langfuse_internals.resources_of(client)
    for names in (langfuse_internals._SCORE_QUEUES, langfuse_internals._MEDIA_QUEUES):
        found = [getattr(resources, name, None) for name in names]
        need(any(queue is not None for queue in found), f"None of {names} is there: flush() waits for nothing.")
    need(hasattr(type(resources), "flush"), "LangfuseResourceManager.flush is gone: flush() has no limit.")
    need(hasattr(type(resources), "add_score_task"), "LangfuseResourceManager.add_score_task is gone.")
    consumers = langfuse_internals._consumers(resources)
    need(
        consumers and all(hasattr(type(consumer), "_upload_batch") for consumer in consumers),
        "The threads that send scores have no _upload_batch: what they can't send is lost.",
    )
    for consumer in consumers:
        need(callable(langfuse_internals._wake_of(consumer)), "The threads that send scores can't be woken.")


def test_tries_of_the_rest_client(client):
    http = getattr(getattr(client.api, "_client_wrapper", None), "httpx_client", None)
    parameters = inspect.signature(type(http).request).parameters
    need("request_options" in parameters, "The REST client takes no request_options: prompts wait for its retries.")


def test_the_size_of_a_span(client):
    span = client.start_observation(name="x", input="y" * 1000)
    span.end()
    inner = span._otel_span
    need(hasattr(inner._attributes, "_dict"), "BoundedAttributes._dict is gone: spans count as having no attributes.")
    need(1000 < langfuse_internals.span_size(inner._readable_span()) < 2000, "The size of a span can't be told.")


def test_parent_of_a_span(client):
    observation = client.start_observation(name="x")
    span = observation._otel_span
    parent = SpanContext(span.get_span_context().trace_id, 7, is_remote=False)
    langfuse_internals.set_parent(span, parent)
    need(span._readable_span().parent is parent, "Span._parent is not what an ended span has as its parent.")
    copied = langfuse_internals.with_parent(span, None, {"a": 1})
    need(
        copied.parent is None and dict(copied.attributes) == {"a": 1} and copied.name == "x",
        "ReadableSpan._parent or _attributes is gone.",
    )
    observation.end()


def test_processors_of_another_provider():
    seen = []

    class Follower(SpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append(span.name)

    follower, tracer = Follower(), TracerProvider().get_tracer("x")
    for name in ("first", "second"):
        langfuse_internals.follow_provider_of(tracer.start_span(name), follower)
    need(seen == ["second"], "Span._span_processor is gone: spans of other providers are not followed.")


def test_mark_of_the_applications_root(client):
    observation = client.start_observation(name="x")
    need(
        not langfuse_internals.METADATA_IS_JSON or langfuse_internals.IS_APP_ROOT in observation._otel_span.attributes,
        "langfuse renamed the attribute of the application's root.",
    )
    observation.end()


def test_when_the_filter_is_asked(keys):
    asked = []
    client = init_tracing(**keys, should_export_span=lambda span: asked.append(span.name) or True)
    observation = client.start_observation(name="x")
    need(
        bool(asked) == langfuse_internals.FILTER_IS_ASKED_AT_START or len(asked) == 1,
        "LangfuseSpanProcessor._is_expected_exported_at_start no longer asks should_export_span.",
    )
    observation.end()


def test_keys_that_suppress_instrumentations():
    need(
        _SUPPRESS_INSTRUMENTATION_KEY_PLAIN in langfuse_internals.SUPPRESSING
        and len(set(langfuse_internals.SUPPRESSING)) == 3,
        "OpenTelemetry suppresses instrumentations by other keys.",
    )
    with untraced():
        need(not is_http_instrumentation_enabled(), "OpenTelemetry suppresses instrumentations by other keys.")
