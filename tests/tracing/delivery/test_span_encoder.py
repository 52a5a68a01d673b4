"""The encoder of spans, by OpenTelemetry's own encoder."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from pytest_langfuse.tracing.delivery import span_encoder
from pytest_langfuse.tracing.delivery.span_encoder import request_of
from pytest_langfuse.tracing.failures import failures
from tests.helpers.for_each import for_each

RESOURCES = [Resource({"service.name": "a"}), Resource({"service.name": "b", "n": 1}, "https://schema.example")]
SCOPES = [
    None,
    InstrumentationScope("langfuse-sdk", "5", "https://schema.example", {"public_key": "pk"}),
    InstrumentationScope("other"),
]
NONE = ReadableSpan("x", SpanContext(1, 1, is_remote=False), attributes={"none": None})
#: OpenTelemetry 1.35 drops it.
ENCODES_NONE = bool(encode_spans([NONE]).resource_spans[0].scope_spans[0].spans[0].attributes)
int64 = st.integers(-(1 << 63), (1 << 63) - 1)
scalars = st.one_of(st.text(max_size=8), st.booleans(), int64, st.floats(allow_nan=False), st.binary())
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.lists(st.text(), max_size=2).map(tuple),
    st.dictionaries(st.text(max_size=3) | st.integers(), scalars, max_size=2),
    *([st.lists(st.none(), max_size=2), st.none()] if ENCODES_NONE else []),
)
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


@given(st.lists(spans, max_size=5))
def test_same_message_as_of_opentelemetry(made: Sequence[ReadableSpan]):
    assert request_of(made) == encode_spans(made)


def span(number: int, **arguments) -> ReadableSpan:
    given = {"name": "x", "resource": RESOURCES[0], "instrumentation_scope": SCOPES[1], **arguments}
    return ReadableSpan(context=SpanContext(1, number, is_remote=False), **given)


class Label(StrEnum):
    LONG = "long"


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("unprintable")


HALF, WHOLE = "cut \ud83d", "cut \N{REPLACEMENT CHARACTER}"
LONG = 1 << 63


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (HALF, WHOLE),
        ("\udc00\ud800 \ud83d\ude00", "\ufffd\ufffd 😀"),
        ("\ufeff\ud800", "\ufeff\ufffd"),
        (LONG, "9223372036854775808"),
        (-LONG - 1, "-9223372036854775809"),
        (10**5000, hex(10**5000)),
        ((1, LONG, HALF), [1, str(LONG), WHOLE]),
        ({HALF: HALF, "n": {1: LONG}}, {WHOLE: WHOLE, "n": {"1": str(LONG)}}),
        ((Label.LONG, HALF), ["long", WHOLE]),
        (Decimal("1.5"), "1.5"),
        ((True, b"\xff", 1.5, LONG), [True, b"\xff", 1.5, str(LONG)]),
    ],
    ids=["half", "pair", "mark", "integer", "negative", "huge", "list", "mapping", "enumeration", "decimal", "others"],
)
def test_values_that_the_protocol_has_no_form_for(value, sent, caplog):
    twice = {"a": value, "b": value, "c": "ok"}
    encoded = request_of([span(1, attributes=twice)])
    assert encoded == encode_spans([span(1, attributes={"a": sent, "b": sent, "c": "ok"})])
    assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []


def test_texts_of_a_span_are_sent_wherever_they_are():
    def made(text: str) -> ReadableSpan:
        context = SpanContext(1, 2, is_remote=True, trace_state=TraceState([("vendor", "x")]))
        return span(
            1,
            name=text,
            attributes={text: 1},
            events=[Event(text, {text: text}, 5)],
            links=[Link(context, {text: text})],
            status=Status(StatusCode.ERROR, text),
            resource=Resource({text: text}, text),
            instrumentation_scope=InstrumentationScope(text, text, text, {text: text}),
            parent=context,
            kind=SpanKind.CLIENT,
            start_time=1,
            end_time=2,
        )

    assert request_of([made(HALF)]) == encode_spans([made(WHOLE)])


def test_keys_stay_apart():
    (group,) = request_of(
        [span(1, attributes=dict(zip(["\ud800", "\ud801", "\ufffd"], [1, 2, 3], strict=True)))]
    ).resource_spans
    keys = {one.key: one.value.int_value for one in group.scope_spans[0].spans[0].attributes}
    assert sorted(keys.values()) == [1, 2, 3]


def test_said_once_for_all_spans(caplog):
    failures.forget()
    request_of([span(n + 1, attributes={"text": HALF, "number": LONG}) for n in range(3)])
    text, number = (record.getMessage() for record in caplog.records)
    assert text == (
        "Text that is not Unicode (it has lone surrogates, as a text has that was cut inside of an emoji) is sent with "
        "U+FFFD in their place."
    )
    assert number == "Integers of more than 64 bits are sent as text."


def test_a_span_that_cannot_be_encoded_raises():
    for bad in (span(1, start_time=-1), span(1, attributes={"x": Unprintable()})):
        with pytest.raises(ValueError, match=r"out of range|unprintable"):
            request_of([span(2), bad])


def test_usual_spans_are_encoded_at_once(monkeypatch: pytest.MonkeyPatch):
    copied = []
    original = span_encoder.sendable_span
    monkeypatch.setattr(span_encoder, "sendable_span", lambda span: (copied.append(span), original(span))[1])
    usual = {"text": "ü", "number": 1, "ratio": 0.5, "yes": True, "tags": ("a", "b"), "data": b"x"}
    made = [
        span(1, attributes=usual, status=Status(StatusCode.ERROR, "why"), parent=SpanContext(1, 9, is_remote=True)),
        span(2, attributes=usual, events=[Event("exception", {"exception.type": "E"}, 5)]),
        span(3, kind=SpanKind.SERVER, links=[Link(SpanContext(1, 9, is_remote=True), usual)]),
    ]
    assert request_of(made) == encode_spans(made)
    assert copied == []
    bad = span(4, attributes={"text": HALF})
    request_of([*made, bad])
    assert copied == [bad]


def test_equal_resources_are_told_apart_and_none_is_lost():
    twins = [Resource({"service.name": "a"}) for _ in range(2)]
    made = [
        ReadableSpan(name="x", context=SpanContext(1, n + 1, is_remote=False), resource=twins[n % 2]) for n in range(4)
    ]
    groups = request_of(made).resource_spans
    assert [[span.span_id[-1] for span in group.scope_spans[0].spans] for group in groups] == [[1, 3], [2, 4]]


@for_each(["ok", HALF])
def test_what_limits_have_dropped_is_counted(text):
    limits = SpanLimits(max_span_attributes=1, max_events=1, max_event_attributes=1, max_links=1)
    provider, two = TracerProvider(span_limits=limits, shutdown_on_exit=False), {"a": 1, "b": text}
    links = [Link(SpanContext(2, 2, is_remote=True), two)] * 2
    made = provider.get_tracer("x").start_span("x", attributes=two, links=links)
    for _ in range(2):
        made.add_event("e", two)
    made.end()
    encoded = request_of([made])
    if text == "ok":
        assert encoded == encode_spans([made])
    message = encoded.resource_spans[0].scope_spans[0].spans[0]
    counts = message.dropped_attributes_count, message.dropped_events_count, message.dropped_links_count
    assert (*counts, message.events[0].dropped_attributes_count) == (1, 1, 1, 1)
    linked = span(1, attributes=two, links=[Link(SpanContext(2, 2, is_remote=True), BoundedAttributes(1, two))])
    (link,) = request_of([linked]).resource_spans[0].scope_spans[0].spans[0].links
    assert link.dropped_attributes_count == 1
