"""One object for live tests, export bodies, files and Langfuse's API."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import pytest
from langfuse.api import LangfuseAPI
from langfuse.api.core import ApiError

from pytest_langfuse import Observations
from pytest_langfuse.recording import DecodeError
from pytest_langfuse.recording.sources.files import source_of_file
from tests.helpers.bad_input import refusal
from tests.helpers.paths import GOLDEN

CASES = sorted(path.name.removesuffix(".otlp.bin") for path in GOLDEN.glob("*.otlp.bin"))
TRACE_ID = "1212a186bcd275fc695fc027b0dd30b4"
NESTED = """
    span root input={"q":"hi"} output={"a":1}
      chain mid output=[1,2]
        tool leaf input=a output=b
"""


def body(case: str) -> bytes:
    return (GOLDEN / f"{case}.otlp.bin").read_bytes()


def otlp_json(name: str = "a") -> bytes:
    span = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "name": name, "startTimeUnixNano": "1"}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "x"}, "spans": [span]}]}]}).encode()


# -- export bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_what_the_sdk_sends_round_trips(case):
    observations = Observations.from_otlp(body(case))
    assert len(observations) > 0
    assert observations == str(observations)
    observations.assert_tree(str(observations), order="any")
    observations.assert_contains(str(observations))


def test_from_otlp():
    for data in (body("nested"), gzip.decompress(body("nested"))):
        observations = Observations.from_otlp(data)
        observations.assert_tree(NESTED)
        observations.assert_single_trace()
        observations.assert_flushed()
        assert observations.trace("root").id == TRACE_ID
        assert observations.unexported == []
    assert [one.name for one in Observations.from_otlp(otlp_json())] == ["a"]


def test_the_body_is_what_is_searched():
    observations = Observations.from_otlp(body("nested"))
    observations.assert_not_exported("s3cret")
    with pytest.raises(AssertionError, match=r"exporter body, root, attribute langfuse.observation.input"):
        observations.assert_not_exported('{"q": "hi"}')


def test_a_compressed_body_is_searched_in_clear():
    for compress, encoding in ((gzip.compress, None), (gzip.compress, "gzip"), (zlib.compress, "deflate")):
        observations = Observations.from_otlp(compress(otlp_json("s3cret name")), encoding=encoding)
        with pytest.raises(AssertionError, match="exporter body, "):
            observations.assert_not_exported("s3cret")


def test_garbage_is_one_clear_error():
    with pytest.raises(DecodeError, match="the body is text: 'hello'"):
        Observations.from_otlp(b"hello")


# -- files -------------------------------------------------------------------------------------------------------------

PAGE = {
    "id": "b",
    "traceId": "t",
    "parentObservationId": "a",
    "type": "GENERATION",
    "name": "llm",
    "startTime": "2026-01-01T00:00:01.000Z",
    "endTime": "2026-01-01T00:00:03.500Z",
    "level": "WARNING",
    "statusMessage": "slow",
    "input": {"q": 1},
    "output": "true",
    "metadata": {"tenant": "acme"},
    "model": "gpt-4o",
    "modelParameters": {"temperature": 0.5},
    "usageDetails": {"input": 3, "total": 3},
    "costDetails": {"total": 0.25},
    "promptName": "greeting",
    "promptVersion": 3,
    "userId": "u-1",
    "sessionId": "s-1",
    "tags": ["x"],
    "environment": "staging",
    "version": "1.2",
    "release": "v9",
}
ROOT = {
    "id": "a",
    "traceId": "t",
    "type": "SPAN",
    "name": "answer",
    "startTime": "2026-01-01T00:00:00Z",
    "userId": "u-1",
}
FROM_PAGE = (
    """
    * user_id=u-1
    span answer
      generation llm level=WARNING status_message=slow model=gpt-4o model_parameters={"temperature":0.5}
