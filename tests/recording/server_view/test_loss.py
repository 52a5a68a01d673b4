"""Exports that Langfuse accepts and then loses as a whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse import Observations, TreeMismatch
from pytest_langfuse.recording import DecodeError, decode_otlp, decode_records
from pytest_langfuse.recording.server_view.loss import split, unconvertible
from pytest_langfuse.recording.sources import live
from tests.helpers.spans import record


def pair(key: str, value: object) -> dict[str, object]:
    return {"key": key, "value": value if isinstance(value, dict) else {"stringValue": value}}


def export(*spans: dict[str, Any], scope: object = None) -> bytes:
    ids = [{"traceId": "a" * 32, "spanId": f"{number:016x}", "name": "x"} for number in range(len(spans))]
    given = [{**known, **span} for known, span in zip(ids, spans, strict=True)]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": scope, "spans": given}]}]}).encode()


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"operation.name": 5}, "attribute 'operation.name' is 5, not text"),
        ({"operation.name": True, "model": "m"}, "attribute 'operation.name' is true, not text"),
        ({"operation.name": ["ai.toolCall"]}, "attribute 'operation.name' is [\"ai.toolCall\"], not text"),
        ({"ai.operationId": 0}, "attribute 'ai.operationId' is 0, not text"),
        ({"events": "{}"}, "attribute 'events' is JSON, but not a list"),
        ({"events": "null"}, "attribute 'events' is JSON, but not a list"),
        ({"events": "5"}, "attribute 'events' is JSON, but not a list"),
        ({"events": "[null]"}, "attribute 'events' has null among the events"),
        (
            {"langfuse.observation.type": "constructor"},
            "attribute 'langfuse.observation.type' is 'constructor', the name of a member of every JavaScript object",
        ),
        (
            {"gen_ai.prompt.0.a": "text", "gen_ai.prompt.0.a.b": "part"},
            "attribute 'gen_ai.prompt.0.a.b' describes a part of 'a', which has a value itself",
        ),
        (
            {"llm.output_messages.0.a": "text", "llm.output_messages.0.a.b.c": "part"},
            "attribute 'llm.output_messages.0.a.b.c' describes a part of 'a', which has a value itself",
        ),
    ],
)
def test_why(attributes, reason):
    assert unconvertible(record(attributes, scope="x")) == reason


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"operation.name": "ai.toolCall", "ai.operationId": "ai.toolCall"},
        {"operation.name": 5, "gen_ai.operation.name": "chat"},
        {"ai.operationId": 5, "operation.name": "ai.x"},
        {"operation.name": []},
        {"events": "broken"},
        {"events": "[]"},
        {"events": 5},
        {"events": "{}", "langfuse.observation.input": "i"},
        {"events": "{}", "prompt": "p"},
        {"langfuse.observation.type": "bogus"},
        {"langfuse.observation.level": "constructor"},
        {"gen_ai.prompt.0.a.b": "part", "gen_ai.prompt.0.a.c": "part"},
        {"gen_ai.prompt.0.a": "text", "gen_ai.prompt.0.a.b": "part", "input": "i"},
    ],
)
def test_what_is_shown(attributes):
    assert unconvertible(record(attributes, scope="x")) is None


def test_an_event_that_is_read_like_a_span():
    span = record({}, scope="x", events=[("gen_ai.content.prompt", {"events": "{}"})])
    assert unconvertible(span) == "attribute 'events' is JSON, but not a list"
    assert unconvertible(record({}, scope="x", events=[("exception", {"events": "{}"})])) is None


def test_one_span_loses_its_export_and_no_other():
    exports = [
        [record({}, number=1), record({"operation.name": 5}, number=2, name="odd")],
        [record({}, number=3)],
    ]
    shown, lost = split(exports)
    assert shown == exports[1]
    assert [item.record for item in lost] == exports[0]
    assert {item.reason for item in lost} == {
        "Langfuse accepts its export and then loses it: attribute 'operation.name' is 5, not text, in span 'odd'"
    }


@pytest.mark.parametrize(
    ("span", "scope", "reason"),
    [
        ({"attributes": [None]}, None, "a null is among the attributes"),
        ({"attributes": [{"key": "k"}]}, None, "attribute 'k' has no value"),
        ({"attributes": [5]}, None, "attribute 'undefined' has no value"),
        (
            {"attributes": [pair("k", {"arrayValue": {"values": [None]}})]},
            None,
            "attribute 'k' has no value",
        ),
        (
            {"attributes": [pair("k", {"arrayValue": {"values": {}}})]},
            None,
            "attribute 'k' has an arrayValue without a list of values",
        ),
        (
            {"attributes": [pair("k", {"arrayValue": []})]},
            None,
            "attribute 'k' has an arrayValue without a list of values",
        ),
        ({}, {"name": 5}, "the name of its scope is 5, not text"),
        ({}, {"name": "x", "attributes": [None]}, "a null is among the attributes, in a scope"),
        ({"events": [None]}, None, "a null is among its events"),
        ({"events": [{"name": "gen_ai.choice", "attributes": [{"key": "k"}]}]}, None, "attribute 'k' has no value"),
    ],
)
def test_json_that_only_the_endpoint_takes(span, scope, reason):
    body = export(span, {}, scope=scope)
    with pytest.raises(DecodeError) as error:
        decode_otlp(body)
    message = f"Langfuse accepts its export and then loses it: {reason}, in span 'x' (span 'x' and 1 more)"
    assert str(error.value) == message
    assert len(decode_records(body)) == 2  # the bytes can still be searched


@pytest.mark.parametrize(
    ("span", "scope"),
    [
        ({"events": [{"name": "exception", "attributes": [{"key": "k"}]}]}, None),
        ({"events": [None], "attributes": [pair("langfuse.observation.input", "i")]}, None),
        ({"events": [None]}, {"name": "ai"}),
    ],
)
def test_events_that_are_not_read(span, scope):
    assert len(decode_otlp(export(span, scope=scope))) == 1


def test_protobuf_without_a_value():
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name="x")
    span.attributes.add(key="k")
    with pytest.raises(DecodeError, match="attribute 'k' has no value, in span 'x'"):
        decode_otlp(request.SerializeToString())
    span.attributes[0].value.SetInParent()
    assert len(decode_otlp(request.SerializeToString())) == 1


def test_a_file_keeps_the_exports_that_are_shown(tmp_path):
    bad, good = export({"name": "bad", "attributes": [pair("events", "{}")]}), export({"name": "good", "spanId": "c"})
    file = tmp_path / "traces.jsonl"
    file.write_bytes(bad + b"\n" + good)
    spans = Observations.from_file(file)
    assert [span.name for span in spans] == ["good"]
    with pytest.raises(TreeMismatch) as error:
        spans.assert_tree("span bad\nspan good")
    assert "accepts its export and then loses it: attribute 'events' is JSON, but not a list" in " ".join(
        str(error.value).split()
    )
    with pytest.raises(AssertionError, match="bad"):
        spans.assert_flushed()


def test_a_span_of_this_process(langfuse_spans):
    from langfuse import get_client

    langfuse = get_client()
    langfuse.start_observation(name="fine").end()
    with langfuse.start_as_current_observation(name="odd") as odd:
        odd._otel_span.set_attribute("operation.name", 5)
        odd._otel_span.set_attribute("langfuse.observation.type", "")
    assert [span.name for span in langfuse_spans] == ["fine"]
    with pytest.raises(TreeMismatch) as error:
        langfuse_spans.assert_tree("span fine\nspan odd")
    assert "loses all of it: attribute 'operation.name' is 5, not text" in str(error.value)
    with pytest.raises(AssertionError, match="odd"):
        langfuse_spans.assert_flushed()


def test_an_event_of_a_span_of_this_process(langfuse_spans):
    from langfuse import get_client

    with get_client().start_as_current_observation(name="odd") as odd:
        odd._otel_span.add_event("gen_ai.content.prompt", {"events": "{}"})
    assert not langfuse_spans
    with pytest.raises(AssertionError, match="attribute 'events' is JSON, but not a list"):
        langfuse_spans.assert_flushed()


def test_a_span_is_checked_once(langfuse_spans, monkeypatch):
    from langfuse import get_client

    checked = []
    monkeypatch.setattr(live, "is_suspect", lambda attributes: checked.append(dict(attributes)))
    for name in ("a", "b"):
        get_client().start_observation(name=name).end()
        assert [len(langfuse_spans), len(langfuse_spans.unexported)] == [len(checked), 0]
