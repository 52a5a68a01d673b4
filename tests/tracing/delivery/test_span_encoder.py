"""The encoder of spans, by OpenTelemetry's own encoder."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from pytest_langfuse.tracing.delivery import span_encoder
from pytest_langfuse.tracing.delivery.span_encoder import request_of

RESOURCES = [Resource({"service.name": "a"}), Resource({"service.name": "b", "n": 1}, "https://schema.example")]
SCOPES = [
    None,
    InstrumentationScope("langfuse-sdk", "5", "https://schema.example", {"public_key": "pk"}),
    InstrumentationScope("other"),
]
int64 = st.integers(-(1 << 63), (1 << 63) - 1)
scalars = st.one_of(
    st.text(max_size=8), st.booleans(), int64, st.floats(allow_nan=False), st.integers(), st.just("\ud800"), st.binary()
)
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.lists(st.text(), max_size=2).map(tuple), st.none())
attributes = st.none() | st.dictionaries(st.text(min_size=1, max_size=8), values, max_size=4)
nanoseconds = st.integers(0, (1 << 63) - 1)
contexts = st.builds(
    SpanContext,
    st.integers(1, (1 << 128) - 1),
    st.integers(1, (1 << 64) - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    st.sampled_from([None, TraceState([("vendor", "x")])]),
)
statuses = st.sampled_from(StatusCode).flatmap(
    lambda code: st.builds(Status, st.just(code), st.text(max_size=5) if code is StatusCode.ERROR else st.none())
)
spans = st.builds(
    ReadableSpan,
    name=st.text(max_size=8),
    context=contexts,
    parent=st.none() | contexts,
    resource=st.sampled_from(RESOURCES),
    attributes=attributes,
    events=st.lists(st.builds(Event, st.text(max_size=5), attributes, nanoseconds), max_size=2),
    links=st.lists(st.builds(Link, contexts, attributes), max_size=1),
    kind=st.sampled_from(SpanKind),
    instrumentation_scope=st.sampled_from(SCOPES),
    status=statuses,
    start_time=st.none() | nanoseconds,
    end_time=st.none() | nanoseconds,
)


@pytest.fixture(autouse=True)
def _quiet():
    """OpenTelemetry's encoder logs each value that it drops, with a traceback."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@given(st.lists(spans, max_size=5))
def test_same_message_as_of_opentelemetry(made: Sequence[ReadableSpan]):
    assert request_of(made) == encode_spans(made)


def test_a_span_that_cannot_be_encoded_raises():
    good, bad = (ReadableSpan(name=name, context=SpanContext(1, 1, is_remote=False)) for name in ("good", "\ud800"))
    for made in ([bad], [good, bad]):
        with pytest.raises(UnicodeEncodeError):
            encode_spans(made)
        with pytest.raises(UnicodeEncodeError):
            request_of(made)


def span(number: int, **arguments) -> ReadableSpan:
    context = SpanContext(1, number, is_remote=False)
    return ReadableSpan(name="x", context=context, resource=RESOURCES[0], instrumentation_scope=SCOPES[1], **arguments)


def test_usual_spans_are_not_left_to_the_other_encoder(monkeypatch: pytest.MonkeyPatch):
    left = []
    original = span_encoder.encode_spans
    monkeypatch.setattr(span_encoder, "encode_spans", lambda spans: (left.extend(spans), original(spans))[1])
    usual = {"text": "ü", "number": 1, "ratio": 0.5, "yes": True, "tags": ("a", "b")}
    made = [
        span(1, attributes=usual, status=Status(StatusCode.ERROR, "why"), parent=SpanContext(1, 9, is_remote=True)),
        span(2, attributes=usual, events=[Event("exception", {"exception.type": "E"}, 5)]),
        span(3, kind=SpanKind.SERVER),
    ]
    assert request_of(made) == encode_spans(made)
    # The first one, for its resource and scope.
    assert left == made[:1]
    request_of([*made, span(4, attributes={"data": b"x"})])
    assert len(left) == 3


def test_equal_resources_are_told_apart_and_none_is_lost():
    twins = [Resource({"service.name": "a"}) for _ in range(2)]
    made = [
        ReadableSpan(name="x", context=SpanContext(1, n + 1, is_remote=False), resource=twins[n % 2]) for n in range(4)
    ]
    groups = request_of(made).resource_spans
    assert [[span.span_id[-1] for span in group.scope_spans[0].spans] for group in groups] == [[1, 3], [2, 4]]


def test_what_limits_have_dropped_is_counted():
    limits = SpanLimits(max_span_attributes=1, max_events=1, max_event_attributes=1, max_links=0)
    provider, two = TracerProvider(span_limits=limits, shutdown_on_exit=False), {"a": 1, "b": 2}
    links = [Link(SpanContext(2, 2, is_remote=True))]
    made = provider.get_tracer("x").start_span("x", attributes=two, links=links)
    for _ in range(2):
        made.add_event("e", two)
    made.end()
    encoded = request_of([made])
    assert encoded == encode_spans([made])
    message = encoded.resource_spans[0].scope_spans[0].spans[0]
    counts = message.dropped_attributes_count, message.dropped_events_count, message.dropped_links_count
    assert (*counts, message.events[0].dropped_attributes_count) == (1, 1, 1, 1)