""".rstrip()
    + (
        ' prompt_name=greeting prompt_version=3 input={"q":1} usage={"input":3,"total":3} cost={"total":0.25}'
        ' metadata={"tenant":"acme"} session_id=s-1 tags=["x"] environment=staging version="1.2"'
        " release=v9 duration=2.5\n"
    )
)


def snake(row: dict[str, object]) -> dict[str, object]:
    """As Langfuse's exports to blob storage spell it."""
    return {
        "".join(f"_{char.lower()}" if char.isupper() else char for char in key): value for key, value in row.items()
    }


@pytest.mark.parametrize(
    "data",
    [
        json.dumps({"id": "t", "name": "chat", "observations": [PAGE, ROOT]}).encode(),
        json.dumps([PAGE, ROOT], indent=2).encode(),
        b"\xef\xbb\xbf" + json.dumps([PAGE, ROOT]).encode(),
        "\n".join(map(json.dumps, [PAGE, ROOT])).encode(),
        "\n".join(json.dumps(snake(row)) for row in (PAGE, ROOT)).encode() + b"\n",
        gzip.compress(json.dumps([PAGE, ROOT]).encode()),
        json.dumps({"data": [{**PAGE, "input": '{"q":1}', "output": '"true"'}, ROOT]}).encode(),
    ],
    ids=["trace", "list", "bom", "lines", "snake-case lines", "gzip", "page"],
)
def test_json_of_the_api(tmp_path, data):
    path = tmp_path / "trace.json"
    path.write_bytes(data)
    observations = Observations.from_file(path)
    observations.assert_tree(FROM_PAGE)
    llm = Observations.from_file(str(path)).one("generation llm")
    assert llm.output == "true"
    assert (llm.start_time, llm.duration) == (datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC), 2.5)
    assert (llm.is_root, llm.is_app_root) == (False, False)
    assert llm.span["id"] == "b"


def test_pages_hold_input_and_output_as_text(tmp_path):
    path = tmp_path / "page.json"
    path.write_text(json.dumps({"data": [{**ROOT, "input": "12", "output": '{"a":'}], "meta": {}}))
    Observations.from_file(path).assert_tree("span answer input=12 output='{\"a\":'")


def test_user_and_session_of_the_trace_hold_for_its_observations(tmp_path):
    trace = {
        "id": "t",
        "userId": "u-1",
        "sessionId": "s-1",
        "tags": ["x"],
        "observations": [PAGE, {**ROOT, "userId": None}],
    }
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(trace))
    Observations.from_file(path).assert_propagated("user_id", "session_id", "tags")


@pytest.mark.parametrize("spelling", [dict, snake], ids=["api", "export"])
def test_a_trace_of_the_api_has_its_name_its_scores_and_its_own_values(tmp_path, spelling):
    observation = spelling(
        {"id": "o1", "traceId": "t1", "type": "SPAN", "name": "root", "startTime": "2026-01-01T00:00:00Z"}
    )
    number = {"id": "s1", "traceId": "t1", "name": "good", "value": 1, "dataType": "NUMERIC", "comment": "nice"}
    text = {"name": "kind", "value": 0, "stringValue": "so so", "dataType": "CATEGORICAL", "observationId": "o1"}
    trace = {
        "id": "t1",
        "name": "chat",
        "sessionId": "s",
        "environment": "production",
        "input": {"q": 1},
        "output": "r",
    }
    document = spelling({**trace, "metadata": {"a": 1}})
    document |= {"observations": [observation], "scores": [spelling(number), spelling(text)]}
    (tmp_path / "trace.json").write_text(json.dumps([document]))
    found = Observations.from_file(tmp_path / "trace.json")
    assert (found.trace("chat").name, found[0].environment) == ("chat", "production")
    assert [(one.name, one.value, one.trace_id, one.observation_id, one.comment) for one in found.scores] == [
        ("good", 1, "t1", None, "nice"),
        ("kind", "so so", "t1", "o1", None),
    ]
    found.assert_tree('span root\n  score kind value="so so"\nscore good value=1 comment=nice')
    [stored] = source_of_file(tmp_path / "trace.json").traces
    assert (stored.id, stored.input, stored.output, stored.metadata) == ("t1", {"q": 1}, "r", {"a": 1})


