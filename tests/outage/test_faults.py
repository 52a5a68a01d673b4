"""Every fault as foreign clients see it: http.client, requests in OpenTelemetry's exporter, httpx."""

import http.client
import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from importlib.metadata import version

import httpx
import pytest
import requests
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytest_langfuse.outage.faults import FAULTS, ClientFault, ServerFault
from pytest_langfuse.outage.outage import Outage
from pytest_langfuse.outage.server import LangfuseServer
from pytest_langfuse.standin.http.exchange import Exchange
from pytest_langfuse.standin.received_source import ReceivedSource

HEALTH = "/api/public/health"
TRACES = "/api/public/otel/v1/traces"
# fmt: off
NAMES = [
    "refused", "hang", "reset", "slow", "drip", "http_400", "http_401", "http_403", "http_404", "http_413",
    "http_429", "http_500", "http_502", "http_503", "http_504", "redirect", "captive_portal", "partial_success",
    "garbage", "truncated", "tls_error", "dns_error", "flapping",
]
# fmt: on
OTEL = tuple(int(part) for part in version("opentelemetry-sdk").split(".")[:2])
#: Seconds that a client waits for an answer that never comes.
PATIENCE = 0.2
#: A timeout of OpenTelemetry's exporter in which it does not try again: shorter than its first pause (0.8 s or more).
ONE_TRY = 0.7


@pytest.fixture
def server() -> Iterator[LangfuseServer]:
    with LangfuseServer() as server:
        yield server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the server would have waited, instead of waiting."""
    waited: list[float] = []

    def wait(_exchange: Exchange, seconds: float) -> bool:
        waited.append(seconds)
        return True

    monkeypatch.setattr(Exchange, "wait", wait)
    return waited


def get(url: str, path: str = HEALTH, *, timeout: float = 20) -> tuple[int, bytes]:
    parsed = httpx.URL(url)
    kind = http.client.HTTPSConnection if parsed.scheme == "https" else http.client.HTTPConnection
    client = kind(parsed.host, parsed.port, timeout=timeout)
    try:
        client.request("GET", path)
        response = client.getresponse()
        return response.status, response.read()
    finally:
        client.close()


def finished_spans(*names: str) -> list[object]:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for name in names:
        provider.get_tracer("test").start_span(name).end()
    provider.shutdown()
    return list(memory.get_finished_spans())


def export(base_url: str, *names: str, timeout: float = 20) -> SpanExportResult:
    """Export with OpenTelemetry's own exporter. It tries some failures again, for as long as the timeout allows."""
    exporter = OTLPSpanExporter(endpoint=f"{base_url}{TRACES}", timeout=timeout)
    try:
        return exporter.export(finished_spans(*names))
    except requests.RequestException:
        return SpanExportResult.FAILURE  # before 1.40 the exporter let them through to its span processor
    finally:
        exporter.shutdown()


def arrived(server: LangfuseServer, name: str) -> None:
    """Wait until the server has seen the request: a client that gave up may have been faster."""
    assert isinstance(FAULTS[name], ClientFault) or server.wait_for_arrivals(1, timeout=20)


def names(server: LangfuseServer) -> list[str]:
    return [observation.name for observation in ReceivedSource(server.stand_in).observations()]


# -- the catalogue ---------------------------------------------------------------------------------------------------


