"""Each vector, from the export body and from the same spans in memory, field by field."""

from __future__ import annotations

import gzip
from collections.abc import Iterable

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode

from pytest_langfuse.recording import build_traces, decode_otlp, from_readable_span, link, observe
from tests.helpers.vectors import INSTRUMENTATIONS, NAMES, OBSERVATION, TRACE, body, differences, view


def spans_in_memory(name: str) -> Iterable[ReadableSpan]:
    """The spans of a body as the SDK holds them before it encodes them."""
    request = ExportTraceServiceRequest.FromString(gzip.decompress(body(name)))
    for resource_spans in request.resource_spans:
        resource = Resource(attributes_of(resource_spans.resource))
        for scope_spans in resource_spans.scope_spans:
            scope = InstrumentationScope(
                scope_spans.scope.name, scope_spans.scope.version or None, None, attributes_of(scope_spans.scope)
            )
            for span in scope_spans.spans:
                yield ReadableSpan(
                    name=span.name,
                    context=context(span.trace_id, span.span_id),
                    parent=context(span.trace_id, span.parent_span_id) if span.parent_span_id else None,
                    resource=resource,
                    attributes=attributes_of(span),
                    events=[Event(event.name, attributes_of(event)) for event in span.events],
                    status=Status(StatusCode(span.status.code), span.status.message or None),
                    start_time=span.start_time_unix_nano,
                    end_time=span.end_time_unix_nano,
                    instrumentation_scope=scope,
                )


def context(trace_id: bytes, span_id: bytes) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), is_remote=False)


def attributes_of(message):
    return {pair.key: value_of(pair.value) for pair in message.attributes}


def value_of(value):
    kind = value.WhichOneof("value")
    return tuple(map(value_of, value.array_value.values)) if kind == "array_value" else getattr(value, kind)


@pytest.mark.parametrize("name", [*NAMES, *INSTRUMENTATIONS])
def test_a_body_decodes_to_what_the_server_makes_of_it(name):
    observations = decode_otlp(body(name))
    assert differences(view(name)["observations"], observations, OBSERVATION) == []


@pytest.mark.parametrize("name", NAMES)
def test_spans_in_memory_look_like_what_the_server_makes_of_them(name):
    observations = link([observe(from_readable_span(span)) for span in spans_in_memory(name)])
    assert differences(view(name)["observations"], observations, OBSERVATION) == []


@pytest.mark.parametrize("name", [name for name in NAMES if view(name).get("traces")])
def test_traces_aggregate_as_the_server_reads_them(name):
    traces = build_traces(decode_otlp(body(name)))
    assert differences(view(name)["traces"], traces, TRACE) == []


def test_there_are_vectors():
    assert (len(NAMES) > 30, len(INSTRUMENTATIONS)) == (True, 85)