@pytest.mark.parametrize(
    "score", [{"value": 1}, {"name": "a"}, {"name": "a", "value": [1]}, {"name": "a", "value": True}]
)
def test_a_score_that_can_not_be_read_is_named(tmp_path, score):
    observation = {"id": "o1", "traceId": "t1", "type": "SPAN"}
    (tmp_path / "trace.json").write_text(json.dumps({"id": "t1", "observations": [observation], "scores": [score]}))
    with pytest.raises(
        DecodeError, match=r"trace\.json: the score .* has the value .*, expected a name and a number or text"
    ):
        Observations.from_file(tmp_path / "trace.json")


LISTED_TRACE = {
    "id": "t1",
    "timestamp": "2026-01-01T00:00:00Z",
    "name": "chat",
    "htmlPath": "/project/p/traces/t1",
    "observations": ["o1"],
    "scores": ["s1"],
}
SCORE = {"id": "s1", "traceId": "t1", "name": "good", "value": 1, "dataType": "NUMERIC", "source": "API"}
SESSION = {"id": "s", "createdAt": "2026-01-01T00:00:00Z", "projectId": "p"}


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ({"data": [LISTED_TRACE], "meta": {"page": 1}}, "traces without their observations"),
        ([LISTED_TRACE], "traces without their observations"),
        (LISTED_TRACE, "traces without their observations"),
        (
            {key: value for key, value in LISTED_TRACE.items() if key != "observations"},
            "traces without their observations",
        ),
        ({"data": [SCORE]}, "scores"),
        ({"data": [SESSION]}, "sessions"),
    ],
)
def test_an_answer_of_another_endpoint_is_not_called_damaged(tmp_path, document, what):
    (tmp_path / "page.json").write_text(json.dumps(document))
    with pytest.raises(DecodeError) as error:
        Observations.from_file(tmp_path / "page.json")
    assert str(error.value) == (
        f"{tmp_path / 'page.json'}: it holds {what}, as another endpoint of Langfuse's API answers; fetch each trace "
        "with GET /api/public/traces/ID, or its observations with GET /api/public/observations?traceId=ID"
    )


@pytest.mark.parametrize("case", CASES)
def test_views_of_the_server(tmp_path, case):
    """A view of the server and the body that it is made from are the same observations."""
    view = json.loads((GOLDEN / f"{case}.view.json").read_text())
    path = tmp_path / "view.json"
    # The vectors hold no times: order them as they started, and without the trace, whose fields are others.
    started = {one.id: index for index, one in enumerate(Observations.from_otlp(body(case)))}
    rows = sorted(view["observations"], key=lambda row: started[row["id"]])
    path.write_text(json.dumps({"observations": rows}))
    assert Observations.from_file(path) == str(Observations.from_otlp(body(case)))


def test_export_bodies_in_files(tmp_path):
    path = tmp_path / "body"
    for data in (body("nested"), gzip.decompress(body("nested"))):
        path.write_bytes(data)
        Observations.from_file(path).assert_tree(NESTED)
    path.write_bytes(otlp_json("a") + b"\n" + otlp_json("b").replace(b'01"', b'02"') + b"\n")
    assert sorted(one.name for one in Observations.from_file(path)) == ["a", "b"]


def test_other_files_are_one_clear_error(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(DecodeError, match=r"notes\.txt: the body is text: 'hello'"):
        Observations.from_file(path)
    path.write_text('{"id": "t", "observations": [{"name": "no id"}]}')
    with pytest.raises(DecodeError, match=r"notes\.txt: "):
        Observations.from_file(path)
    path.write_text(json.dumps([ROOT]) + " and more")
    with pytest.raises(DecodeError, match=r"notes\.txt: "):
        Observations.from_file(path)
    path.write_bytes(gzip.compress(b"x" * 1000)[:20])
    with pytest.raises(DecodeError, match=r"notes\.txt: the gzip body is truncated"):
        Observations.from_file(path)
    with pytest.raises(FileNotFoundError):
        Observations.from_file(tmp_path / "missing")


@pytest.mark.parametrize(
    ("document", "damage"),
    [
        ({"observations": [{}]}, "observations[0]: the observation has no 'id' and no 'type'"),
        ({"observations": 5}, "'observations' is 5, expected a list"),
        ({"observations": None, "id": "t"}, "'observations' is None, expected a list"),
        ({"observations": [ROOT, 3]}, "observations[1]: 3 is not an observation, expected an object"),
        ({"data": [{"id": "o"}]}, "data[0]: the observation has no 'type'"),
        ([ROOT, {"observations": [{"type": "SPAN"}]}], "[1]: observations[0]: the observation has no 'id'"),
        ({"traceId": "t", "id": "o", "type": ""}, "the observation has no 'type'"),
    ],
)
def test_a_damaged_trace_of_the_api_says_what_is_missing(tmp_path, document, damage):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document))
    with pytest.raises(DecodeError) as error:
        Observations.from_file(path)
    assert str(error.value) == f"{path}: it looks like JSON of Langfuse's API, but it is damaged: {damage}"


