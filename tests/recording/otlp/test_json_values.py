"""OTLP/JSON as Langfuse's ingestion reads it. The expected values are what its own code makes of them."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_langfuse.recording import DecodeError, Observation, decode_otlp, decode_records

START, END = "1700000000123456789", "1700000001000000000"


def export(scope: object = None, **span: Any) -> bytes:
    given = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "x", **span}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": scope, "spans": [given]}]}]}).encode()


def shown(value: object) -> Any:
    """What Langfuse shows of an attribute with this OTLP/JSON value."""
    (observation,) = decode_otlp(export(attributes=[{"key": "k", "value": value}]))
    return observation.metadata["attributes.k"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"doubleValue": None}, None),
        ({"doubleValue": "abc"}, "abc"),
        ({"doubleValue": "Infinity"}, "Infinity"),
        ({"doubleValue": "2.50"}, 2.5),
        ({"doubleValue": " 0x10 "}, 16),
        ({"doubleValue": True}, True),
        ({"stringValue": None}, None),
        ({"stringValue": 5}, 5),
        ({"stringValue": {"a": [1]}}, {"a": [1]}),
        ({"boolValue": "true"}, True),
        ({"intValue": "1.5"}, 1.5),
        ({"intValue": ""}, 0),
        ({"intValue": "x"}, {"intValue": "x"}),
        ({"intValue": None}, {"intValue": None}),
        ({"intValue": True}, {"intValue": True}),
        ({"intValue": {"low": 7, "high": 0}}, 7),
        ({"intValue": {"low": -1, "high": -1}}, -1),
        ({"intValue": {"low": 3, "high": 2}}, 2 * 2**32 + 3),
        ({"intValue": {"low": "3", "high": 2}}, 85899345923),
        ({"intValue": {"high": 0}}, {"intValue": {"high": 0}}),
        ({"intValue": "9223372036854775807"}, 9223372036854776000),
        ({"arrayValue": {"values": []}}, []),
        ({"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": None}, {}]}}, ["a", None, "{}"]),
        ({"arrayValue": {}}, {"arrayValue": {}}),
        ({"arrayValue": None, "intValue": 1}, 1),
        (
            {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": 5}}]}},
            {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": 5}}]}},
        ),
        ({"bytesValue": "AQI="}, {"bytesValue": "AQI="}),
        ({}, {}),
        ("text", "text"),
        (5, 5),
        (False, False),
    ],
)
def test_a_value(value, expected):
    assert shown(value) == expected
    assert type(shown(value)) is type(expected)


def test_the_attributes_are_as_the_application_set_them():
    pairs = {
        "map": {"kvlistValue": {"values": [{"key": "k", "value": {"bytesValue": "AQI="}}]}},
        "list": {"arrayValue": {"values": [{"kvlistValue": {}}, {"arrayValue": {}}, {}]}},
        "bytes": {"bytesValue": "no base64"},
    }
    body = export(attributes=[{"key": key, "value": value} for key, value in pairs.items()])
    (record,) = decode_records(body)
    assert record.attributes["map"] == {"k": b"\x01\x02"}
    assert record.attributes["list"] == [{}, [], None]
    assert pickle.loads(pickle.dumps(record.attributes)).ingested == record.attributes.ingested
    assert copy.deepcopy(record.attributes).ingested["list"] == ['{"kvlistValue":{}}', '{"arrayValue":{}}', "{}"]


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("ABCDEF", "ABCDEF"),
        ("q83vEjRWeJCrze8SNFZ4kA==", "q83vEjRWeJCrze8SNFZ4kA=="),
        ("short", "short"),
        ([1, 2, 300, "5", None], "01022c0500"),
        ({"type": "Buffer", "data": [1, 255]}, "01ff"),
        ([], ""),
    ],
)
def test_an_id(identifier, expected):
    (observation,) = decode_otlp(export(traceId=identifier, spanId=identifier, parentSpanId=identifier))
    assert (observation.trace_id, observation.id, observation.parent_id or "") == (expected, expected, expected)


@pytest.mark.parametrize("parent", [None, "", 0, False])
def test_no_parent(parent):
    assert decode_otlp(export(parentSpanId=parent))[0].parent_id is None


@pytest.mark.parametrize(
    ("time", "milliseconds"),
    [
        (START, 1_700_000_000_123),
        (1700000000123456789, 1_700_000_000_123),
        ({"low": -1, "high": 395812345}, 1_700_001_081_423),
        ({"low": 0, "high": 395812345}, 1_700_001_077_128),
        ("0x5F5E100000000", 1_677_721_600),
        (" 1000000 ", 1),
        ("0", 0),
        (0, 0),
        ("-1999999", -1),
    ],
)
def test_a_time(time, milliseconds):
    (observation,) = decode_otlp(export(startTimeUnixNano=time, endTimeUnixNano=time))
    expected = datetime.fromtimestamp(milliseconds / 1000, UTC)
    assert (observation.start_time, observation.end_time) == (expected, expected)


@pytest.mark.parametrize(
    "time", [None, "", "soon", "1.5", True, [], {}, {"low": "5", "high": 1}, {"low": 1, "high": 0.5}]
)
def test_a_time_that_is_missing_is_that_of_the_other_end(time):
    (from_end,) = decode_otlp(export(startTimeUnixNano=time, endTimeUnixNano=END))
    (from_start,) = decode_otlp(export(startTimeUnixNano=START, endTimeUnixNano=time))
    (unknown,) = decode_otlp(export(startTimeUnixNano=time, endTimeUnixNano=time))
    assert from_end.start_time == from_end.end_time == datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC)
    assert from_start.end_time == from_start.start_time == datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)
    assert (unknown.start_time, unknown.end_time, unknown.duration) == (None, None, None)


@pytest.mark.parametrize("time", ["9" * 30, 1e300, "9" * 10_000, str(8_639_999 * 10**15)])
def test_a_time_beyond_every_calendar(time):
    (observation,) = decode_otlp(export(startTimeUnixNano=time, endTimeUnixNano=time))
    assert observation.start_time is None


@pytest.mark.parametrize(
    ("name", "expected"), [(None, ""), (["a", 1], '["a",1]'), ({"a": 1}, '{"a":1}'), (5, "5"), (True, "true")]
)
def test_a_name_that_is_not_text(name, expected):
    (observation,) = decode_otlp(export(name=name, status={"message": name}))
    assert (observation.name, observation.status_message or "") == (expected, expected)


@pytest.mark.parametrize("scope", [None, {}, {"name": None}, "x", 5, []])
def test_an_odd_scope(scope):
    (observation,) = decode_otlp(export(scope=scope))
    assert (observation.record.scope_name, observation.record.scope_version) == ("", None)


@pytest.mark.parametrize(
    "resource_spans", [[None], [5], [{}], [{"resource": 5}], [{"scopeSpans": [None, 5, "x"]}], None]
)
def test_an_export_of_no_spans(resource_spans):
    assert decode_otlp(json.dumps({"resourceSpans": resource_spans}).encode()) == []


@pytest.mark.parametrize("key", [5, None, True, ["a"]])
def test_a_key_that_is_not_text_becomes_text(key):
    (observation,) = decode_otlp(export(attributes=[{"key": key, "value": {"stringValue": "v"}}]))
    assert list(observation.attributes.values()) == ["v"]


def test_an_attribute_that_would_set_a_prototype_is_lost():
    (observation,) = decode_otlp(export(attributes=[{"key": "__proto__", "value": {"stringValue": "v"}}]))
    assert (observation.metadata, observation.attributes) == ({}, {"__proto__": "v"})


def test_numbers_of_thousands_of_digits():
    body = export(attributes=[{"key": "k", "value": {"intValue": 1}}]).replace(b": 1}", b": 1" + b"0" * 5000 + b"}")
    (observation,) = decode_otlp(body)
    assert observation.metadata["attributes.k"] == {"intValue": None}  # more than a double can hold


def test_bytes_that_are_not_utf8_are_replaced():
    (observation,) = decode_otlp(export(name="ab").replace(b'"ab"', b'"a\xff"'))
    assert observation.name == "a\N{REPLACEMENT CHARACTER}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["low", "high", "values", "key", "value", "type", "data"]), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = [
    *(
        "langfuse.observation.type",
        "langfuse.observation.input",
        "langfuse.observation.metadata",
        "langfuse.trace.tags",
    ),
    *("langfuse.observation.metadata.__proto__", "langfuse.observation.level", "langfuse.observation.usage_details"),
    *(
        "langfuse.observation.cost_details",
        "langfuse.observation.model.parameters",
        "langfuse.environment",
        "__proto__",
    ),
    *("operation.name", "ai.operationId", "events", "gen_ai.prompt.0.a", "gen_ai.prompt.0.a.b", "gen_ai.completion"),
    *("gen_ai.usage.input_tokens", "ai.response.providerMetadata", "ai.usage.reasoningTokens", "genkit:output"),
    *("llm.tools.0.tool.json_schema", "gen_ai.tool.definitions", "model_request_parameters", "gen_ai.tool.name"),
    *("gen_ai.input.messages", "gen_ai.system_instructions", "ai.telemetry.metadata.langfusePrompt", "model"),
]
texts = json_values.map(json.dumps)
values = st.one_of(
    json_values,
    st.builds(
        lambda kind, value: {kind: value},
        st.sampled_from(
            ["stringValue", "doubleValue", "boolValue", "intValue", "arrayValue", "kvlistValue", "bytesValue"]
        ),
        json_values | texts,
    ),
)
attributes = st.lists(
    json_values | st.fixed_dictionaries({"key": st.sampled_from(KEYS) | json_values, "value": values}), max_size=4
)
events = st.lists(
    json_values
    | st.fixed_dictionaries(
        {
            "name": st.sampled_from(["gen_ai.choice", "gen_ai.user.message", "gen_ai.content.prompt"]),
            "attributes": attributes,
        }
    ),
    max_size=2,
)
spans = st.fixed_dictionaries(
    {"traceId": st.just("a" * 32) | json_values, "spanId": st.just("b") | json_values},
    optional={
        "parentSpanId": json_values,
        "name": json_values,
        "startTimeUnixNano": json_values,
        "endTimeUnixNano": json_values,
        "status": json_values | st.fixed_dictionaries({"code": json_values, "message": json_values}),
        "attributes": attributes | json_values,
        "events": events | json_values,
    },
)
scopes = st.sampled_from([{"name": name} for name in ("langfuse-sdk", "ai", "genkit-tracer", "x")]) | json_values
documents = st.fixed_dictionaries(
    {
        "resourceSpans": st.lists(
            st.fixed_dictionaries(
                {
                    "resource": st.fixed_dictionaries({"attributes": attributes}) | json_values,
                    "scopeSpans": st.lists(
                        st.fixed_dictionaries({"scope": scopes, "spans": st.lists(spans, max_size=2) | json_values})
                        | json_values,
                        max_size=2,
                    )
                    | json_values,
                }
            )
            | json_values,
            max_size=2,
        )
        | json_values
    }
)


@pytest.mark.slow
@given(documents)
def test_any_json_at_any_place_is_observations_or_one_error(document):
    body = json.dumps(document).encode()
    with suppress(DecodeError):
        decode_records(body)
    with suppress(DecodeError):
        for observation in decode_otlp(body):
            for field in fields(Observation):
                getattr(observation, field.name)
            assert repr(observation)


def calls(body: bytes) -> int:
    """The number of Python functions and lines that run while a body is decoded and read."""
    counts: Counter[str] = Counter()

    def count(_frame: object, event: str, _argument: object) -> Any:
        counts[event] += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        for observation in decode_otlp(body):
            for field in fields(Observation):
                getattr(observation, field.name)
    finally:
        sys.settrace(before)
    return counts.total()


def attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [
        lambda size: [attribute(f"k{number}", "v") for number in range(size)],
        lambda size: [attribute(f"gen_ai.prompt.{number}.role", "user") for number in range(size)],
        lambda size: [attribute("gen_ai.prompt.0" + ".0" * size, "deep")],
        lambda size: [attribute(f"gen_ai.prompt.0{'.0' * 20}.{number}", "long") for number in range(size)],
        lambda size: [attribute("gen_ai.prompt" + ".a" * size, "deep")],
        lambda size: [attribute(f"langfuse.observation.metadata.k{number}", '{"a": 1}') for number in range(size)],
        lambda size: [attribute("events", json.dumps([{"event.name": "gen_ai.choice", "n": n} for n in range(size)]))],
        lambda size: [attribute("gen_ai.tool.definitions", json.dumps([{"name": f"t{n}"} for n in range(size)]))],
        lambda size: [
            attribute("langfuse.observation.model.parameters", json.dumps({str(n): [n] for n in range(size)}))
        ],
        lambda size: [{"key": "k", "value": {"arrayValue": {"values": [{"intValue": n} for n in range(size)]}}}],
        lambda size: [
            {"key": "k", "value": {"kvlistValue": {"values": [attribute(f"k{n}", "v") for n in range(size)]}}}
        ],
    ],
)
def test_the_work_grows_with_the_body(build):
    calls(export(attributes=build(1)))  # imports
    small, large = (calls(export(attributes=build(size))) for size in (500, 2000))
    assert large < 4.6 * small
