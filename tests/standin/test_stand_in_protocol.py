"""Statuses, errors and encodings that the SDK would never send or see."""

import gzip
import json
import threading
import tracemalloc
import zlib
from base64 import b64encode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pytest_langfuse.recording.otlp.decompress import MAX_DECODED_BYTES, decompress
from pytest_langfuse.recording.sources.score import Score, latest
from pytest_langfuse.standin.endpoints.scores import parse_score
from pytest_langfuse.standin.stand_in import StandIn

PROTOBUF = "application/x-protobuf"


def export(*, ids: bool = True) -> bytes:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.name = "x"
    if ids:
        span.trace_id, span.span_id = bytes(range(16)), bytes(range(8))
    return request.SerializeToString()


def otlp_json(**span: object) -> dict[str, object]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "ab" * 16, "spanId": "cd" * 8, **span}]}]}]}


# -- OTLP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_protobuf_is_kept_decompressed(http: httpx.Client, stand_in: StandIn, encoding: str | None) -> None:
    body = export()
    packed = {None: body, "gzip": gzip.compress(body), "deflate": zlib.compress(body)}[encoding]
    headers = {"Content-Type": PROTOBUF} | ({"Content-Encoding": encoding} if encoding else {})

    response = http.post("/otel/v1/traces", content=packed, headers=headers)

    assert (response.status_code, response.headers["content-type"]) == (200, PROTOBUF)
    assert not ExportTraceServiceResponse.FromString(response.content).HasField("partial_success")
    assert stand_in.bodies == [body]


def test_json_is_answered_in_json(http: httpx.Client, stand_in: StandIn) -> None:
    response = http.post("/otel/v1/traces", json=otlp_json(name="x"))
    assert (response.status_code, response.json()) == (200, {})
    assert json.loads(stand_in.bodies[0]) == otlp_json(name="x")


@pytest.mark.parametrize(
    ("content", "headers", "error"),
    [
        (b"\xff\xff\xff", {"Content-Type": PROTOBUF}, "Failed to parse OTel Protobuf Trace"),
        (export()[:-3], {"Content-Type": PROTOBUF}, "Failed to parse OTel Protobuf Trace"),
        (b"{", {"Content-Type": "application/json"}, "Failed to parse OTel JSON Trace"),
        (b"null", {"Content-Type": "application/json"}, "Failed to parse OTel JSON Trace"),
        (b"x", {"Content-Type": "text/plain"}, "Invalid content type"),
        (export(), {"Content-Type": PROTOBUF, "x-langfuse-ingestion-version": "5"}, "Maximum supported"),
        (export(ids=False), {"Content-Type": PROTOBUF}, "1 of 1 span.s. cannot be processed"),
    ],
)
def test_what_is_no_trace_export_is_refused(
    http: httpx.Client, stand_in: StandIn, content: bytes, headers: dict[str, str], error: str
) -> None:
    response = http.post("/otel/v1/traces", content=content, headers=headers)
    assert response.status_code == 400
    with pytest.raises(AssertionError, match=error):
        raise AssertionError(response.json()["error"])
    assert stand_in.bodies == []


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        ({"traceId": None}, "traceId:absent"),
        ({"spanId": 7}, "spanId:not_an_id"),
        ({"attributes": {"a": 1}}, "attributes:not_an_array"),
        ({"events": {}}, "events:not_an_array"),
        ({"events": [{"attributes": {}}]}, "event.attributes:not_an_array"),
    ],
)
def test_json_that_the_worker_could_not_read_is_refused(
    http: httpx.Client, span: dict[str, object], reason: str
) -> None:
    response = http.post("/otel/v1/traces", json=otlp_json(**span))
    assert response.status_code == 400
    assert reason in response.json()["error"]


def test_a_body_that_is_not_compressed_as_it_says(http: httpx.Client) -> None:
    for content in (b"plain", gzip.compress(export())[:-10], b""):
        response = http.post(
            "/otel/v1/traces", content=content, headers={"Content-Type": PROTOBUF, "Content-Encoding": "gzip"}
        )
        assert (response.status_code, response.json()) == (400, {"message": "Failed to decompress request body"})


