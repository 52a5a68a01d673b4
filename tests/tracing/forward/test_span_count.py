"""Spans are counted by the lengths of fields, which also tells a whole body from a cut one."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.tracing.forward.span_count import count_spans
from tests.helpers.forwarding import export_body
from tests.helpers.paths import ROOT


@given(
    scopes=st.lists(st.lists(st.lists(st.integers(0, 40_000), max_size=4), max_size=3), max_size=3),
    schema=st.text(max_size=200),
)
def test_it_is_the_number_that_protobuf_finds(scopes, schema):
    request = ExportTraceServiceRequest()
    for resource in scopes:
        resource_spans = request.resource_spans.add(schema_url=schema)
        resource_spans.resource.attributes.add(key="service.name").value.string_value = schema
        for spans in resource:
            scope_spans = resource_spans.scope_spans.add(schema_url=schema)
            scope_spans.scope.name = schema
            for size in spans:
                scope_spans.spans.add(name="x" * size, kind=1, flags=256, start_time_unix_nano=1)
    data = request.SerializeToString()
    assert count_spans(data) == sum(len(spans) for resource in scopes for spans in resource)
    assert count_spans(data + data) == 2 * count_spans(data)


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "golden").glob("*.otlp.bin")), ids=lambda path: path.stem)
def test_real_bodies(path):
    data = gzip.decompress(path.read_bytes())
    request = ExportTraceServiceRequest.FromString(data)
    assert count_spans(data) == sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)


def test_no_beginning_of_a_body_is_a_body():
    data = export_body("a", "b", size=300)
    assert [end for end in range(1, len(data)) if count_spans(data[:end]) is not None] == []


@pytest.mark.parametrize(
    "size", [0, 1, 125, 126, 127, 128, 16_380, 16_381, 16_382, 16_383, 16_384, 2_097_151, 2_097_152]
)
def test_spans_whose_lengths_take_one_to_four_bytes(size):
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for name in ("x" * size, "", "x" * 200, "x" * size):
        spans.add(name=name)
    data = request.SerializeToString()
    assert count_spans(data) == 4
    assert count_spans(data[:-1]) is None


@given(st.binary(max_size=60))
def test_any_bytes_give_an_answer(data):
    assert count_spans(data) is None or count_spans(data) >= 0


def test_fields_of_all_wire_types_are_passed_over():
    # Field 15 as varint, 64 and 32 bits; field 100 with a tag of two bytes.
    others = b"\x78\x96\x01" + b"\x79" + bytes(8) + b"\x7d" + bytes(4) + b"\xa2\x06\x02ab"
    assert count_spans(others + export_body("a") + others) == 1
    assert count_spans(b"\x7b") is None
