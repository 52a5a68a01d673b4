"""Observations that arrived at the stand-in."""

import json

import httpx
import pytest

from pytest_langfuse.standin.received_export import ReceivedExport
from pytest_langfuse.standin.received_source import ReceivedSource
from pytest_langfuse.standin.stand_in import StandIn


def send(stand_in: StandIn, *spans: dict[str, object], mount: str = "") -> None:
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "ab" * 16, **span} for span in spans]}]}]}
    url = f"http://langfuse.invalid{mount}/api/public/otel/v1/traces"
    assert stand_in(httpx.Request("POST", url, json=body)).status_code == 200


CHILD = {"spanId": "02" * 8, "parentSpanId": "01" * 8, "name": "child", "startTimeUnixNano": "2"}
ROOT = {"spanId": "01" * 8, "name": "root", "startTimeUnixNano": "1"}
LATER = {"spanId": "03" * 8, "parentSpanId": "01" * 8, "name": "later", "startTimeUnixNano": "3"}


def test_one_tree_out_of_several_bodies(stand_in: StandIn) -> None:
    received = ReceivedSource(stand_in)
    send(stand_in, CHILD)
    assert [observation.name for observation in received.observations()] == ["child"]
    send(stand_in, ROOT)
    send(stand_in, LATER)
    root, child, later = received.observations()
    assert (root.name, child.parent, later.parent) == ("root", root, root)
    assert root.children == [child, later]
    assert received.observations()[0] is root  # decoded once


def test_nothing_stays_after_clear_or_reset(stand_in: StandIn) -> None:
    received = ReceivedSource(stand_in)
    stand_in.prompt("kept", "x")
    send(stand_in, ROOT)
    received.observations()
    received.clear()
    assert (received.observations(), received.scores(), list(received.wire())) == ([], [], [])
    assert [prompt.name for prompt in stand_in.prompts] == ["kept"]
    send(stand_in, CHILD)
    assert [observation.name for observation in received.observations()] == ["child"]
    stand_in.reset()
    send(stand_in, LATER)
    assert [observation.name for observation in received.observations()] == ["later"]


def test_what_a_server_cannot_know(stand_in: StandIn) -> None:
    received = ReceivedSource(stand_in)
    assert (received.unexported(), received.undelivered(), received.late()) == ([], [], ())
    received.wait(3600)  # there is nothing to wait for


def test_the_bytes_and_the_waiting(stand_in: StandIn) -> None:
    waited: list[float] = []
    received = ReceivedSource(stand_in, waited.append)
    send(stand_in, ROOT)
    assert [body.body for body in received.wire()] == stand_in.bodies
    received.wait(2.5)
    assert waited == [2.5]


def test_the_keys_of_all_spans(stand_in: StandIn) -> None:
    send(stand_in, CHILD)
    send(stand_in, ROOT)
    trace = int("ab" * 16, 16)
    assert ReceivedSource(stand_in).keys() == {(trace, int("01" * 8, 16)), (trace, int("02" * 8, 16))}


def test_an_export_knows_the_path_of_its_base_url_and_is_decoded_once(stand_in: StandIn) -> None:
    shown: list[ReceivedExport] = []
    with stand_in.exports_shown_to(shown.append):
        send(stand_in, ROOT, mount="/langfuse")
    send(stand_in, CHILD)
    assert [export.base_path for export in stand_in.exports] == ["/langfuse", ""]
    assert shown == stand_in.exports[:1]
    assert [record.name for record in shown[0].records] == ["root"]
    assert shown[0].records is shown[0].records


def nan(name: str) -> dict[str, object]:
    """Return an attribute as JavaScript's exporters write NaN."""
    return {"key": name, "value": {"doubleValue": None}}


def test_nan_from_javascript(stand_in: StandIn) -> None:
    send(stand_in, {**ROOT, "attributes": [nan("ai.usage.tokens")]})
    (observation,) = ReceivedSource(stand_in).observations()
    assert (observation.attributes, observation.usage) == ({"ai.usage.tokens": None}, {})