def test_the_catalogue() -> None:
    assert list(FAULTS) == NAMES
    assert [fault.name for fault in FAULTS.values()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_fault_says_which_incident_looks_so(name: str) -> None:
    summary, _, incident = FAULTS[name].description.partition("\n\n")
    assert summary.endswith(".")
    assert len(incident) > 40


# -- what a plain client sees ----------------------------------------------------------------------------------------

SEEN: dict[str, int | type[BaseException]] = {
    "refused": ConnectionRefusedError,
    "hang": TimeoutError,
    "reset": ConnectionResetError,
    "slow": 200,
    "drip": 200,
    "redirect": 302,
    "captive_portal": 200,
    "partial_success": 200,
    "garbage": http.client.BadStatusLine,
    "truncated": http.client.IncompleteRead,
    "tls_error": ssl.SSLError,
    "dns_error": socket.gaierror,
    "flapping": 200,
} | {name: int(name[-3:]) for name in NAMES if name.startswith("http_")}


@pytest.mark.parametrize("name", NAMES)
def test_http_client(server: LangfuseServer, waits: list[float], name: str) -> None:
    expected = SEEN[name]
    with Outage.of(name).activate(server) as outage:
        url = server.base_url_for(HEALTH)
        timeout = PATIENCE if name == "hang" else 20
        if isinstance(expected, int):
            assert get(url, timeout=timeout)[0] == expected
        else:
            with pytest.raises(expected):
                get(url, timeout=timeout)
        arrived(server, name)
        # Health has no partial success, and flapping begins with a good answer.
        untouched = name in {"partial_success", "flapping"}
        taken = untouched or name in {"slow", "drip"}
        assert (outage.attempts, outage.struck, outage.refused) == (
            0 if name == "partial_success" else 1,
            0 if untouched else 1,
            0 if taken else 1,
        )
    assert get(server.url)[0] == 200


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_is_refused_is_kept(server: LangfuseServer, waits: list[float], name: str) -> None:
    body = json.dumps([{"name": "s", "value": 1, "traceId": "t"}])
    with Outage.of(name).activate(server):
        url = server.base_url_for("/api/public/scores")
        timeout = PATIENCE if name == "hang" else 20
        try:
            response = httpx.post(f"{url}/api/public/scores", content=body, timeout=timeout)
        except (httpx.HTTPError, ssl.SSLError):
            response = httpx.Response(599)
    accepted = response.status_code == 202
    assert accepted == (name in {"slow", "drip", "flapping"})
    assert len(server.stand_in.scores) == accepted


# -- what OpenTelemetry's exporter sees ------------------------------------------------------------------------------

#: The silent ones: the exporter takes them for success, and the spans are gone.
SILENT = {"redirect", "captive_portal", "partial_success"}
KEPT = {"slow", "drip", "flapping"}
#: The exporter tries again, until its timeout is over.
RETRIED = {"refused", "reset", "http_429", "http_502", "http_503", "http_504", "truncated", "garbage", "tls_error"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_opentelemetrys_exporter(server: LangfuseServer, waits: list[float], name: str) -> None:
    with Outage.of(name).activate(server) as outage:
        url = server.base_url_for(TRACES)
        once = name in RETRIED | {"hang", "dns_error"} or (name == "http_500" and OTEL < (1, 40))
        result = export(url, "span", timeout=ONE_TRY if once else 20)
        arrived(server, name)
    succeeded = name in SILENT or name in KEPT
    assert result is (SpanExportResult.SUCCESS if succeeded else SpanExportResult.FAILURE)
    assert names(server) == (["span"] if name in KEPT else [])
    assert outage.attempts >= 1


@pytest.mark.skipif(OTEL < (1, 40), reason="tries a 500 again, too")
def test_a_503_is_tried_again_and_a_500_is_not(server: LangfuseServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="opentelemetry")
    with Outage.of("http_503", times=1, retry_after=0).apply(server) as unavailable:
        assert export(server.url, "a") is SpanExportResult.SUCCESS
    assert (unavailable.attempts, unavailable.refused) == (2, 1)
    with Outage.of("http_500").apply(server) as broken:
        assert export(server.url, "b") is SpanExportResult.FAILURE
    assert (broken.attempts, broken.refused) == (1, 1)
    assert names(server) == ["a"]


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_partial_success_says_what_was_rejected(server: LangfuseServer, compression: str | None) -> None:
    import gzip
    import zlib

    body = encode_spans(finished_spans("a", "b", "c")).SerializeToString()
    packed = {None: body, "gzip": gzip.compress(body), "deflate": zlib.compress(body)}[compression]
    headers = {"Content-Type": "application/x-protobuf"} | ({"Content-Encoding": compression} if compression else {})
    with Outage.of("partial_success").apply(server) as outage:
        response = requests.post(f"{server.url}{TRACES}", data=packed, headers=headers, timeout=20)
    note = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert (response.status_code, note.rejected_spans, bool(note.error_message)) == (200, 2, True)
    assert names(server) == ["a"]
    assert (outage.attempts, outage.refused) == (1, 1)


def test_partial_success_in_json_and_of_scores(server: LangfuseServer) -> None:
    spans = [{"traceId": "ab" * 16, "spanId": f"{n:016x}", "name": str(n)} for n in range(1, 5)]
    scores = [{"name": str(n), "value": n, "traceId": "t"} for n in range(3)]
    events = [{"id": str(n), "type": "score-create", "body": score} for n, score in enumerate(scores)]
    with Outage.of("partial_success").apply(server), httpx.Client(base_url=f"{server.url}/api/public") as client:
        answer = client.post("/otel/v1/traces", json={"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
        assert answer.json()["partialSuccess"]["rejectedSpans"] == "2"
        answer = client.post("/scores", json=scores)
        assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (207, 1, 2)
        answer = client.post("/ingestion", json={"batch": events})
        assert [event["id"] for event in answer.json()["errors"]] == ["1", "2"]
        # A request with nothing to halve, or an invalid one, is answered as usual.
        assert client.post("/otel/v1/traces", content=b"{").status_code == 400
        assert client.put("/scores/x").status_code == 405
    assert len(names(server)) == 2
    assert [score.name for score in server.stand_in.scores] == ["0", "0"]


# -- details of single faults ----------------------------------------------------------------------------------------


def test_slow_and_drip_wait_as_they_say(server: LangfuseServer, waits: list[float]) -> None:
    with Outage.of("slow").apply(server), Outage.of("slow", delay=9).apply(server):
        get(server.url)
    assert waits == [9]
    waits.clear()
    with Outage.of("drip").apply(server):
        status, body = get(server.url)
    assert status == 200
    assert set(waits) == {0.5}
    assert len(waits) > len(body)  # between any two bytes, those of the headers included


@pytest.mark.slow
def test_a_client_that_gives_up_ends_the_waiting(server: LangfuseServer) -> None:
    for count, name in enumerate(["slow", "drip", "hang", "http_503", "reset"], 1):
        with Outage.of(name, delay=3600).apply(server):
            with pytest.raises(TimeoutError):
                get(server.url, timeout=PATIENCE)
            assert server.wait_for_arrivals(count, timeout=20)
    # No thread waits for an hour: the fixture's stop() would wait for it.


@pytest.mark.parametrize("name", ["slow", "drip", "hang", "http_503", "reset", "garbage", "truncated"])
def test_a_server_that_stops_ends_the_waiting(name: str) -> None:
    with LangfuseServer() as server, Outage.of(name, delay=3600).apply(server):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        client.sendall(b"GET /api/public/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.wait_for_arrivals(1, timeout=20)
    client.close()


@pytest.mark.parametrize("name", ["http_401", "http_403", "http_413", "http_429", "http_500", "http_503"])
def test_a_status_comes_with_retry_after(server: LangfuseServer, waits: list[float], name: str) -> None:
    with Outage.of(name, retry_after=7, delay=2).apply(server):
        response = httpx.get(f"{server.url}{HEALTH}")
    assert (response.status_code, response.headers["retry-after"], waits) == (int(name[-3:]), "7", [2])


@pytest.mark.slow
def test_errors_are_langfuses_own_or_a_load_balancers(server: LangfuseServer) -> None:
    for name in NAMES:
        if name.startswith("http_"):
            with Outage.of(name).activate(server):
                response = httpx.get(f"{server.url}{HEALTH}")
            if response.headers["content-type"] == "application/json":
                assert response.json()["message"]
            else:
                assert response.headers["content-type"].startswith("text/")


def test_a_redirect_leads_to_a_page_on_the_same_host(server: LangfuseServer) -> None:
    with Outage.of("redirect").apply(server) as outage:
        response = httpx.post(f"{server.url}{TRACES}", content=b"x", follow_redirects=True)
    assert [hop.status_code for hop in response.history] == [302]
    assert (response.status_code, response.url.host, response.url.port) == (200, "127.0.0.1", server.port)
    assert "<form>" in response.text
    assert outage.attempts == 1  # the page is not Langfuse


def test_a_reset_is_one(server: LangfuseServer) -> None:
    with Outage.of("reset").apply(server), socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_tls_is_answered_with_an_alert(server: LangfuseServer) -> None:
    context = ssl.create_default_context()
    with (
        Outage.of("tls_error").activate(server),
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection,
        pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"),
    ):
        context.wrap_socket(connection, server_hostname="langfuse.invalid")


def test_refused_also_for_clients_that_do_not_ask_where_to_send(server: LangfuseServer) -> None:
    with Outage.of("refused").apply(server) as outage:
        with pytest.raises(ConnectionRefusedError):
            get(server.url)
        outage.recover()
        assert get(server.url)[0] == 200
    assert get(server.url)[0] == 200


def test_an_unknown_host_is_asked_of_no_resolver(server: LangfuseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    original = socket.getaddrinfo

    def getaddrinfo(host: object, *args: object, **kwargs: object) -> object:
        asked.append(host)
        return original(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with Outage.of("dns_error").activate(server), pytest.raises(httpx.ConnectError, match="not known"):
        httpx.get(f"{server.base_url_for(HEALTH)}{HEALTH}")
    assert asked == []
    assert socket.getaddrinfo is getaddrinfo


@pytest.mark.asyncio
async def test_an_unknown_host_async(server: LangfuseServer) -> None:
    with Outage.of("dns_error").activate(server):
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{server.base_url_for(HEALTH)}{HEALTH}")


def test_kinds() -> None:
    kinds: dict[type, Callable[[str], bool]] = {
        ClientFault: lambda name: name in {"refused", "tls_error", "dns_error"},
        ServerFault: lambda name: name not in {"refused", "tls_error", "dns_error"},
    }
    for name, fault in FAULTS.items():
        assert kinds[type(fault)](name)


@pytest.mark.parametrize(
    "body",
    [
        "null",
        "[]",
        '{"resourceSpans": null}',
        '{"resourceSpans": [{"scopeSpans": 5}]}',
        '{"resourceSpans": ' + "[" * 9999,
    ],
)
def test_partial_success_of_a_body_without_spans(server: LangfuseServer, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    with Outage.of("partial_success").apply(server):
        response = httpx.post(f"{server.url}{TRACES}", content=body, headers=headers)
    assert response.status_code in {200, 400}
