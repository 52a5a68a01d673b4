"""Observations that arrived at the stand-in."""

import httpx

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
    assert (received.unexported(), received.undelivered(), received.late()) == ((), (), ())
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