def test_ids_of_any_kind_are_keys_where_they_are_hex(stand_in: StandIn) -> None:
    received = ReceivedSource(stand_in)
    send(stand_in, ROOT, {**CHILD, "spanId": "any text"}, {**LATER, "spanId": "AB"}, {**LATER, "spanId": [1]})
    assert {key[1] for key in received.keys()} == {int("01" * 8, 16), 0xAB, 1}  # noqa: SIM118 - a method of ours
    assert len(received.observations()) == 4


def test_an_export_that_langfuse_loses_is_missing_with_the_reason(stand_in: StandIn) -> None:
    received = ReceivedSource(stand_in)
    send(stand_in, {**ROOT, "attributes": [{"key": "operation.name", "value": {"intValue": 5}}]}, CHILD)
    send(stand_in, LATER)
    assert [observation.name for observation in received.observations()] == ["later"]
    assert [(item.observation.name, item.reason) for item in received.undelivered()] == [
        ("root", "dropped"),
        ("child", "dropped"),
    ]
    assert {item.detail for item in received.unexported()} == {
        "Langfuse accepts its export and then loses it: attribute 'operation.name' is 5, not text, in span 'root'"
    }
    assert len(received.keys()) == 3  # they arrived


@pytest.mark.parametrize("document", [{}, {"resourceSpans": None}, {"resourceSpans": []}, [], 5, "x"])
def test_an_export_of_nothing(stand_in: StandIn, document: object) -> None:
    url = "http://langfuse.invalid/api/public/otel/v1/traces"
    assert stand_in(httpx.Request("POST", url, json=document)).status_code == 200
    received = ReceivedSource(stand_in)
    assert (received.observations(), received.unexported()) == ([], [])


def test_an_export_that_cannot_be_read_is_one_missing_item() -> None:
    export = ReceivedExport("", b'{"resourceSpans": {"a": 1}}', is_json=True)
    (item,) = export.missing()
    assert (export.records, item.observation.name) == ([], "an export that cannot be read")
    assert item.detail == (
        "Langfuse accepts it and then loses it: the body is not valid OTLP/JSON: resourceSpans is an object, "
        "expected a list"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"traceId": None}, "traceId:absent"),
        ({"spanId": 5}, "spanId:not_an_id"),
        ({"parentSpanId": {"data": []}}, "parentSpanId:not_an_id"),
        ({"attributes": {}}, "attributes:not_an_array"),
        ({"events": [{"attributes": 5}]}, "event.attributes:not_an_array"),
    ],
)
def test_what_langfuse_refuses(stand_in: StandIn, change: dict[str, object], reason: str) -> None:
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "ab" * 16, **ROOT, **change}]}]}]}
    response = stand_in(httpx.Request("POST", "http://langfuse.invalid/api/public/otel/v1/traces", json=body))
    assert (response.status_code, reason in response.json()["error"]) == (400, True)
    assert stand_in.exports == []


@pytest.mark.parametrize("content", [b"{" * 100_000, b'{"a": NaN}', b"{} {}", b'{"resourceSpans": ' + b"[" * 100_000])
def test_json_that_javascript_does_not_parse_is_refused(stand_in: StandIn, content: bytes) -> None:
    request = httpx.Request(
        "POST",
        "http://langfuse.invalid/api/public/otel/v1/traces",
        content=content,
        headers={"Content-Type": "application/json"},
    )
    assert stand_in(request).status_code == 400


@pytest.mark.slow
def test_no_body_stops_a_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # The failure is folded to the width of the terminal.
    monkeypatch.setenv("COLUMNS", "200")
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "ab" * 16, **ROOT, "attributes": [nan("n")]}]}]}]}
    lost = json.loads(json.dumps(body).replace('{"doubleValue": null}', "null"))
    pytester.makepyfile(
        f"""
        import httpx

        NAN, LOST = {body!r}, {lost!r}

        def send(server, body):
            assert httpx.post(server.url + "/api/public/otel/v1/traces", json=body).status_code == 200

        def test_nan(langfuse_server):
            send(langfuse_server, NAN)
            langfuse_server.spans.assert_tree("span root")

        def test_lost(langfuse_server):
            send(langfuse_server, LOST)
            langfuse_server.spans.assert_tree("span root")

        def test_the_next():
            pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*Langfuse accepts its export and then loses it: attribute 'n' has no value*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