BAD_FIELDS = {
    "startTime": ["yesterday", "", "2026-13-01T00:00:00Z", 5, True, {}, "9" * 5000],
    "endTime": ["later", 1767225600000, []],
    "name": [5, True, {}, ["a"]],
    "parentObservationId": [5, {"a": 1}],
    "statusMessage": [5, {}],
    "model": [5, []],
    "promptName": [5],
    "userId": [5, {}],
    "sessionId": [5, []],
    "traceName": [5],
    "environment": [5],
    "version": [5],
    "release": [5],
    "modelParameters": [5, "x", ["a"]],
    "usageDetails": [5, "x", ["a"]],
    "costDetails": [5, "x", ["a"]],
    "tags": [5, "x", {"a": 1}],
    "promptVersion": ["three", {}],
}


@pytest.mark.parametrize("spelling", [dict, snake])
def test_a_field_that_cannot_be_read_is_named(tmp_path, spelling):
    path = tmp_path / "edited.json"
    for field, values in BAD_FIELDS.items():
        for value in values:
            path.write_text(json.dumps([ROOT, spelling({**PAGE, field: value})]))
            message = refusal(
                lambda: Observations.from_file(path), f"{path}: {field} of observation 'b' is ", (DecodeError,)
            )
            assert ", expected a" in message


# -- the API -----------------------------------------------------------------------------------------------------------

REQUIRED = {"projectId": "p", "modelParameters": {}, "usageDetails": {}, "costDetails": {}, "environment": "default"}


class Server:
    """Answers the endpoints that both versions of the SDK read a trace from."""

    def __init__(self, rows: list[dict[str, object]], page: int = 2) -> None:
        self.rows = rows
        self.page = page
        self.asked: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(dict(request.url.params))
        assert request.url.path == "/api/public/v2/observations"
        start = int(request.url.params.get("cursor", 0))
        rows = [row for row in self.rows if row["traceId"] == request.url.params["traceId"]]
        expanded = request.url.params.get("expandMetadata", "").split(",")
        end = start + self.page
        meta = {"cursor": str(end)} if end < len(rows) else {}
        return httpx.Response(200, json={"data": [cut(row, expanded) for row in rows[start:end]], "meta": meta})

    @property
    def client(self) -> SimpleNamespace:
        return client_of(self)


def client_of(answer: Callable[[httpx.Request], httpx.Response]) -> SimpleNamespace:
    http = httpx.Client(transport=httpx.MockTransport(answer))
    api = LangfuseAPI(base_url="http://langfuse.invalid", username="pk", password="sk", httpx_client=http)
    return SimpleNamespace(api=api)


def cut(row: dict[str, object], expanded: list[str]) -> dict[str, object]:
    metadata = {key: value if key in expanded else value[:200] for key, value in row.get("metadata", {}).items()}
    return {**row, "metadata": metadata}


#: As `api_view` decides: versions from 4.5 to the end of 4 have both endpoints or only this one.
READS_TRACES = hasattr(getattr(LangfuseAPI(base_url="http://langfuse.invalid"), "trace", None), "get")
needs_observations = pytest.mark.skipif(READS_TRACES, reason="langfuse 4 reads traces from another endpoint")


