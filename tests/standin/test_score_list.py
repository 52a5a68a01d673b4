"""Scores can be read back, in the three forms that Langfuse has for them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langfuse import Langfuse

from pytest_langfuse.standin.stand_in import StandIn

TRACE = "a" * 32
SPAN = "b" * 16


@pytest.fixture
def scored(http: httpx.Client) -> None:
    """One score of each type, of each kind of target; the trace is that of user u-1."""
    bodies = [
        {"id": "s1", "name": "stars", "value": 4.5, "traceId": TRACE, "comment": "fine", "metadata": {"by": "me"}},
        {"id": "s2", "name": "helpful", "value": 1, "dataType": "BOOLEAN", "traceId": TRACE, "observationId": SPAN},
        {"id": "s3", "name": "verdict", "value": "good", "sessionId": "s-1", "configId": "c-1"},
        {"id": "s4", "name": "note", "value": "Hm.", "dataType": "TEXT", "datasetRunId": "r-1", "environment": "ci"},
        {"id": "s5", "name": "output", "value": "42", "dataType": "CORRECTION", "traceId": TRACE, "queueId": "q-1"},
    ]
    for second, body in enumerate(bodies):
        body["timestamp"] = f"2026-05-05T12:00:0{second}Z"
        assert http.post("/scores", json=body).status_code == 200
    of_user = [{"key": "user.id", "value": {"stringValue": "u-1"}}]
    tags = [{"key": "langfuse.trace.tags", "value": {"arrayValue": {"values": [{"stringValue": "a"}]}}}]
    span = {"traceId": TRACE, "spanId": SPAN, "name": "root", "startTimeUnixNano": "1", "attributes": of_user + tags}
    http.post("/otel/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["data"]]


@pytest.mark.usefixtures("scored")
def test_one_type_of_value_for_each_type_of_score(http: httpx.Client) -> None:
    rows = http.get("/v3/scores", params={"fields": "details,subject,annotation"}).json()["data"]

    assert [(row["id"], row["dataType"], row["value"]) for row in rows] == [
        ("s5", "CORRECTION", "42"),
        ("s4", "TEXT", "Hm."),
        ("s3", "CATEGORICAL", "good"),
        ("s2", "BOOLEAN", True),
        ("s1", "NUMERIC", 4.5),
    ]
    assert rows[3]["value"] is True
    assert [row["subject"] for row in rows] == [
        {"kind": "trace", "id": TRACE},
        {"kind": "experiment", "id": "r-1"},
        {"kind": "session", "id": "s-1"},
        {"kind": "observation", "id": SPAN, "traceId": TRACE},
        {"kind": "trace", "id": TRACE},
    ]
    assert (rows[4]["comment"], rows[4]["metadata"], rows[4]["timestamp"]) == (
        "fine",
        {"by": "me"},
        "2026-05-05T12:00:00.000Z",
    )
    assert (rows[2]["configId"], rows[0]["queueId"]) == ("c-1", "q-1")
    assert not {"comment", "subject", "queueId"} & set(http.get("/v3/scores").json()["data"][0])


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"name": "stars,note"}, ["s4", "s1"]),
        ({"id": "s1, s3"}, ["s3", "s1"]),
        ({"dataType": "text,correction"}, ["s5", "s4"]),
        ({"source": "eval"}, []),
        ({"source": "api", "environment": "ci"}, ["s4"]),
        ({"configId": "c-1"}, ["s3"]),
        ({"queueId": "q-1"}, ["s5"]),
        ({"traceId": TRACE}, ["s5", "s2", "s1"]),
        ({"traceId": TRACE, "observationId": SPAN}, ["s2"]),
        ({"sessionId": "s-1"}, ["s3"]),
        ({"experimentId": "r-1"}, ["s4"]),
        ({"dataType": "NUMERIC", "value": "4.50"}, ["s1"]),
        ({"dataType": "NUMERIC", "valueMin": "4", "valueMax": "4.4"}, []),
        ({"dataType": "NUMERIC", "valueMin": "4", "valueMax": "5"}, ["s1"]),
        ({"dataType": "BOOLEAN", "value": "true"}, ["s2"]),
        ({"dataType": "BOOLEAN", "value": "false"}, []),
        ({"dataType": "CATEGORICAL", "value": "bad,good"}, ["s3"]),
        ({"fromTimestamp": "2026-05-05T12:00:03Z"}, ["s5", "s4"]),
        ({"toTimestamp": "2026-05-05T12:00:01Z"}, ["s1"]),
        ({"valueMin": "", "fromTimestamp": "", "userId": ""}, ["s5", "s4", "s3", "s2", "s1"]),
    ],
)
def test_parameters_of_the_newest_endpoint(http: httpx.Client, query: dict[str, str], expected: list[str]) -> None:
    assert ids(http.get("/v3/scores", params=query)) == expected


@pytest.mark.usefixtures("scored")
def test_pages_by_cursor(http: httpx.Client) -> None:
    seen, query = [], {"limit": "2"}
    while query and len(seen) < 9:
        body = http.get("/v3/scores", params=query).json()
        seen.append([row["id"] for row in body["data"]])
        cursor = body["meta"].get("cursor")
        query = {"limit": "2", "cursor": cursor} if cursor else {}
    assert seen == [["s5", "s4"], ["s3", "s2"], ["s1"]]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"colour": "red"}, 'Unrecognized key: "colour"'),
        ({"fields": "core,colour"}, 'Invalid option: expected one of "core"|"details"|"subject"|"annotation"'),
        ({"limit": "101"}, "Too big: expected number to be <=100"),
        (
            {"dataType": "bool"},
            'Invalid dataType value: "BOOL". Allowed: NUMERIC, CATEGORICAL, BOOLEAN, CORRECTION, TEXT',
        ),
        ({"source": "me"}, 'Invalid source value: "ME". Allowed: API, EVAL, ANNOTATION'),
        (
            {"userId": "u"},
            "userId filter requires a trace JOIN and is not supported in v3 — use v2 or omit this filter",
        ),
        ({"value": "1"}, "value filter requires a single dataType from: NUMERIC, BOOLEAN, CATEGORICAL"),
        (
            {"value": "1", "dataType": "TEXT"},
            'value filter requires dataType to be NUMERIC, BOOLEAN, or CATEGORICAL (got "TEXT")',
        ),
        (
            {"value": "one", "dataType": "NUMERIC"},
            'value filter with dataType=NUMERIC requires each value to be a finite number (got "one")',
        ),
        (
            {"value": "1", "dataType": "BOOLEAN"},
            'value filter with dataType=BOOLEAN requires each value to be "true" or "false" (got "1")',
        ),
        ({"valueMin": "1"}, "valueMin and valueMax require dataType=NUMERIC as a single value"),
        ({"valueMax": "x", "dataType": "NUMERIC"}, "Invalid input: expected number, received NaN"),
        ({"fromTimestamp": "now"}, "Invalid input: expected date, received Date"),
        ({"observationId": "o"}, "observationId filter requires traceId — observation IDs are scoped to a trace"),
        ({"traceId": "t", "sessionId": "s"}, "At most one of traceId, sessionId, experimentId may be specified"),
    ],
)
def test_a_bad_request_is_refused_as_langfuse_does(http: httpx.Client, query: dict[str, str], message: str) -> None:
    answer = http.get("/v3/scores", params=query)
    assert (answer.status_code, [issue["message"] for issue in answer.json()["error"]]) == (400, [message])


@pytest.mark.usefixtures("scored")
def test_scores_as_langfuse_4_reads_them(http: httpx.Client) -> None:
    rows = {row["id"]: row for row in http.get("/v2/scores").json()["data"]}

    assert {key: (row.get("value"), row["stringValue"]) for key, row in rows.items()} == {
        "s1": (4.5, None),
        "s2": (1, "True"),
        "s3": (0, "good"),
        "s4": (None, "Hm."),
        "s5": (0, "42"),
    }
    assert rows["s1"]["trace"] == {"userId": "u-1", "tags": ["a"], "environment": "default", "sessionId": None}
    assert rows["s3"]["trace"] is None
    assert http.get("/v2/scores/s2").json()["observationId"] == SPAN


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"userId": "u-1"}, ["s5", "s2", "s1"]),
        ({"traceTags": "a"}, ["s5", "s2", "s1"]),
        ({"traceTags": "a,b"}, []),
        ({"sessionId": "s-1"}, ["s3"]),
        ({"datasetRunId": "r-1"}, ["s4"]),
        ({"observationId": f"x, {SPAN}"}, ["s2"]),
        ({"scoreIds": "s1,s2"}, ["s2", "s1"]),
        ({"value": "4", "operator": ">"}, ["s1"]),
        ({"value": "4"}, ["s5", "s4", "s3", "s2", "s1"]),
        ({"dataType": "TEXT"}, ["s4"]),
        ({"filter": '[{"type": "string", "column": "comment", "operator": "=", "value": "fine"}]'}, ["s1"]),
        ({"limit": "2", "page": "3"}, ["s1"]),
    ],
)
def test_parameters_of_the_older_endpoint(http: httpx.Client, query: dict[str, str], expected: list[str]) -> None:
    assert ids(http.get("/v2/scores", params=query)) == expected


@pytest.mark.usefixtures("scored")
def test_fields_of_the_older_endpoint(http: httpx.Client) -> None:
    assert "trace" not in http.get("/v2/scores", params={"fields": "score"}).json()["data"][0]
    assert http.get("/v2/scores", params={"fields": "trace"}).json() == {
        "message": "Scores needs to be selected always.",
        "error": "InvalidRequestError",
    }
    refused = http.get("/v2/scores", params={"fields": "score", "userId": "u-1"})
    assert refused.json()["message"].startswith("Cannot filter by trace properties")


@pytest.mark.usefixtures("scored")
def test_the_oldest_endpoint_knows_scores_of_traces_only(http: httpx.Client) -> None:
    assert ids(http.get("/scores")) == ["s2", "s1"]
    assert http.get("/scores/s1").json()["value"] == 4.5
    for path in ("/scores/s3", "/scores/nope", "/v2/scores/nope"):
        answer = http.get(path)
        assert (answer.status_code, answer.json()) == (
            404,
            {"message": "Score not found", "error": "LangfuseNotFoundError"},
        )


def test_the_time_of_a_score(http: httpx.Client, stand_in: StandIn) -> None:
    event = {"type": "score-create", "id": "e", "timestamp": "2026-05-05T12:00:00Z"}
    body = {"name": "stars", "value": 1, "traceId": TRACE}
    http.post("/ingestion", json={"batch": [{**event, "body": body}]})
    assert [score.timestamp.isoformat() for score in stand_in.scores] == ["2026-05-05T12:00:00+00:00"]

    answer = http.post("/scores", json={**body, "timestamp": "2026-05-05T12:00:00"})
    assert (answer.status_code, answer.json()["error"][0]["message"]) == (400, "Invalid ISO datetime")


@pytest.mark.usefixtures("scored")
def test_the_sdk_reads_scores(langfuse: Langfuse) -> None:
    api: Any = langfuse.api
    newest = api.scores_v3.get_many_v3 if hasattr(api, "scores_v3") else None
    if hasattr(api.scores, "get_by_id"):
        assert api.scores.get_by_id("s1").value == 4.5
        assert [score.id for score in api.scores.get_many(score_ids="s1,s2").data] == ["s2", "s1"]
    else:
        newest = api.scores.get_many
    if newest is not None:
        page = newest(limit=3, fields="details,subject")
        assert [score.value for score in page.data] == ["42", "Hm.", "good"]
        assert [score.value for score in newest(limit=3, cursor=page.meta.cursor).data] == [True, 4.5]
