"""Decoding export bodies: protobuf and JSON, compressed or not, and what is said about bytes that are none."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from contextlib import suppress
from dataclasses import fields

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.recording import DecodeError, Observation, decode_otlp, decode_records
from pytest_langfuse.recording.otlp import decompress
from tests.helpers.vectors import NAMES, OBSERVATION, body, differences, view

PROTOBUF = gzip.decompress(body("nested"))
ENUM_NAMES = {0: "STATUS_CODE_UNSET", 1: "STATUS_CODE_OK", 2: "STATUS_CODE_ERROR"}


def as_otlp_json(protobuf: bytes) -> dict:
    """Return the same request as a JSON exporter writes it: ids in hex, enums as numbers."""
    request = ExportTraceServiceRequest.FromString(protobuf)
    document = json_format.MessageToDict(request, use_integers_for_enums=True)
    for span in spans_of(document):
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in span:
                span[key] = base64.b64decode(span[key]).hex()
    return document


def spans_of(document: dict):
    return [
        span
        for resource_spans in document["resourceSpans"]
        for scope_spans in resource_spans["scopeSpans"]
        for span in scope_spans["spans"]
    ]


def one_span(**span) -> bytes:
    given = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "x", **span}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "s"}, "spans": [given]}]}]}).encode()


def fails(data: bytes, encoding: str | None = None) -> str:
    with pytest.raises(DecodeError) as error:
        decode_records(data, encoding=encoding)
    assert isinstance(error.value, ValueError)
    return str(error.value)


def read(observations: list[Observation]) -> None:
    """Read all fields, which are decoded only then."""
    for observation in observations:
        assert len([getattr(observation, field.name) for field in fields(observation)]) > 20


class TestForms:
    @pytest.mark.parametrize("name", NAMES)
    def test_json_says_what_protobuf_says(self, name):
        document = json.dumps(as_otlp_json(gzip.decompress(body(name)))).encode()
        assert differences(view(name)["observations"], decode_otlp(document), OBSERVATION) == []

    def test_json_as_protobuf_itself_writes_it(self):
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body("exc_context")))
        document = json_format.MessageToDict(request)
        spans = {span["spanId"]: span for span in spans_of(document)}
        for observation in decode_otlp(json.dumps(document).encode()):
            # Langfuse takes the base64 for the id, and the name of the status for no error.
            span = spans[observation.id]
            assert observation.trace_id == span["traceId"]
            assert span["status"]["code"] == "STATUS_CODE_ERROR"
            assert observation.record.status == "UNSET"

    @pytest.mark.parametrize(
        ("data", "encoding"),
        [
            (PROTOBUF, None),
            (PROTOBUF, "identity"),
            (bytearray(PROTOBUF), None),
            (gzip.compress(PROTOBUF), None),
            (gzip.compress(PROTOBUF), "gzip"),
            (gzip.compress(PROTOBUF), " X-GZip "),
            (gzip.compress(PROTOBUF[:50]) + gzip.compress(PROTOBUF[50:]), None),
            (zlib.compress(PROTOBUF), "deflate"),
            (zlib.compress(PROTOBUF, wbits=-15), "deflate"),
            (gzip.compress(json.dumps(as_otlp_json(PROTOBUF)).encode()), None),
            (b"\xef\xbb\xbf" + json.dumps(as_otlp_json(PROTOBUF)).encode(), None),
            (b"\n" + json.dumps(as_otlp_json(PROTOBUF), indent=1).encode() + b"\n", None),
            (json.dumps(as_otlp_json(PROTOBUF)["resourceSpans"]).encode(), None),
        ],
        # Not the bytes: gzip puts the time into them, and the workers of xdist must agree on a test's name.
        ids=[
            "plain",
            "identity",
            "bytearray",
            "gzip unsaid",
            "gzip",
            "x-gzip",
            "two gzip members",
            "zlib",
            "deflate",
            "gzip of JSON",
            "JSON with a mark",
            "JSON with space",
            "JSON of resource spans alone",
        ],
    )
    def test_the_same_observations(self, data, encoding):
        assert {item.name for item in decode_otlp(data, encoding=encoding)} == {
            item["name"] for item in view("nested")["observations"]
        }

    def test_several_documents_one_a_line(self):
        lines = b"\n".join([one_span(name="one"), b"", one_span(name="two", spanId="c" * 16), b""])
        assert [record.name for record in decode_records(lines)] == ["one", "two"]

    def test_a_body_that_begins_like_json_after_a_line_feed_may_be_protobuf(self):
        request = ExportTraceServiceRequest()
        span = request.resource_spans.add().scope_spans.add().spans.add()
        span.trace_id, span.span_id = b"t" * 16, b"s" * 8
        span.name = "x" * 89
        data = request.SerializeToString()
        assert data.startswith(b"\n{")
        assert decode_records(data)[0].name == span.name

    def test_records_keep_the_order_of_the_body_observations_that_of_their_start(self):
        expected = [item["name"] for item in view("nested")["observations"]]
        assert [record.name for record in decode_records(PROTOBUF)] == expected
        observations = decode_otlp(PROTOBUF)
        assert observations[0].parent is None
        assert observations[0].name == expected[-1]
        assert observations[1] in observations[0].children

    def test_the_raw_span_is_kept(self):
        assert decode_otlp(PROTOBUF)[0].span.trace_id.hex() == decode_otlp(PROTOBUF)[0].trace_id
        assert decode_otlp(one_span())[0].span["name"] == "x"

    def test_scopes_without_spans_are_an_export_of_none(self):
        request = ExportTraceServiceRequest()
        request.resource_spans.add()
        assert decode_otlp(request.SerializeToString()) == []
        assert decode_otlp(b'{"resourceSpans": []}') == []


class TestJsonValues:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ({"stringValue": "x"}, "x"),
            ({"boolValue": False}, False),
            ({"intValue": "-9007199254740991"}, -(2**53 - 1)),
            ({"intValue": 7}, 7),
            ({"doubleValue": 1.5}, 1.5),
            ({"doubleValue": "2.5"}, 2.5),
            ({"doubleValue": "NaN"}, "NaN"),
            ({"bytesValue": "AQI="}, b"\x01\x02"),
            ({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}}, [1, "a"]),
            ({"arrayValue": {}}, []),
            ({"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": True}}]}}, {"k": True}),
            ({}, None),
            (None, None),
        ],
    )
    def test_value(self, value, expected):
        (record,) = decode_records(one_span(attributes=[{"key": "v", "value": value}]))
        assert record.attributes == {"v": expected}

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            (0, "UNSET"),
            (1, "OK"),
            (2, "ERROR"),
            (2.0, "ERROR"),
            (3, "UNSET"),
            (True, "UNSET"),
            ("2", "UNSET"),
            ("STATUS_CODE_ERROR", "UNSET"),
            (None, "UNSET"),
            ([2], "UNSET"),
        ],
    )
    def test_status(self, code, status):
        (record,) = decode_records(one_span(status={"code": code, "message": "m"}))
        assert (record.status, record.status_message) == (status, "m")

    def test_the_rest(self):
        (record,) = decode_records(
            one_span(
                parentSpanId="",
                startTimeUnixNano="1700000000000000001",
                endTimeUnixNano=1700000001,
                events=[{"name": "e", "attributes": [{"key": "k", "value": {"stringValue": "v"}}]}],
                unknown={"fields": "are ignored"},
            )
        )
        assert record.parent_span_id is None
        assert (record.start_ns, record.end_ns) == (1_700_000_000_000_000_001, 1_700_000_001)
        assert [(event.name, event.attributes) for event in record.events] == [("e", {"k": "v"})]
        assert (record.scope_name, record.scope_version, record.wire) == ("s", None, "json")


def no_export(hint: str) -> str:
    return f"the body is JSON, but not an OTLP trace export: {hint}; expected an object with the key 'resourceSpans'"


EXPECTED = "expected an OTLP trace export (protobuf or JSON, gzip or not)"


class TestErrors:
    def test_nothing(self):
        expected = "the body is empty; expected an OTLP trace export (protobuf or JSON)"
        assert fails(b"") == expected
        assert fails(gzip.compress(b"")) == expected

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (
                b"<!DOCTYPE html>\n<html><body>Sign in</body></html>",
                f"the body is HTML: '<!DOCTYPE html>\\n<html><body>Sign in</body></html>'; {EXPECTED}",
            ),
            (b"  <html>", f"the body is HTML: '<html>'; {EXPECTED}"),
            (b'<?xml version="1.0"?><Error/>', f"the body is XML: '<?xml version=\"1.0\"?><Error/>'; {EXPECTED}"),
            (b"upstream connect error", f"the body is text: 'upstream connect error'; {EXPECTED}"),
            ("überfüllt".encode(), f"the body is text: 'überfüllt'; {EXPECTED}"),
            (b"x" * 30 + b" y" * 60, f"the body is text: '{'x' * 30 + ' y' * 15}…'; {EXPECTED}"),
            (b"PK\x03\x04rest", f"the body is a zip archive; {EXPECTED}"),
            (b"\x28\xb5\x2f\xfdrest", f"the body is zstd; {EXPECTED}"),
            (
                b"\xff\xfe\x00\x01",
                f"the 4 bytes are neither protobuf of a trace export nor JSON, they begin with ff fe 00 01; {EXPECTED}",
            ),
        ],
    )
    def test_what_the_bytes_look_like(self, data, message):
        assert fails(data) == message
        assert fails(gzip.compress(data)) == message

    def test_base64(self):
        message = fails(base64.b64encode(PROTOBUF))
        assert message.startswith("the body looks like base64, decode it first: ")

    def test_protobuf_that_is_cut(self):
        message = fails(PROTOBUF[:-20])
        assert message.startswith("the body begins like protobuf but is damaged or truncated (")
        assert message.endswith(f"{EXPECTED})")

    def test_another_protobuf_message(self):
        logs = ExportLogsServiceRequest()
        logs.resource_logs.add().scope_logs.add().log_records.add().severity_text = "INFO"
        assert fails(logs.SerializeToString()) == (
            "the span '' of scope '' has no trace id; is this an export of logs or metrics? "
            "Expected an OTLP trace export"
        )

    @pytest.mark.parametrize("cut", [5, 30, -9, -1])
    def test_gzip_that_is_cut(self, cut):
        data = gzip.compress(PROTOBUF)[:cut]
        assert fails(data).startswith(f"the gzip body is truncated: it ends after {len(data)} bytes (")

    def test_gzip_that_is_damaged(self):
        data = bytearray(gzip.compress(PROTOBUF))
        data[-6] ^= 0xFF
        assert fails(bytes(data)).startswith("the gzip body is damaged after ")

    def test_gzip_with_something_after_it(self):
        assert fails(gzip.compress(PROTOBUF) + b"rest").startswith("the gzip body is damaged after ")

    @pytest.mark.parametrize(("compress", "name"), [(gzip.compress, "gzip"), (zlib.compress, "deflate")])
    def test_a_bomb(self, monkeypatch, compress, name):
        monkeypatch.setattr(decompress, "MAX_DECODED_BYTES", 1000)
        data = compress(bytes(100_000))
        assert fails(data, name) == (
            f"the {name} body of {len(data)} bytes decompresses to more than 1000 bytes, the most that is decoded"
        )

    def test_members_of_a_bomb_are_counted_together(self, monkeypatch):
        monkeypatch.setattr(decompress, "MAX_DECODED_BYTES", 1000)
        assert "more than 1000 bytes" in fails(gzip.compress(bytes(600)) * 2)
        assert fails(gzip.compress(b"\xff" * 500) * 2).startswith("the 1000 bytes are neither protobuf")

    def test_the_wrong_encoding(self):
        assert fails(PROTOBUF, "gzip").startswith("the body is not gzip: the ")
        assert fails(b"plain", "deflate") == f"the body is not deflate: the body is text: 'plain'; {EXPECTED}"
        assert fails(PROTOBUF, "br") == ("the encoding 'br' is not supported; expected 'gzip', 'deflate' or 'identity'")

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b'{"resourceSpans": [', "the JSON body is truncated at line 1, column 20: Expecting value"),
            (b'{\n "a": x}', "the JSON body is broken at line 2, column 7: Expecting value"),
            (b'{"a": "\xff"}', no_export("its keys are 'a'")),
            (b'{"a": NaN}', "the JSON body contains NaN, which is not JSON"),
            (b'{"a": [1, -Infinity]}', "the JSON body contains -Infinity, which is not JSON"),
            (b'{"data": []}', no_export("its keys are 'data'")),
            (b"{}", no_export("it is empty")),
            (
                b'{"resource_spans": []}',
                no_export("it has 'resource_spans', and OTLP/JSON has lowerCamelCase keys"),
            ),
            (b'{"resourceLogs": []}', no_export("it is an export of logs")),
            (
                b'{"id": "t", "observations": []}',
                no_export("it looks like a trace of Langfuse's REST API"),
            ),
            (
                b'{"resourceSpans": {}}',
                "the body is not valid OTLP/JSON: resourceSpans is an object, expected a list",
            ),
            (
                b'{"resourceSpans": [{"scopeSpans": {}}]}',
                "the body is not valid OTLP/JSON: resourceSpans[0].scopeSpans is an object, expected a list",
            ),
        ],
    )
    def test_json(self, data, message):
        assert fails(data) == message

    @pytest.mark.parametrize(
        ("span", "message"),
        [
            ({"traceId": None}, "traceId is absent, expected a string"),
            ({"spanId": 7}, "spanId is 7, expected a string, or a list of bytes"),
            ({"spanId": {"data": [1]}}, "spanId is an object, expected a string, or a list of bytes"),
            ({"parentSpanId": True}, "parentSpanId is True, expected a string, or a list of bytes"),
            ({"attributes": {"k": "v"}}, "attributes is an object, expected a list"),
            ({"events": 7}, "events is 7, expected a list"),
            ({"events": [{"attributes": "x"}]}, "events[0].attributes is 'x', expected a list"),
        ],
    )
    def test_json_names_the_place(self, span, message):
        place = "resourceSpans[0].scopeSpans[0].spans[0]."
        assert fails(one_span(**span)) == f"the body is not valid OTLP/JSON: {place}{message}"

    def test_json_that_is_nested_too_deeply(self):
        assert fails(b'{"a": ' + b"[" * 100_000) == "the JSON body is nested too deeply"

    @pytest.mark.slow
    @given(
        st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"\n" + data) | st.binary().map(gzip.compress)
    )
    def test_any_bytes_are_spans_or_one_error(self, data):
        with suppress(DecodeError):
            read(decode_otlp(data))

    @given(st.text(max_size=60).map(lambda text: "{" + text))
    def test_any_text_that_begins_like_json(self, text):
        with pytest.raises(DecodeError):
            decode_otlp(text.encode("utf-8", "surrogatepass"))

    @given(st.integers(0, len(PROTOBUF) - 1), st.integers(0, 255))
    def test_any_damage_to_a_body_is_no_crash(self, position, byte):
        damaged = bytearray(PROTOBUF)
        damaged[position] = byte
        with suppress(DecodeError):
            read(decode_otlp(bytes(damaged)))


def test_exports_come_on_demand(pytester):
    result = pytester.runpython_c(
        "import sys, pytest_langfuse.recording as recording\n"
        "assert not any(name.startswith(('opentelemetry', 'google.protobuf')) for name in sys.modules), sys.modules\n"
        "assert set(recording.__all__) <= set(dir(recording))\n"
        "for name in recording.__all__:\n"
        "    value = getattr(recording, name)\n"
        "    assert not isinstance(value, type) or value.__module__ in ('pytest_langfuse', recording.__name__), value\n"
        "try:\n"
        "    recording.nothing\n"
        "except AttributeError as error:\n"
        "    print(error)\n"
    )
    result.stdout.fnmatch_lines(["module 'pytest_langfuse.recording' has no attribute 'nothing'"])
    assert result.ret == 0
