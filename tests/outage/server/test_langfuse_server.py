"""The stand-in on a real socket, as foreign clients see it."""

import contextlib
import gc
import gzip
import http.client
import itertools
import json
import os
import random
import socket
import threading
import zlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langfuse import Langfuse
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytest_langfuse import Observations, Outage
from pytest_langfuse.outage.server import LangfuseServer
from pytest_langfuse.standin.http import request_reader
from pytest_langfuse.standin.http.listener import ClosedPort
from pytest_langfuse.standin.received_source import ReceivedSource
from pytest_langfuse.standin.stand_in import StandIn

FDS = Path("/proc/self/fd")
TRACES = "/api/public/otel/v1/traces"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
def server() -> Iterator[LangfuseServer]:
    with LangfuseServer() as server:
        yield server


@pytest.fixture
def client(server: LangfuseServer) -> Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    yield client
    client.close()


def ask(client: http.client.HTTPConnection, method: str, path: str, **kwargs: object) -> tuple[int, bytes]:
    client.request(method, path, **kwargs)
    response = client.getresponse()
    return response.status, response.read()


def raw(server: LangfuseServer, data: bytes) -> bytes:
    """Send bytes and read until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def spans(*names: str) -> list[object]:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for name in names:
        provider.get_tracer("test").start_span(name).end()
    provider.shutdown()
    return list(memory.get_finished_spans())


# -- OpenTelemetry's exporter is the oracle for what was sent --------------------------------------------------------


@pytest.mark.parametrize("compression", list(Compression))
def test_opentelemetrys_exporter_delivers_what_it_encodes(server: LangfuseServer, compression: Compression) -> None:
    exporter = OTLPSpanExporter(endpoint=f"{server.otlp_endpoint}/v1/traces", compression=compression)
    sent = spans("one", "two")

    assert exporter.export(sent) is SpanExportResult.SUCCESS
    exporter.shutdown()

    (body,) = server.stand_in.bodies
    assert ExportTraceServiceRequest.FromString(body) == encode_spans(sent)
    assert [observation.name for observation in ReceivedSource(server.stand_in).observations()] == ["one", "two"]


def test_the_real_sdk_over_a_real_socket(server: LangfuseServer) -> None:
    provider = TracerProvider()
    langfuse = Langfuse(
        public_key="pk-socket", secret_key="sk", base_url=server.url, tracer_provider=provider, timeout=20
    )
    server.stand_in.prompt("greeting", "Hello")
    try:
        assert langfuse.auth_check()
        assert langfuse.get_prompt("greeting").prompt == "Hello"
        with langfuse.start_as_current_observation(name="answer", as_type="generation", model="gpt-4o"):
            langfuse.score_current_trace(name="ok", value=1)
        langfuse.flush()
    finally:
        langfuse.shutdown()
        provider.shutdown()
        manager = LangfuseResourceManager._instances.pop("pk-socket")
        manager.prompt_cache._task_manager.shutdown()
        manager.httpx_client.close()

    (observation,) = ReceivedSource(server.stand_in).observations()
    assert (observation.name, observation.type, observation.model) == ("answer", "generation", "gpt-4o")
    assert [score.name for score in server.stand_in.scores] == ["ok"]


# -- HTTP ------------------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_for_many_requests(client: http.client.HTTPConnection, server: LangfuseServer) -> None:
    addresses = set()
    for _ in range(5):
        assert ask(client, "GET", "/api/public/health")[0] == 200
        addresses.add(client.sock.getsockname())
    assert len(addresses) == 1
    assert [arrival.status for arrival in server.arrivals] == [200] * 5


def test_nodelay(client: http.client.HTTPConnection, server: LangfuseServer) -> None:
    ask(client, "GET", "/api/public/health")
    (connection,) = server._running._open.values()
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.slow
def test_a_body_of_64_mib(client: http.client.HTTPConnection, server: LangfuseServer) -> None:
    export = ExportTraceServiceRequest()
    span = export.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    attribute = span.attributes.add(key="big")
    attribute.value.string_value = "x" * (64 * 1024 * 1024)
    body = export.SerializeToString()

    assert ask(client, "POST", TRACES, body=body, headers=PROTOBUF) == (200, b"")
    assert server.stand_in.bodies == [body]


@given(
    data=st.binary(max_size=3000),
    cuts=st.lists(st.integers(0, 3000), max_size=5),
    encoding=st.sampled_from([None, "gzip", "deflate"]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chunked_bodies_arrive_whole(
    client: http.client.HTTPConnection, server: LangfuseServer, data: bytes, cuts: list[int], encoding: str | None
) -> None:
    export = ExportTraceServiceRequest()
    span = export.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    span.attributes.add(key="data").value.bytes_value = data
    body = export.SerializeToString()
    packed = {None: body, "gzip": gzip.compress(body), "deflate": zlib.compress(body)}[encoding]
    edges = [0, *sorted(min(cut, len(packed)) for cut in cuts), len(packed)]
    chunks = [packed[start:end] for start, end in itertools.pairwise(edges) if end > start]

    headers = PROTOBUF | ({"Content-Encoding": encoding} if encoding else {})
    client.request("POST", TRACES, body=iter(chunks), headers=headers, encode_chunked=True)
    response = client.getresponse()
    response.read()

    assert response.status == 200
    assert server.stand_in.bodies[-1] == body


def test_expect_100_continue(server: LangfuseServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(
            b"POST /api/public/scores HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 Bad Request")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 400),  # and the end of the connection
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: br\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 200_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\r\nGET /api/public/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"GET /api/public/health HTTP/1.0\r\n\r\n", 200),
        (b"GET http://langfuse.invalid/api/public/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
    ],
)
def test_odd_requests(server: LangfuseServer, data: bytes, status: int) -> None:
    answer = raw(server, data)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"onnection: close" in answer


@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 101\r\n\r\n" + b"x" * 101,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"32\r\n" + b"x" * 50 + b"\r\n33\r\n" + b"x" * 51 + b"\r\n0\r\n\r\n",
    ],
)
def test_a_body_above_the_limit(server: LangfuseServer, framed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"POST /api/public/scores HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    monkeypatch.setattr(request_reader, "MAX_BODY", 101)
    assert raw(server, head + framed).startswith(b"HTTP/1.1 400 ")  # taken, and refused for what is in it
    monkeypatch.setattr(request_reader, "MAX_BODY", 100)
    assert raw(server, head + framed).startswith(b"HTTP/1.1 413 ")
    assert len(server.arrivals) == 1


@pytest.mark.parametrize("framed", [b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"])
def test_a_client_that_goes_away_within_a_body_gets_no_answer(server: LangfuseServer, framed: bytes) -> None:
    assert raw(server, b"POST /api/public/scores HTTP/1.1\r\nHost: x\r\n" + framed) == b""
    assert server.arrivals == []


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_the_server(server: LangfuseServer, data: bytes) -> None:
    answer = raw(server, data)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 ", b"\x15\x03"))


def test_pipelined_requests_are_answered_in_order(server: LangfuseServer) -> None:
    answer = raw(
        server,
        b"GET /api/public/health HTTP/1.1\r\nHost: x\r\n\r\n"
        b"POST /api/public/scores HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nHEAD /api/public/health HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400", b"404", b"405"]


@pytest.mark.slow
def test_many_clients_at_once(server: LangfuseServer) -> None:
    def send(number: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for index in range(10):
            body = f'{{"name": "s", "value": {index}, "traceId": "t", "id": "{number}-{index}"}}'
            assert ask(client, "POST", "/api/public/scores", body=body)[0] == 200
        client.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.stand_in.scores) == 300


def test_keys() -> None:
    with LangfuseServer(public_key="pk", secret_key="sk") as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        good = {"Authorization": "Basic " + b64encode(b"pk:sk").decode()}
        bad = {"Authorization": "Basic " + b64encode(b"pk:no").decode()}
        assert ask(client, "GET", "/api/public/projects", headers=good)[0] == 200
        assert ask(client, "GET", "/api/public/projects", headers=bad)[0] == 401
        client.close()
    with pytest.raises(TypeError, match="keys are checked by the stand-in"):
        LangfuseServer(StandIn(), public_key="pk")


# -- start and stop --------------------------------------------------------------------------------------------------


def resources() -> tuple[int, int]:
    gc.collect()
    return threading.active_count(), len(list(FDS.iterdir()))


@pytest.mark.slow
@pytest.mark.skipif(not FDS.is_dir(), reason="counts descriptors as Linux shows them")
def test_nothing_is_left_when_it_stops() -> None:
    with LangfuseServer() as warm_up:
        requests.get(f"{warm_up.url}/api/public/health", timeout=20)
    before = resources()
    with LangfuseServer() as server:
        _ = server.refusing_url
        clients = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=20) for _ in range(5)]
        for client in clients:
            assert ask(client, "GET", "/api/public/health")[0] == 200
        half = socket.create_connection(("127.0.0.1", server.port))
        half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    half.close()
    for client in clients:
        client.close()
    assert resources() == before


def test_a_client_cannot_reach_the_next_server() -> None:
    ports = []
    session = requests.Session()
    for _ in range(5):
        with LangfuseServer() as server:
            ports.append(server.port)
            assert session.get(f"{server.url}/api/public/health", timeout=20).status_code == 200
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://127.0.0.1:{ports[-1]}/api/public/health", timeout=20)
    session.close()
    assert len(set(ports)) == len(ports)


def test_a_port_that_was_used_is_never_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_langfuse.standin.http import listener
    from pytest_langfuse.standin.http.free_ports import PortClaims

    offered = iter([1, 1, 2])
    claims = PortClaims()
    # Another run of this test may claim the same.
    monkeypatch.setattr(claims, "_locked", lambda _port: True)
    assert claims.claim(1)
    monkeypatch.setattr(listener, "claims", claims)
    monkeypatch.setattr(listener, "_bind", lambda _host, _port: FakeSocket(next(offered)))
    held = listener._hold("127.0.0.1", 0)
    assert held.getsockname() == ("127.0.0.1", 2)
    assert [socket.closed for socket in FakeSocket.made] == [True, True, False]


class FakeSocket:
    made: list["FakeSocket"] = []  # noqa: RUF012

    def __init__(self, port: int) -> None:
        self.port, self.closed = port, False
        self.made.append(self)

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def close(self) -> None:
        self.closed = True


def test_start_and_stop_again() -> None:
    server = LangfuseServer()
    with pytest.raises(RuntimeError, match=r"the server does not run: start\(\) it"):
        _ = server.url
    server.stop()
    first = server.start().port
    assert server.start().port == first
    server.stop()
    server.stop()
    assert server.start().port != first
    server.stop()


def test_the_port_of_another_stand_in_is_taken() -> None:
    with LangfuseServer() as first, pytest.raises(OSError, match="in use"):
        LangfuseServer(port=first.port).start()


def test_a_port_of_ones_own_choice_and_one_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        LangfuseServer(port=taken.getsockname()[1]).start()
    with LangfuseServer() as first:
        port = first.port
    with LangfuseServer(port=port) as again:
        assert again.url == f"http://127.0.0.1:{port}"


def test_refuse_and_resume(server: LangfuseServer, client: http.client.HTTPConnection) -> None:
    assert ask(client, "GET", "/api/public/health")[0] == 200
    server.refuse()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask(client, "GET", "/api/public/health")
    client.close()
    for _ in range(random.Random(0).randint(2, 4)):
        with pytest.raises(ConnectionRefusedError):
            client.connect()
    server.resume()
    assert ask(client, "GET", "/api/public/health")[0] == 200


def test_a_forked_child_does_not_keep_the_port(server: LangfuseServer) -> None:
    port = server.port
    child_reads, parent_writes = os.pipe()
    parent_reads, child_writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(parent_writes)
        os.write(child_writes, b"forked")
        os.read(child_reads, 1)
        os._exit(0)
    try:
        os.read(parent_reads, 6)
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    finally:
        for descriptor in (parent_writes, parent_reads, child_reads, child_writes):
            os.close(descriptor)
        os.waitpid(child, 0)


def test_waiting_for_arrivals(server: LangfuseServer, client: http.client.HTTPConnection) -> None:
    assert not server.wait_for_arrivals(1, timeout=0)
    thread = threading.Thread(target=ask, args=(client, "GET", "/api/public/health?a=b"))
    thread.start()
    assert server.wait_for_arrivals(1, timeout=20)
    thread.join()
    (arrival,) = server.arrivals
    assert (arrival.method, arrival.path, arrival.size, arrival.status, arrival.fault) == (
        "GET",
        "/api/public/health?a=b",
        0,
        200,
        None,
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_of_the_stand_in_is_an_answer_too(
    server: LangfuseServer, client: http.client.HTTPConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandIn, "__call__", lambda *_: 1 / 0)
    assert ask(client, "GET", "/api/public/health") == (500, b"internal error of the stand-in Langfuse")


def test_threads_that_are_refused_share_one_port(server: LangfuseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    meet = threading.Barrier(2)

    class SlowlyClosedPort(ClosedPort):
        def __init__(self, host: str) -> None:
            made.append(host)
            # Lets the other thread come here too, if it can.
            with contextlib.suppress(threading.BrokenBarrierError):
                meet.wait(0.2)
            super().__init__(host)

    monkeypatch.setattr("pytest_langfuse.outage.server.langfuse_server.ClosedPort", SlowlyClosedPort)
    urls: list[str] = []
    threads = [threading.Thread(target=lambda: urls.append(server.refusing_url)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(urls)) == 1


# -- what was accepted -------------------------------------------------------------------------------------------


def test_spans_and_scores_without_pytest(server: LangfuseServer, client: http.client.HTTPConnection) -> None:
    spans = [{"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "answer"}]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
    headers = {"Content-Type": "application/json"}
    assert ask(client, "POST", "/api/public/otel/v1/traces", body=body, headers=headers)[0] == 200
    assert ask(client, "POST", "/api/public/scores", body=SCORE)[0] == 200
    server.spans.assert_tree("span answer")
    assert isinstance(server.spans, Observations)
    assert [score.name for score in server.scores] == ["s#"]
    assert server.accepted() == {(int("ab" * 16, 16), int("cd" * 8, 16))}


def test_spans_are_what_the_caller_makes_of_them() -> None:
    with LangfuseServer(observations=lambda source: list(source.observations())) as server:
        assert server.spans == []


# -- settling ----------------------------------------------------------------------------------------------------


def test_settles_when_all_that_was_sent_was_taken_in():
    """A client that is gone may have left a request in a socket that nobody has read, or accepted, yet."""
    with LangfuseServer() as server:
        assert server.settle(0.0)
        head = f"POST /api/public/scores HTTP/1.1\r\nHost: x\r\nContent-Length: {len(SCORE)}\r\n\r\n".encode()
        for number in range(50):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(head + SCORE.replace(b"#", b"%d" % (number % 10)))
            assert server.settle(10.0)
            assert len(server.stand_in.score_log) == number + 1


def test_does_not_settle_while_a_request_is_not_complete():
    with LangfuseServer() as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        assert server.settle(10.0)
        client.sendall(b"POST /api/public/scores HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert not server.settle(0.05)
        client.close()
        assert server.settle(10.0)


SCORE = b'{"name": "s#", "value": 1, "traceId": "aa"}'


def test_refusals_name_faults_and_statuses_of_exports() -> None:
    with LangfuseServer(public_key="pk", secret_key="sk") as server:
        assert server.refusals() == []
        for _ in range(2):
            requests.post(f"{server.otlp_endpoint}/v1/traces", data=b"", timeout=10)
        requests.get(f"{server.url}/api/public/projects", timeout=10)
        assert server.refusals() == ["status 401"]
        with Outage.of("http_503").apply(server):
            requests.post(f"{server.otlp_endpoint}/v1/traces", data=b"", timeout=10)
        with Outage.of("slow", delay=0).apply(server):
            requests.post(f"{server.otlp_endpoint}/v1/traces", data=b"", timeout=10, auth=("pk", "sk"))
        with Outage.of("refused").apply(server):
            server.base_url_for("/api/public/otel/v1/traces")
        assert server.refusals() == ["fault refused", "status 401", "fault http_503"]


def test_its_repr_says_where_it_listens_and_what_came() -> None:
    server = LangfuseServer()
    assert repr(server) == "<LangfuseServer, not running>"
    with server:
        httpx.get(f"{server.url}/api/public/health")
        assert repr(server) == f"<LangfuseServer {server.url}: 1 requests, 0 exports>"
    assert repr(server) == "<LangfuseServer, not running>"


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (b"GET\r\n\r\n", "400 Bad Request", "illegal request line: 'GET'"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * 50_000 + b"\r\n\r\n",
            "400 Bad Request",
            f"illegal header line: '{'a' * 79}...'",
        ),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported", "unsupported version: HTTP/2.0"),
    ],
)
def test_what_is_not_http_is_told_why(server: LangfuseServer, sent: bytes, status: str, text: str) -> None:
    answer = raw(server, sent).decode()
    assert answer.startswith(f"HTTP/1.1 {status}\r\n")
    assert answer.partition("\r\n\r\n")[2] == text


@pytest.mark.parametrize("depth", [300, 950, 100_000])
def test_json_that_is_nested_deeply(server: LangfuseServer, depth: int) -> None:
    nested = '{"a":' * depth + "1" + "}" * depth
    value = '{"arrayValue":{"values":[' * depth + '{"intValue":1}' + "]}}" * depth
    ids = '"traceId":"11111111111111111111111111111111","spanId":"2222222222222222"'
    span = f'{ids},"name":"deep","startTimeUnixNano":"1","endTimeUnixNano":"2"'
    attributes = f'"attributes":[{{"key":"input.value","value":{value}}}]'
    bodies = {
        "otel/v1/traces": f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{span},{attributes}}}]}}]}}]}}',
        "scores": f'{{"name":"s","value":1,"traceId":"t","metadata":{nested}}}',
        "v2/prompts": f'{{"name":"p","prompt":"x","labels":["production"],"config":{nested}}}',
        "v2/datasets": f'{{"name":"d","metadata":{nested}}}',
    }
    with httpx.Client(base_url=f"{server.url}/api/public/", auth=("pk", "sk"), timeout=60) as client:
        for path, body in bodies.items():
            answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in {200, 201, 400}, path
            if answer.status_code == 400 and path != "otel/v1/traces":
                assert answer.json()["message"] == "The stand-in Langfuse can't read JSON that is nested so deeply"
        # What was taken can be read back.
        for path in ("observations", "v2/scores", "v2/prompts/p", "v2/datasets"):
            assert client.get(path).status_code == (404 if depth > 1000 and path == "v2/prompts/p" else 200), path
    # How deeply Python's parser can go depends on its version.
    assert len(server.spans) in {300: {1}, 950: {0, 1}, 100_000: {0}}[depth]
    str(server.spans)