@pytest.mark.slow
def test_a_small_body_that_decompresses_to_a_huge_one_is_refused_before_it_is_held(
    http: httpx.Client, stand_in: StandIn
) -> None:
    packer = zlib.compressobj(1, wbits=31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(600)) + packer.flush()
    headers = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"}
    tracemalloc.start()
    try:
        response = http.post("/otel/v1/traces", content=bomb, headers=headers)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.status_code == 413
    assert f"decompresses to more than {MAX_DECODED_BYTES} bytes" in response.json()["message"]
    assert stand_in.exports == []
    assert peak < 2 * MAX_DECODED_BYTES


@given(st.binary(max_size=200))
def test_decompress_undoes_what_clients_do(data: bytes) -> None:
    raw = zlib.compressobj(wbits=-15)
    assert decompress(gzip.compress(data), "gzip") == data
    assert decompress(zlib.compress(data), "deflate") == data
    assert decompress(raw.compress(data) + raw.flush(), "deflate") == data


# -- scores ----------------------------------------------------------------------------------------------------------

SCORE = {"name": "s", "value": 1, "traceId": "t"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"value": None}, "value"),
        ({"value": True}, "value"),
        ({"value": 0.5, "dataType": "BOOLEAN"}, "value"),
        ({"value": 1, "dataType": "CATEGORICAL"}, "value"),
        ({"value": "x", "dataType": "NUMERIC"}, "value"),
        ({"value": "", "dataType": "TEXT"}, "value"),
        ({"value": "x" * 501, "dataType": "TEXT"}, "value"),
        ({"dataType": "STARS"}, "dataType"),
        ({"comment": 3}, "comment"),
        ({"traceId": None}, "traceId"),
        ({"sessionId": "s"}, "traceId"),
        ({"traceId": None, "sessionId": "s", "observationId": "o"}, "traceId"),
    ],
)
def test_a_bad_score_is_refused(http: httpx.Client, stand_in: StandIn, change: dict[str, object], field: str) -> None:
    response = http.post("/scores", json=SCORE | change)
    assert response.status_code == 400
    assert response.json()["message"] == "Invalid request data"
    assert [issue["path"][0] for issue in response.json()["error"]] == [field]
    assert stand_in.scores == []


def test_a_list_with_a_bad_score_keeps_the_others(http: httpx.Client, stand_in: StandIn) -> None:
    response = http.post("/scores", json=[SCORE, {"name": "s"}, SCORE | {"value": "good"}])
    assert response.status_code == 207
    assert (response.json()["accepted"], response.json()["rejected"]) == (2, 1)
    assert "value" in response.json()["errors"][0]["message"]
    assert [(score.value, score.data_type) for score in stand_in.scores] == [(1, "NUMERIC"), ("good", "CATEGORICAL")]


def test_events_of_the_ingestion_endpoint(http: httpx.Client, stand_in: StandIn) -> None:
    batch = [
        {"id": "1", "type": "score-create", "body": SCORE | {"id": "mine"}},
        {"id": "2", "type": "trace-create", "body": {}},
        {"id": "3", "type": "score-create", "body": {}},
        "no event",
    ]
    response = http.post("/ingestion", json={"batch": batch})
    assert response.status_code == 207
    assert response.json()["successes"] == [{"id": "1", "status": 201}]
    assert [error["id"] for error in response.json()["errors"]] == ["2", "3", "unknown"]
    assert [score.id for score in stand_in.scores] == ["mine"]


def test_a_score_can_be_deleted(http: httpx.Client, stand_in: StandIn) -> None:
    http.post("/scores", json=SCORE | {"id": "a/b"})
    assert http.delete("/scores/a%2Fb").status_code == 202
    assert stand_in.scores == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_latest_keeps_the_last_score_of_each_id(sent: list[tuple[str, int]]) -> None:
    log = [Score(id=score_id, name="s", value=value) for score_id, value in sent]
    assert {score.id: score.value for score in latest(log)} == dict(sent)
    # In order of arrival: the last ones, in the order in which they were sent.
    assert latest(log) == [score for index, score in enumerate(log) if score.id not in {s.id for s in log[index + 1 :]}]