@needs_observations
def test_from_api():
    text = {"input": '{"q":1}', "output": '"true"'}
    server = Server([{**REQUIRED, **PAGE, **text}, {**REQUIRED, **ROOT}, {**REQUIRED, **ROOT, "traceId": "other"}])
    observations = Observations.from_api(server.client, "t")
    observations.assert_tree(FROM_PAGE)
    assert observations.one("generation llm").output == "true"
    assert len(server.asked) == 1
    observations.assert_not_exported("s3cret")
    with pytest.raises(AssertionError, match="exporter API, outside any span that could be decoded"):
        observations.assert_not_exported("acme")
    assert set(server.asked[0]["fields"].split(",")) >= {
        "core",
        "basic",
        "io",
        "metadata",
        "model",
        "usage",
        "trace_context",
    }


@needs_observations
def test_all_pages_are_read():
    rows = [{**REQUIRED, **ROOT, "id": f"id-{number}", "name": f"n{number}"} for number in range(5)]
    server = Server(rows)
    assert [one.name for one in Observations.from_api(server.client, "t")] == ["n0", "n1", "n2", "n3", "n4"]
    assert [asked.get("cursor") for asked in server.asked] == [None, "2", "4"]


@needs_observations
def test_long_metadata_is_asked_for_by_name():
    server = Server([{**REQUIRED, **ROOT, "metadata": {"long": "x" * 500, "short": "y"}}])
    assert Observations.from_api(server.client, "t")[0].metadata == {"long": "x" * 500, "short": "y"}
    assert [asked.get("expandMetadata") for asked in server.asked] == [None, "long"]


@needs_observations
def test_a_trace_that_is_not_there():
    with pytest.raises(LookupError, match="Langfuse has no observations of trace 'other'"):
        Observations.from_api(Server([{**REQUIRED, **ROOT}]).client, "other")


@pytest.mark.skipif(not READS_TRACES, reason="langfuse 5 reads observations from another endpoint")
def test_from_api_with_langfuse_4():
    of_observation = {
        "usage": {"input": 3, "output": 0, "total": 3},
        "metadata": None,
        "input": None,
        "output": None,
        "level": "DEFAULT",
    }
    rows = [{**of_observation, **REQUIRED, **row} for row in (PAGE, ROOT)]
    trace = {
        "htmlPath": "",
        "public": False,
        "scores": [],
        "timestamp": "2026-01-01T00:00:00Z",
        "environment": "default",
    }

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/api/public/traces/t":
            return httpx.Response(404, json={"message": "Trace not found"})
        return httpx.Response(200, json={**trace, "id": "t", "tags": [], "userId": "u-1", "observations": rows})

    client = client_of(answer)
    observations = Observations.from_api(client, "t")
    observations.assert_tree(FROM_PAGE)
    assert observations.one("generation llm").output == "true"
    with pytest.raises(LookupError, match="Langfuse has no observations of trace 'other'"):
        Observations.from_api(client, "other")


class Trace(SimpleNamespace):
    """What `client.api.trace.get` of langfuse 4 returns, as far as it is used."""

    def model_dump(self) -> dict[str, object]:
        return dict(vars(self))


def version_4(get) -> SimpleNamespace:
    return SimpleNamespace(api=SimpleNamespace(trace=SimpleNamespace(get=get)))


def test_from_the_api_of_langfuse_4():
    rows = [snake(PAGE) | {"user_id": None, "input": {"q": 1}}, snake(ROOT) | {"user_id": None}]
    client = version_4(lambda trace_id: Trace(id=trace_id, user_id="u-1", observations=rows))
    observations = Observations.from_api(client, "t")
    observations.assert_propagated("user_id", value="u-1")
    observations.assert_tree(FROM_PAGE)


def test_errors_of_the_api_of_langfuse_4():
    def fail(status: int):
        def get(_trace_id: str) -> None:
            raise ApiError(status_code=status, body="no")

        return version_4(get)

    with pytest.raises(LookupError, match="Langfuse has no observations of trace 't'"):
        Observations.from_api(fail(404), "t")
    with pytest.raises(ApiError):
        Observations.from_api(fail(401), "t")
