"""What a wire format can carry and few producers do. The expected values follow from the server's own code."""

import json

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.outage.server import LangfuseServer
from pytest_langfuse.recording import DecodeError, Observation, decode_otlp

SPAN = {"traceId": "1" * 32, "spanId": "2" * 16, "name": "x", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}


def of_json(*, scope: str = "", resource: dict[str, str] | None = None, **span: object) -> Observation:
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in (resource or {}).items()]
    spans = [{"scope": {"name": scope}, "spans": [{**SPAN, **span}]}]
    (observation,) = decode_otlp(
        json.dumps({"resourceSpans": [{"resource": {"attributes": pairs}, "scopeSpans": spans}]}).encode()
    )
    return observation


def texts(**attributes: str) -> list[dict[str, object]]:
    return [{"key": key.replace("__", "."), "value": {"stringValue": value}} for key, value in attributes.items()]


def protobuf() -> tuple[ExportTraceServiceRequest, object]:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = b"1" * 16, b"2" * 8, "NAME"
    span.start_time_unix_nano, span.end_time_unix_nano = 1, 2
    return request, span


def test_strings_that_are_not_utf_8_are_read_with_replacements() -> None:
    request, span = protobuf()
    span.attributes.add(key="input.value").value.string_value = "VALUE"
    span.attributes.add(key="KEY").value.array_value.values.add().string_value = "VALUE"
    body = request.SerializeToString()
    for text, octets in ((b"NAME", b"\xffa\xc3b"), (b"VALUE", b"\xe2\x82ab\xed"), (b"KEY", b"k\x80y")):
        assert len(octets) == len(text)
        body = body.replace(text, octets)
    (observation,) = decode_otlp(body)
    assert observation.name == "\ufffda\ufffdb"
    assert observation.input == "\ufffdab\ufffd"
    assert observation.metadata["attributes.k\ufffdy"] == ["\ufffdab\ufffd"]
    # What is damaged in another way still is, and the endpoint takes what the decoder takes.
    with pytest.raises(DecodeError, match="damaged or truncated"):
        decode_otlp(body[:-3])
    with LangfuseServer() as server:
        url = f"{server.url}/api/public/otel/v1/traces"
        headers = {"Content-Type": "application/x-protobuf"}
        assert httpx.post(url, content=body, headers=headers).status_code == 200
        assert [one.name for one in server.spans] == ["\ufffda\ufffdb"]
        assert httpx.post(url, content=body[:-3], headers=headers).status_code == 400


def test_pairs_of_one_key_are_all_shown() -> None:
    request, span = protobuf()
    pairs = span.attributes.add(key="twice").value.kvlist_value.values
    for number in (1, 2):
        pairs.add(key="k").value.int_value = number
    (observation,) = decode_otlp(request.SerializeToString())
    shown = '{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"1"}},{"key":"k","value":{"intValue":"2"}}]}}'
    assert observation.metadata["attributes.twice"] == json.loads(shown)
    assert observation.span.attributes[0].value.kvlist_value.values[0].value.int_value == 1


@pytest.mark.parametrize(
    ("attributes", "expected"), [([], ({}, {})), (None, (None, None)), (texts(a="b"), ({"a": "b"}, {}))]
)
def test_an_event_of_a_semantic_kernel_with_a_list_of_no_attributes(attributes, expected) -> None:
    event = {"name": "gen_ai.content.prompt", "timeUnixNano": "1"}
    observation = of_json(events=[event if attributes is None else {**event, "attributes": attributes}])
    assert (observation.input, observation.output) == expected


def test_protobuf_has_no_list_of_no_attributes() -> None:
    request, span = protobuf()
    span.events.add(name="gen_ai.content.prompt")
    (observation,) = decode_otlp(request.SerializeToString())
    assert (observation.input, observation.output) == (None, None)


JUDGE = {"completion": None, "rawRequest": {"trace": {"environment": "langfuse-llm-as-a-judge"}}}
OPENROUTER = {"service.name": "openrouter"}


@pytest.mark.parametrize(
    ("completion", "source", "resource", "expected"),
    [
        (JUDGE, "openrouter", OPENROUTER, "llm-as-a-judge"),
        (JUDGE, "openrouter", {"service.name": "mine"}, "default"),
        (JUDGE, "mine", OPENROUTER, "default"),
        (JUDGE, "openrouter", {**OPENROUTER, "deployment.environment": "staging"}, "staging"),
        ({**JUDGE, "completion": "an answer"}, "openrouter", OPENROUTER, "default"),
        ({"rawRequest": JUDGE["rawRequest"]}, "openrouter", OPENROUTER, "default"),
        ({"completion": None, "rawRequest": {"trace": {"environment": "prod"}}}, "openrouter", OPENROUTER, "default"),
        ({"completion": None, "rawRequest": []}, "openrouter", OPENROUTER, "default"),
        ([JUDGE], "openrouter", OPENROUTER, "default"),
        ("not JSON", "openrouter", OPENROUTER, "default"),
    ],
)
def test_the_environment_of_a_judge_whose_call_through_openrouter_failed(
    completion, source, resource, expected
) -> None:
    text = completion if isinstance(completion, str) else json.dumps(completion)
    attributes = texts(openrouter__source=source, gen_ai__completion=text)
    assert of_json(attributes=attributes, resource=resource).environment == expected


@pytest.mark.parametrize(
    ("text", "tokens"), [("0x1A", 26), ("0X1a tokens", 26), ("12abc", 12), ("0b11", 0), ("0x", None), ("x", None)]
)
def test_tokens_of_the_vercel_sdk_may_be_hexadecimal(text: str, tokens: int | None) -> None:
    attributes = texts(gen_ai__usage__input_tokens=text, gen_ai__usage__output_tokens="1")
    assert of_json(scope="ai", attributes=attributes).usage.get("input") == tokens
    # Langfuse's own usage is read as decimal.
    own = texts(langfuse__observation__usage_details=json.dumps({"input": text}))
    decimal = {"0x1A": 0, "0X1a tokens": 0, "0x": 0}.get(text, tokens)
    assert of_json(attributes=own).usage.get("input") == decimal
