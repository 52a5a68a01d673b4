"""What a span in memory shows is what its export body shows: nothing that the wire loses, nothing else."""

from __future__ import annotations

import logging
from dataclasses import fields
from enum import IntEnum, StrEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langfuse import Langfuse, propagate_attributes
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytest_langfuse.recording import Observation, SpanRecord, decode_records, from_readable_span, observe
from tests.helpers.vectors import same

COMPARED = [field.name for field in fields(Observation) if field.name not in {"record", "parent", "children"}]
RECORDED = [field.name for field in fields(SpanRecord) if field.name not in {"raw", "events"}]


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def client(exporter):
    provider = TracerProvider(resource=Resource({"service.version": "7", "lost": "\ud800"}))
    client = Langfuse(
        public_key="pk-lf-1",
        secret_key="sk-lf-1",
        span_exporter=exporter,
        tracer_provider=provider,
        environment="Langfuse-Staging",
    )
    yield client
    client.shutdown()
    # Where two clients are, `get_client()` of another test would not know which one is meant.
    LangfuseResourceManager._instances.pop(client._resources.public_key)


def assert_equal_views(spans):
    sent = {
        record.span_id: record
        for record in decode_records(encode_spans(spans).SerializeToString(), encoding="identity")
    }
    assert len(sent) == len(spans)
    for span in spans:
        kept = from_readable_span(span)
        assert_equal_fields(kept, sent[kept.span_id], RECORDED)
        assert repr(kept.events) == repr(sent[kept.span_id].events)
        assert_equal_fields(observe(kept), observe(sent[kept.span_id]), COMPARED)


def assert_equal_fields(one, other, names):
    for name in names:
        # repr, because NaN is not equal to itself
        first, second = getattr(one, name), getattr(other, name)
        assert same(first, second) or repr(first) == repr(second), name


def test_spans_of_the_sdk(client, exporter):
    with (
        client.start_as_current_observation(name="root", as_type="agent", input={"q": "wér ☃"}) as root,
        propagate_attributes(
            user_id="u", session_id="s", tags=["b", "a"], metadata={"k": "v"}, version="9", trace_name="t"
        ),
    ):
        root.update(output="42", metadata={"n": 1, "deep": {"a": [1, 2.5, None, True]}})
        with client.start_as_current_observation(
            name="llm",
            as_type="generation",
            model="gpt-4o",
            model_parameters={"temperature": 0.5, "stop": ["x"]},
            usage_details={"input": 10, "output": 5},
            cost_details={"input": 0.1, "output": 0.2},
            input=[{"role": "user", "content": "hi"}],
        ):
            pass
        with pytest.raises(KeyError), client.start_as_current_observation(name="tool", as_type="tool"):
            raise KeyError("k")
        client.create_event(name="event", level="WARNING", status_message="careful")
    client.flush()
    spans = exporter.get_finished_spans()
    assert len(spans) == 4
    assert_equal_views(spans)


def test_what_the_encoder_refuses_is_missing(client, exporter, caplog):
    with client.start_as_current_observation(name="root", input="lost \ud83d here") as root:
        root.update(output="kept")
        span = root._otel_span
        span.set_attribute("big", 2**63)
        span.set_attribute("smallest", -(2**63))
        span.set_attribute("list", ["ok", "bad \udfff"])
        span.set_attribute("key \ud800", "x")
    client.flush()
    (span,) = exporter.get_finished_spans()
    observation = observe(from_readable_span(span))
    assert observation.input is None
    assert observation.output == "kept"
    assert {"big", "list", "key \ud800"}.isdisjoint(observation.attributes)
    assert observation.attributes["smallest"] == -(2**63)
    assert "lost" not in observation.record.resource
    with caplog.at_level(logging.CRITICAL):
        assert_equal_views([span])


def test_values_that_only_newer_sdks_take(client, exporter):
    with client.start_as_current_observation(name="root") as root:
        for key, value in {
            "map": {"a": b"x", "b": [1, "y"]},
            "bytes": b"\xff",
            "none": None,
            "nested": [[1], []],
        }.items():
            root._otel_span.set_attribute(key, value)
    client.flush()
    assert_equal_views(exporter.get_finished_spans())


def test_a_span_that_runs_can_be_looked_at(client):
    with client.start_as_current_observation(name="running", as_type="chain", input="1") as running:
        observation = observe(from_readable_span(running._otel_span))
    assert (observation.name, observation.type, observation.input) == ("running", "chain", 1)
    assert observation.start_time is not None
    assert observation.end_time is None
    assert observation.duration is None


def test_attributes_are_copied(client):
    with client.start_as_current_observation(name="running", input="before") as running:
        record = from_readable_span(running._otel_span)
        running.update(input="after")
    assert record.attributes["langfuse.observation.input"] == "before"


@pytest.mark.slow
def test_spans_share_the_attributes_of_their_resource_and_scope(client, exporter):
    for name in ("one", "two"):
        client.start_observation(name=name).end()
    client.flush()
    one, two = map(from_readable_span, exporter.get_finished_spans())
    assert one.resource is two.resource
    assert one.scope_attributes is two.scope_attributes


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


scalars = st.one_of(
    st.text(st.characters(), max_size=8),
    st.sampled_from(["", "12", '{"a": 1}', "[1]", "\ud800", "NaN", "null", Colour.RED]),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.just(Size.BIG),
    st.floats(),
)
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.lists(st.text(max_size=3), max_size=3).map(tuple))
keys = st.one_of(
    st.text(st.characters(), min_size=1, max_size=8),
    st.sampled_from(
        [
            "langfuse.observation.input",
            "langfuse.observation.output",
            "langfuse.observation.type",
            "langfuse.observation.level",
            "langfuse.observation.status_message",
            "langfuse.observation.metadata",
            "langfuse.observation.metadata.a",
            "langfuse.observation.metadata.tools",
            "langfuse.observation.usage_details",
            "langfuse.observation.cost_details",
            "langfuse.observation.model.name",
            "langfuse.observation.model.parameters",
            "langfuse.observation.prompt.version",
            "langfuse.trace.name",
            "langfuse.trace.tags",
            "langfuse.trace.metadata.a",
            "langfuse.environment",
            "langfuse.version",
            "langfuse.release",
            "user.id",
            "session.id",
            "gen_ai.tool.name",
            "gen_ai.usage.input_tokens",
            "gen_ai.prompt.0.content",
            "input",
            "ai.response.text",
        ]
    ),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    attributes=st.dictionaries(keys, values, max_size=6),
    event=st.dictionaries(keys, values, max_size=2),
    scope=st.sampled_from(["langfuse-sdk", "ai", "genkit-tracer", "my.library"]),
)
def test_any_attributes(attributes, event, scope):
    logging.disable(logging.CRITICAL)  # the SDK logs what it drops
    try:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        span = provider.get_tracer(scope, "1").start_span("any")
        for key, value in attributes.items():
            span.set_attribute(key, value)
        span.add_event("gen_ai.user.message", event)
        span.end()
        assert_equal_views(exporter.get_finished_spans())
    finally:
        logging.disable(logging.NOTSET)
