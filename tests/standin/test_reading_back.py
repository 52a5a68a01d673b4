"""What was exported can be read back: traces, sessions and observations, with their filters and pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from langfuse import Langfuse
from langfuse.api import NotFoundError

from pytest_langfuse.recording.trace import build_traces
from pytest_langfuse.standin.received_source import ReceivedSource
from pytest_langfuse.standin.stand_in import StandIn

#: 2026-05-05T12:00:00Z, in milliseconds.
NOON = 1_777_982_400_000
ANSWER, SEARCH = "a" * 32, "b" * 32


def span(
    trace: str, number: int, name: str, *, at: int, parent: int | None = None, **attributes: Any
) -> dict[str, Any]:
    """Return a span that starts `at` milliseconds after noon and takes 250 ms. `__` in a key stands for a dot."""
    values = [
        {"key": f"langfuse.{key.replace('__', '.')}", "value": _value(value)} for key, value in attributes.items()
    ]
    return {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "parentSpanId": "" if parent is None else f"{parent:016x}",
        "name": name,
        "startTimeUnixNano": str((NOON + at) * 1_000_000),
        "endTimeUnixNano": str((NOON + at + 250) * 1_000_000),
        "attributes": values,
    }


def _value(value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": value if isinstance(value, str) else json.dumps(value)}


def send(http: httpx.Client, *spans: Mapping[str, Any]) -> None:
    scope = {"name": "langfuse-sdk", "version": "5.0.4"}
    body = {"resourceSpans": [{"scopeSpans": [{"scope": scope, "spans": spans}]}]}
    assert http.post("/otel/v1/traces", json=body).status_code == 200


@pytest.fixture
def exported(http: httpx.Client) -> None:
    """Two traces in two sessions."""
    of_trace = {"trace__tags": ["a", "b"], "trace__name": "answering"}
    ids = {f"{kind}__id": value for kind, value in (("user", "u-1"), ("session", "s-1"))}
    send(
        http,
        span(
            ANSWER,
            2,
            "llm",
            at=100,
            parent=1,
            observation__type="generation",
            observation__model__name="gpt-4o",
            observation__model__parameters={"temperature": 0.5},
            observation__usage_details={"input": 10, "output": 5, "total": 15},
            observation__cost_details={"input": 0.01, "output": 0.02, "total": 0.03},
            observation__completion_start_time='"2026-05-05T12:00:00.150000Z"',
            observation__input=[{"role": "user", "content": "why?"}],
            observation__output="because",
            observation__level="WARNING",
            observation__prompt__name="greeting",
            observation__prompt__version="1",
            **ids,
        ),
        span(
            ANSWER,
            1,
            "answer",
            at=0,
            observation__type="agent",
            observation__input={"question": "why?"},
            observation__output="because",
            observation__metadata__long="x" * 300,
            observation__metadata__tenant="acme",
            **of_trace,
            **ids,
            release="v1",
            version="2",
        ),
    )
    other = {"user__id": "u-2", "session__id": "s-2", "environment": "staging", "trace__public": True}
    send(http, span(SEARCH, 3, "search", at=1000, observation__level="ERROR", **other))


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()["data"]]


def refusal(answer: httpx.Response) -> tuple[int, object]:
    body = answer.json()
    error = body["error"]
    return answer.status_code, body["message"] if isinstance(error, str) else (error[0]["path"], error[0]["message"])


# -- traces ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("exported")
def test_a_trace_is_what_the_harness_shows_of_it(http: httpx.Client, stand_in: StandIn) -> None:
    shown = http.get(f"/traces/{ANSWER}").json()

    [trace] = [trace for trace in build_traces(ReceivedSource(stand_in).observations()) if trace.id == ANSWER]
    same = ("id", "name", "user_id", "session_id", "tags", "environment", "release", "version", "input", "output")
    camel = {"user_id": "userId", "session_id": "sessionId"}
    assert {name: shown[camel.get(name, name)] for name in same} == {name: getattr(trace, name) for name in same}
    assert (shown["metadata"], shown["totalCost"]) == (trace.metadata, trace.total_cost)
    assert (shown["timestamp"], shown["latency"]) == ("2026-05-05T12:00:00.000Z", 0.35)
    assert [row["name"] for row in shown["observations"]] == [item.name for item in trace.observations]


@pytest.mark.usefixtures("exported")
def test_an_observation_in_full(http: httpx.Client, stand_in: StandIn) -> None:
    prompt = stand_in.prompt("greeting", "Hello")

    shown = http.get(f"/observations/{2:016x}").json()

    expected = {
        "type": "GENERATION",
        "traceId": ANSWER,
        "parentObservationId": f"{1:016x}",
        "startTime": "2026-05-05T12:00:00.100Z",
        "endTime": "2026-05-05T12:00:00.350Z",
        "completionStartTime": "2026-05-05T12:00:00.150Z",
        "latency": 0.25,
        "timeToFirstToken": 0.05,
        "level": "WARNING",
        "model": "gpt-4o",
        "modelParameters": {"temperature": 0.5},
        "input": [{"role": "user", "content": "why?"}],
        "output": "because",
        "usageDetails": {"input": 10, "output": 5, "total": 15},
        "usage": {"unit": "TOKENS", "input": 10, "output": 5, "total": 15},
        "calculatedTotalCost": 0.03,
        "promptName": "greeting",
        "promptVersion": 1,
        "promptId": prompt.id,
    }
    assert {name: shown[name] for name in expected} == expected
    # Of users, sessions and tags, the older endpoint says nothing.
    assert not {"userId", "sessionId", "tags"} & set(shown)


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["search", "answering"]),
        ({"orderBy": "timestamp.asc"}, ["answering", "search"]),
        ({"orderBy": "userId.desc"}, ["search", "answering"]),
        ({"limit": 1, "page": 2}, ["answering"]),
        ({"userId": "u-1"}, ["answering"]),
        ({"name": "answering"}, ["answering"]),
        ({"name": "answer"}, []),
        ({"sessionId": "s-2"}, ["search"]),
        ({"tags": "a"}, ["answering"]),
        ({"tags": ["a", "b"]}, ["answering"]),
        ({"tags": ["a", "c"]}, []),
        ({"environment": "staging"}, ["search"]),
        ({"environment": ["staging", "default"]}, ["search", "answering"]),
        ({"release": "v1", "version": "2"}, ["answering"]),
        ({"fromTimestamp": "2026-05-05T14:00:01+02:00"}, ["search"]),
        ({"toTimestamp": "2026-05-05T12:00:01Z"}, ["answering"]),
    ],
)
def test_traces_by_parameters(http: httpx.Client, query: dict[str, Any], expected: list[str]) -> None:
    assert names(http.get("/traces", params=query)) == expected


def condition(type: str, column: str, operator: str, value: object = "", **more: object) -> str:  # noqa: A002
    return json.dumps([{"type": type, "column": column, "operator": operator, "value": value, **more}])


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (condition("string", "userId", "starts with", "u-"), ["search", "answering"]),
        (condition("string", "name", "contains", "swer"), ["answering"]),
        (condition("string", "name", "contains", "SWER"), []),
        (condition("string", "name", "does not contain", "swer"), ["search"]),
        (condition("string", "release", "=", "v1"), ["answering"]),
        (condition("stringOptions", "level", "any of", ["ERROR"]), ["search"]),
        (condition("stringOptions", "level", "none of", ["ERROR"]), ["answering"]),
        (condition("arrayOptions", "tags", "all of", ["a", "b"]), ["answering"]),
        (condition("arrayOptions", "tags", "all of", ["b"]), ["answering"]),
        (condition("arrayOptions", "tags", "none of", ["a"]), ["search"]),
        (condition("datetime", "timestamp", ">=", "2026-05-05T12:00:01.000Z"), ["search"]),
        (condition("number", "latency", ">", 0.3), ["answering"]),
        (condition("number", "totalTokens", "=", 15), ["answering"]),
        (condition("number", "errorCount", ">=", 1), ["search"]),
        (condition("boolean", "public", "=", value=True), ["search"]),
        (condition("null", "release", "is null"), ["search"]),
        (condition("null", "release", "is not null"), ["answering"]),
        (condition("stringObject", "metadata", "=", "acme", key="tenant"), ["answering"]),
        (condition("numberObject", "scores_avg", ">", 0.5, key="stars"), ["answering"]),
        (condition("categoryOptions", "score_categories", "any of", ["good"], key="verdict"), ["search"]),
        (condition("positionInTrace", "position", "=", 1, key="root"), ["search", "answering"]),
    ],
)
def test_traces_by_conditions(http: httpx.Client, query: str, expected: list[str]) -> None:
    http.post("/scores", json={"name": "stars", "value": 1, "traceId": ANSWER})
    http.post("/scores", json={"name": "verdict", "value": "good", "traceId": SEARCH})

    assert names(http.get("/traces", params={"filter": query})) == expected
    # A condition replaces the parameter for the same column.
    both = {"filter": condition("string", "userId", "=", "u-1"), "userId": "u-2"}
    assert names(http.get("/traces", params=both)) == ["answering"]


@pytest.mark.usefixtures("exported")
def test_what_a_list_of_traces_leaves_out(http: httpx.Client) -> None:
    row = http.get("/traces", params={"fields": "core", "name": "answering"}).json()["data"][0]

    assert (row["input"], row["metadata"], row["observations"], row["scores"]) == (None, {}, [], [])
    assert (row["latency"], row["totalCost"]) == (-1, -1)
    assert http.get(f"/traces/{ANSWER}", params={"fields": "core,observations"}).json()["latency"] == -1
    full = http.get("/traces", params={"name": "answering"}).json()
    assert full["data"][0]["observations"] == [f"{1:016x}", f"{2:016x}"]
    assert full["meta"] == {"page": 1, "limit": 50, "totalItems": 1, "totalPages": 1}


@pytest.mark.usefixtures("exported")
def test_a_deleted_trace_is_read_no_more(http: httpx.Client, stand_in: StandIn) -> None:
    assert http.delete(f"/traces/{ANSWER}").json() == {"message": "Trace deleted successfully"}
    assert names(http.get("/traces")) == names(http.get("/v2/observations")) == ["search"]
    assert http.request("DELETE", "/traces", json={"traceIds": [SEARCH]}).status_code == 200
    assert names(http.get("/traces")) == []
    # What the test has sent stays, for its assertions.
    assert len(ReceivedSource(stand_in).observations()) == 3
    stand_in.reset()
    send(http, span(ANSWER, 1, "again", at=0))
    assert names(http.get("/traces")) == ["again"]


@pytest.mark.usefixtures("exported")
def test_langfuse_4_shows_what_was_set_on_the_trace(http: httpx.Client) -> None:
    send(http, span(ANSWER, 4, "late", at=50, parent=1, trace__input={"own": 1}))

    shown = http.get(f"/traces/{ANSWER}").json()
    assert (shown["input"], shown["output"]) == ({"own": 1}, "because")


# -- sessions --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("exported")
def test_sessions(http: httpx.Client) -> None:
    rows = http.get("/sessions").json()["data"]

    assert [(row["id"], row["createdAt"], row["environment"]) for row in rows] == [
        ("s-2", "2026-05-05T12:00:01.000Z", "staging"),
        ("s-1", "2026-05-05T12:00:00.000Z", "default"),
    ]
    assert [trace["name"] for trace in http.get("/sessions/s-1").json()["traces"]] == ["answering"]

    def found(**query: str) -> list[str]:
        return [row["id"] for row in http.get("/sessions", params=query).json()["data"]]

    assert found(environment="staging") == found(fromTimestamp="2026-05-05T12:00:01Z") == ["s-2"]
    assert found(toTimestamp="2026-05-05T12:00:01Z") == found(limit="1", page="2") == ["s-1"]


# -- observations ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize("path", ["/observations", "/v2/observations"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["search", "llm", "answer"]),
        ({"type": "GENERATION"}, ["llm"]),
        ({"level": "ERROR"}, ["search"]),
        ({"name": "llm", "traceId": ANSWER}, ["llm"]),
        ({"userId": "u-1"}, ["llm", "answer"]),
        ({"parentObservationId": f"{1:016x}"}, ["llm"]),
        ({"version": "2"}, ["answer"]),
        ({"environment": "staging"}, ["search"]),
        ({"fromStartTime": "2026-05-05T12:00:00.100Z", "toStartTime": "2026-05-05T12:00:01Z"}, ["llm"]),
        ({"filter": condition("number", "inputTokens", "<", 11)}, ["llm"]),
        ({"filter": condition("string", "traceName", "=", "answering")}, ["llm", "answer"]),
        ({"filter": condition("string", "type", "=", "AGENT"), "type": "SPAN"}, ["answer"]),
    ],
)
def test_observations_by_parameters(http: httpx.Client, path: str, query: dict[str, Any], expected: list[str]) -> None:
    assert names(http.get(path, params=query)) == expected


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"isRootObservation": "true"}, ["search", "answer"]),
        ({"isRootObservation": "false"}, ["llm"]),
        ({"parentObservationId": ""}, ["search", "answer"]),
        ({"sessionId": "s-1"}, ["llm", "answer"]),
        ({"limit": "0"}, []),
    ],
)
def test_parameters_of_the_newer_endpoint(http: httpx.Client, query: dict[str, str], expected: list[str]) -> None:
    assert names(http.get("/v2/observations", params=query)) == expected


def test_a_cursor_goes_through_all_of_one_millisecond(http: httpx.Client) -> None:
    spans = [span(ANSWER, 20 - number, f"{number}", at=0) for number in range(10)]
    for number, sent in enumerate(spans):
        sent["startTimeUnixNano"] = str(NOON * 1_000_000 + number)
    send(http, *spans)

    seen, cursor, pages = [], None, 0
    while pages < 9 and (pages == 0 or cursor):
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        body = http.get("/v2/observations", params=query).json()
        seen += [row["name"] for row in body["data"]]
        cursor, pages = body["meta"].get("cursor"), pages + 1

    assert (seen, pages) == ([f"{number}" for number in reversed(range(10))], 4)
    # What is exported meanwhile belongs to no later page.
    first = http.get("/v2/observations", params={"limit": 3}).json()["meta"]["cursor"]
    send(http, span(ANSWER, 99, "newest", at=99))
    assert names(http.get("/v2/observations", params={"limit": 3, "cursor": first})) == ["6", "5", "4"]


@pytest.mark.usefixtures("exported")
def test_groups_of_fields(http: httpx.Client) -> None:
    def row(**query: str) -> dict[str, Any]:
        return dict(http.get("/v2/observations", params={"name": "answer", **query}).json()["data"][0])

    always = {"id", "traceId", "startTime", "endTime", "projectId", "parentObservationId", "type"}
    enriched = {"modelId", "inputPrice", "outputPrice", "totalPrice"}
    assert set(row(fields="core")) == always | enriched
    assert set(row(fields="io,unknown")) == always | enriched | {"input", "output"}
    assert "userId" in row()
    assert "input" not in row()
    # Input and output are texts, and long metadata is cut.
    assert row(fields="io")["input"] == '{"question":"why?"}'
    assert len(row(fields="metadata")["metadata"]["long"]) == 200
    assert len(row(fields="metadata", expandMetadata="long")["metadata"]["long"]) == 300
    assert row(fields="trace_context")["tags"] == ["a", "b"]


# -- bad requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/traces", {"limit": "1000"}, (400, (["limit"], "Too big: expected number to be <=100"))),
        ("/traces", {"fromTimestamp": "2026-05-05"}, (400, (["fromTimestamp"], "Invalid ISO datetime"))),
        ("/traces", {"fromTimestamp": "2026-05-05T12:00:00"}, (400, (["fromTimestamp"], "Invalid ISO datetime"))),
        ("/traces", {"orderBy": "price.asc"}, (400, "Invalid order by column: price")),
        ("/traces", {"filter": "{"}, (400, "Invalid JSON in filter parameter")),
        ("/traces", {"filter": "{}"}, (400, (["filter"], "Invalid input: expected array"))),
        ("/traces", {"filter": "[1]"}, (400, (["filter", 0], "Invalid input: expected object"))),
        ("/traces", {"filter": '[{"type": "text"}]'}, (400, (["filter", 0, "type"], "Invalid input"))),
        (
            "/traces",
            {"filter": condition("string", "color", "=", "red")},
            (400, "Column color does not match a UI / CH table mapping."),
        ),
        (
            "/traces",
            {"filter": condition("number", "latency", "=", "1")},
            (400, (["filter", 0, "value"], "Invalid input: expected number")),
        ),
        (
            "/traces",
            {"filter": condition("boolean", "public", "contains", value=True)},
            (400, (["filter", 0, "operator"], 'Invalid option: expected one of "="|"<>"')),
        ),
        (
            "/traces",
            {"filter": condition("stringObject", "metadata", "=", "acme")},
            (400, (["filter", 0, "key"], "Invalid input: expected string")),
        ),
        ("/traces/nope", {}, (404, "Trace nope not found within authorized project")),
        ("/sessions/nope", {}, (404, "Session not found within authorized project")),
        ("/observations/nope", {}, (404, "Observation not found within authorized project")),
        ("/v2/observations", {"limit": "1001"}, (400, (["limit"], "Too big: expected number to be <=1000"))),
        ("/v2/observations", {"cursor": "???"}, (400, "Invalid cursor format")),
        ("/v2/observations", {"cursor": "e30="}, (400, "Invalid cursor format")),
        (
            "/observations",
            {"level": "LOUD"},
            (400, (["level"], 'Invalid option: expected one of "DEBUG"|"DEFAULT"|"WARNING"|"ERROR"')),
        ),
    ],
)
def test_a_bad_request_is_refused_as_langfuse_does(
    http: httpx.Client, path: str, query: dict[str, str], expected: tuple[int, object]
) -> None:
    assert refusal(http.get(path, params=query)) == expected


def test_json_that_was_to_be_parsed_by_the_server(http: httpx.Client) -> None:
    status, [path, message] = refusal(http.get("/v2/observations", params={"parseIoAsJson": "true"}))
    assert (status, path) == (400, ["parseIoAsJson"])
    assert "no longer supported" in message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Invalid input: expected array"),
        ({"traceIds": []}, "At least 1 traceId is required."),
        ({"traceIds": ["x"] * 1001}, "Cannot specify more than 1000 traces in a single request."),
    ],
)
def test_a_bad_deletion(http: httpx.Client, body: dict[str, Any], message: str) -> None:
    assert refusal(http.request("DELETE", "/traces", json=body)) == (400, (["traceIds"], message))


def test_texts_are_shown_as_they_are_stored(http: httpx.Client) -> None:
    texts = {"plain": "why?", "number": "12", "text of digits": '"12"', "list": "[1, null]"}
    send(
        http, *(span(ANSWER, n, name, at=n, observation__input=text) for n, (name, text) in enumerate(texts.items(), 1))
    )

    rows = http.get("/v2/observations", params={"fields": "basic,io"}).json()["data"]
    shown = {row["name"]: row["input"] for row in rows}
    assert shown == {"plain": "why?", "number": "12", "text of digits": '"12"', "list": "[1,null]"}


# -- what spans bring along ------------------------------------------------------------------------------------------


def test_values_that_json_has_no_word_for(http: httpx.Client) -> None:
    send(http, span(ANSWER, 1, "odd", at=0, observation__input='{"half": "\\ud83d", "big": 1e999}'))

    for path in (f"/traces/{ANSWER}", "/traces", "/observations", "/v2/observations?fields=io"):
        assert http.get(path).status_code == 200
    text = http.get(f"/observations/{1:016x}").content.decode("utf-8", "surrogatepass")
    assert '"half": "\\ud83d"' in text or '"half":"\ud83d"' in text


def test_an_export_that_langfuse_would_lose_later_is_not_there(http: httpx.Client) -> None:
    send(http, span(ANSWER, 1, "fine", at=0))
    broken = {"traceId": ANSWER, "spanId": "02" * 8, "name": "broken", "startTimeUnixNano": {"high": "x"}}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [broken]}]}]}
    assert http.post("/otel/v1/traces", json=body).status_code == 200

    assert "fine" in names(http.get("/v2/observations"))


def test_a_span_that_was_sent_twice_is_one_row_the_later(http: httpx.Client) -> None:
    for level in ("DEFAULT", "ERROR"):
        send(http, span(ANSWER, 1, "twice", at=0, observation__level=level))

    rows = http.get("/v2/observations").json()["data"]
    assert [row["level"] for row in rows] == ["ERROR"]


# -- through the SDK -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("exported")
def test_the_sdk_reads_observations(langfuse: Langfuse) -> None:
    groups = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context"
    page = langfuse.api.observations.get_many(trace_id=ANSWER, fields=groups, limit=1)

    [llm] = page.data
    assert (llm.name, llm.type, llm.usage_details, llm.latency) == (
        "llm",
        "GENERATION",
        {"input": 10, "output": 5, "total": 15},
        0.25,
    )
    [answer] = langfuse.api.observations.get_many(trace_id=ANSWER, limit=1, cursor=page.meta.cursor).data
    assert (answer.name, answer.user_id) == ("answer", "u-1")


@pytest.mark.usefixtures("exported")
def test_the_sdk_reads_traces_and_sessions(langfuse: Langfuse) -> None:
    api: Any = langfuse.api
    if not hasattr(api.trace, "get"):
        pytest.skip("langfuse 5 reads neither traces nor sessions")
    trace = api.trace.get(ANSWER)
    assert (trace.name, [item.name for item in trace.observations]) == ("answering", ["answer", "llm"])
    assert [trace.name for trace in api.trace.list(limit=1).data] == ["search"]
    assert [trace.name for trace in api.sessions.get("s-1").traces] == ["answering"]
    assert [session.id for session in api.sessions.list().data] == ["s-2", "s-1"]
    legacy = api.legacy.observations_v1
    assert legacy.get(f"{2:016x}").model == "gpt-4o"
    assert [item.name for item in legacy.get_many(type="GENERATION").data] == ["llm"]
    with pytest.raises(NotFoundError):
        api.trace.get("nope")