def test_a_score_without_an_id_gets_one() -> None:
    assert parse_score(SCORE | {"id": ""}).id


# -- requests --------------------------------------------------------------------------------------------------------


def test_keys_are_checked_when_there_are_any() -> None:
    stand_in = StandIn(public_key="pk", secret_key="sk")
    with httpx.Client(transport=httpx.MockTransport(stand_in), base_url="http://l/api/public") as http:
        assert http.get("/projects", auth=("pk", "sk")).status_code == 200
        assert http.get("/health").status_code == 200
        for headers, message in [
            ({}, "No authorization header"),
            ({"Authorization": "Bearer pk"}, "Invalid authorization header"),
            (
                {"Authorization": "Basic " + b64encode(b"pk:no").decode()},
                "Invalid credentials. Confirm that you've configured the correct host.",
            ),
        ]:
            response = http.get("/projects", headers=headers)
            assert (response.status_code, response.json()) == (401, {"message": message})


def test_requests_are_logged_without_secrets(http: httpx.Client, stand_in: StandIn) -> None:
    http.get(
        "/v2/prompts/x", params={"label": "a"}, auth=("pk", "sk-secret"), headers={"x-langfuse-sdk-name": "python"}
    )
    (request,) = stand_in.requests
    assert (request.method, request.path, request.status) == ("GET", "/api/public/v2/prompts/x?label=a", 404)
    assert request.headers["x-langfuse-sdk-name"] == "python"
    assert request.headers["authorization"] == "[redacted]"


def test_a_wrong_method_a_bad_body_and_a_big_one(http: httpx.Client) -> None:
    assert http.delete("/health").json() == {"message": "Method not allowed", "error": "MethodNotAllowedError"}
    assert http.post("/scores", content=b"{").status_code == 400
    big = http.post("/scores", json=SCORE | {"comment": "x" * 1024 * 1024})
    assert (big.status_code, big.text) == (413, "Body exceeded 1mb limit")
    # A dataset item may be bigger.
    assert http.post("/dataset-items", json={"datasetName": "d", "input": "x" * 2**20}).status_code == 404


def test_a_base_url_with_a_path(stand_in: StandIn) -> None:
    with httpx.Client(transport=httpx.MockTransport(stand_in)) as http:
        upload = {
            "contentType": "image/png",
            "contentLength": 1,
            "sha256Hash": "a" * 44,
            "traceId": "t",
            "field": "input",
        }
        response = http.post("https://proxy.invalid/langfuse/api/public/media", json=upload)
    assert response.json()["uploadUrl"] == f"https://proxy.invalid/langfuse/stand-in-store/{'a' * 22}"


def test_an_upload_that_was_damaged_is_refused_as_s3_does(http: httpx.Client, stand_in: StandIn) -> None:
    upload = {"contentType": "image/png", "contentLength": 1, "sha256Hash": "a" * 44, "traceId": "t", "field": "input"}
    url = http.post("/media", json=upload).json()["uploadUrl"]
    response = http.put(url, content=b"x")
    assert response.status_code == 400
    assert "<Code>BadDigest</Code>" in response.text
    assert stand_in.media[0].content is None
    assert http.get(f"/media/{'a' * 22}").json()["message"] == "Media not yet uploaded"


def test_a_prompt_of_the_wrong_type() -> None:
    with pytest.raises(ValueError, match="prompt 'p': type='chat' needs a list of messages"):
        StandIn().prompt("p", "text", type="chat")


def test_many_threads(http: httpx.Client, stand_in: StandIn) -> None:
    def send(number: int) -> None:
        for index in range(20):
            assert http.post("/scores", json=SCORE | {"id": f"{number}-{index}"}).status_code == 200
            assert http.post("/v2/prompts", json={"name": "p", "prompt": "x"}).status_code == 201

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({score.id for score in stand_in.scores}) == 160
    assert sorted(prompt.version for prompt in stand_in.prompts) == list(range(1, 161))
    assert [prompt.version for prompt in stand_in.prompts if "latest" in prompt.labels] == [160]
