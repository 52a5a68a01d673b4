"""Whatever answers in Langfuse's place fills no memory, forges no line of a log and prints no secret."""

import asyncio
import gzip
import logging
import zlib

import httpx
import pytest

from pytest_langfuse.tracing import init_tracing, log_text, shutdown_tracing, tracing_health
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery import bounded_answer
from pytest_langfuse.tracing.delivery.sink import Outcome, Verdict
from pytest_langfuse.tracing.failures import failures
from tests.helpers.hostile_server import HostileServer, for_ever, head
from tests.helpers.loopback_langfuse import Reply

pytestmark = pytest.mark.usefixtures("fresh")

MIB = 1024 * 1024
JSON = "content-type: application/json"
PROTOBUF = "content-type: application/x-protobuf"
#: What a client may have taken over loopback that it never read: the buffers of both sockets.
BUFFERS = 8 * MIB


def zeros(size):
    return b"\0" * size


def bomb(kind):
    compressor = zlib.compressobj(9, zlib.DEFLATED, {"gzip": 31, "deflate": 15, "raw": -15}[kind])
    return b"".join(compressor.compress(zeros(MIB)) for _ in range(16)) + compressor.flush()


ENDLESS = {
    "until closed": lambda _: _endless(head(PROTOBUF), zeros(65536)),
    "chunked": lambda _: _endless(head(PROTOBUF, "transfer-encoding: chunked"), b"10000\r\n" + zeros(65536) + b"\r\n"),
    "long": lambda _: _endless(head(PROTOBUF, "content-length: 99999999999"), zeros(65536)),
    "refused": lambda _: _endless(head(PROTOBUF, status="400 Bad Request"), zeros(65536)),
}


def _endless(first, piece):
    yield first
    yield from for_ever(piece)


def settings(server, **more):
    return {"public_key": "pk-lf-test", "secret_key": "sk-lf-secret-1", "base_url": server.url, "timeout": 20, **more}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_answer_to_an_export_is_left_after_a_mebibyte(kind, caplog):
    caplog.set_level(logging.CRITICAL)
    with HostileServer(ENDLESS[kind]) as server:
        client = init_tracing(**settings(server, breaker_failure_threshold=1))
        client.start_observation(name="x").end()
        client.flush()
        server.wait_for(1)

        assert server.sent[0] < MIB + BUFFERS
        assert tracing_health().buffered == 1
        assert "AnswerTooLarge" in tracing_health().last_error


@pytest.mark.parametrize("kind", ["gzip", "deflate", "raw"])
def test_an_answer_is_decompressed_up_to_a_mebibyte(kind):
    encoding = "gzip" if kind == "gzip" else "deflate"
    response = httpx.Response(200, headers={"content-encoding": encoding}, stream=httpx.ByteStream(bomb(kind)))
    with pytest.raises(bounded_answer.AnswerTooLarge, match="more than 1048576 bytes"):
        bounded_answer.read(response, MIB)
    assert response.is_closed


def test_no_more_is_decompressed_than_may_be_read(monkeypatch):
    largest = []
    original = bounded_answer._Zlib.decode

    def decode(self, data, limit):
        largest.append(len(decoded := original(self, data, limit)))
        return decoded

    monkeypatch.setattr(bounded_answer._Zlib, "decode", decode)
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(bomb("gzip")))
    with pytest.raises(bounded_answer.AnswerTooLarge):
        bounded_answer.read(response, MIB)
    assert sum(largest) <= MIB + 1


@pytest.mark.parametrize("encodings", ["gzip, gzip", "deflate, gzip", "identity, gzip", "x-gzip", "deflate", ""])
def test_what_servers_send_is_decoded(encodings):
    body = b'{"a": 1}'
    for name in [name.strip() for name in encodings.split(",")]:
        body = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}.get(name, bytes)(body)
    headers = {"content-encoding": encodings, "content-type": "application/json"} if encodings else {}
    response = httpx.Response(
        201, headers=headers, stream=httpx.ByteStream(body), extensions={"http_version": b"HTTP/1.1"}
    )
    read = bounded_answer.read(response, MIB)

    assert (read.status_code, read.content, read.http_version) == (201, b'{"a": 1}', "HTTP/1.1")
    assert "content-encoding" not in read.headers
    assert read.headers.get("content-type") == headers.get("content-type")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "x" * 1000])
def test_an_encoding_that_was_not_asked_for_is_an_error(encoding):
    response = httpx.Response(200, headers={"content-encoding": encoding}, stream=httpx.ByteStream(b"x"))
    with pytest.raises(bounded_answer.AnswerTooLarge, match="was not asked for") as error:
        bounded_answer.read(response, MIB)
    assert len(str(error.value)) < 200


def test_garbage_for_gzip_is_an_error():
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip at all"))
    with pytest.raises(bounded_answer.AnswerTooLarge, match="can't be decoded"):
        bounded_answer.read(response, MIB)


@pytest.mark.slow
def test_prompts_and_scores_have_the_limit_too_and_pages_a_larger_one(caplog):
    caplog.set_level(logging.CRITICAL)
    with HostileServer(lambda _: _endless(head(JSON), b" " * 65536)) as server:
        client = init_tracing(**settings(server))
        assert client.get_prompt("greeting", fallback="Hi").is_fallback
        client.create_score(name="s", value=1, trace_id="a" * 32)
        server.wait_for(2)
        assert max(server.sent) < MIB + BUFFERS
    assert bounded_answer.largest_answer(httpx.Request("GET", "http://x/api/public/v2/datasets")) == 64 * MIB


def test_a_page_of_the_api_may_be_long(collector, keys):
    data = b'{"data": [], "meta": {}, "x": "' + b"x" * (3 * MIB) + b'"}'
    collector.reply = Reply(200, data, "application/json")
    client = init_tracing(**keys)
    response = singleton_module.singleton.installation.pipeline.rest_client.get(f"{collector.url}/api/public/traces")

    assert len(response.content) == len(data)
    assert client.auth_check is not None


async def test_the_asynchronous_api_has_the_limits_too():
    with HostileServer(lambda _: _endless(head(JSON), b" " * 65536)) as server:
        client = init_tracing(**settings(server))
        with pytest.raises(bounded_answer.AnswerTooLarge):
            await client.async_api.prompts.get("greeting")
        await asyncio.to_thread(server.wait_for, 1)
        assert server.sent[0] < MIB + BUFFERS


@pytest.mark.parametrize(
    "answer",
    [
        head(*(f"x-{number}: {'x' * 1000}" for number in range(5000))),
        head() + b"HTTP/1.1 200 OK\r\n\r\n" * 10,
        head("transfer-encoding: chunked") + b"ZZZ\r\nnot a chunk",
        head("content-length: -1"),
        head("content-length: 5", "content-length: 6") + b"12345",
        b"\x16\x03\x01 no HTTP at all\r\n\r\n",
        head(status="999 \x1b[31m"),
        head("content-length: 10") + b"short",
        head(status="301 Moved").replace(b"\r\n\r\n", b"\r\nlocation: http://127.0.0.1:9/\r\n\r\n"),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + head("content-length: 0", status="503 No"),
    ],
)  # fmt: skip
def test_garbage_keeps_the_span_and_the_application_goes_on(answer, caplog):
    caplog.set_level(logging.CRITICAL)
    with HostileServer(lambda _: [answer]) as server:
        client = init_tracing(**settings(server, breaker_failure_threshold=1))
        client.start_observation(name="x").end()
        client.flush()
        assert (tracing_health().buffered, tracing_health().breaker) == (1, "open")
        assert client.get_prompt("greeting", fallback="Hi").is_fallback


# -- logs ------------------------------------------------------------------------------------------------------


def test_an_answer_in_a_log_forges_no_line_and_prints_no_secret(collector, keys, lines):
    token = "cGstbGYtdGVzdDpzay1sZi10ZXN0"
    collector.reply = Reply(
        400, f"no\r\nCRITICAL forged \x1b[31m\u202e sk-lf-test Basic {token} hidden-value ü".encode(), "text/plain"
    )
    client = init_tracing(**keys, additional_headers={"x-proxy-token": "hidden-value"})
    client.start_observation(name="x").end()
    client.flush()
    shutdown_tracing()

    (line,) = [line for line in lines() if "400" in line]
    assert line.endswith(r"no\r\nCRITICAL forged \x1b[31m\u202e *** Basic *** *** ü")


@pytest.mark.parametrize("place", ["prompt", "score"])
def test_what_the_sdk_logs_of_an_answer_is_readable_too(collector, keys, lines, place):
    collector.reply = Reply(
        400, b"no\r\nCRITICAL forged \x1b[31m sk-lf-test", "text/plain", headers={"x-echo": "sk-lf-test"}
    )
    client = init_tracing(**keys, flush_interval=0.01)
    if place == "prompt":
        client.get_prompt("greeting", fallback="Hi")
    else:
        client.create_score(name="s", value=1, trace_id="a" * 32)
        client.flush()
    logged = "".join(lines())

    assert place == "score" or r"no\r\nCRITICAL forged \x1b[31m ***" in logged
    assert logged.isprintable()
    assert "sk-lf-test" not in logged


@pytest.mark.parametrize("text", ["a\nb" * 1000, "x" * 1_000_000, "\x1b" * 5000, "sk-lf-" + "a" * 5000])
def test_what_is_logged_is_short_printable_and_has_no_key(text):
    shown = log_text.readable(text)

    assert len(shown) <= 200 * len(r"\x1b")
    assert shown.isprintable()
    assert "sk-lf-" not in shown


def test_a_secret_over_the_cut_is_masked_whole():
    log_text.mask_in_logs("the-whole-secret")
    shown = log_text.readable("x" * 190 + "the-whole-secret")

    assert shown == "x" * 190 + "***"


def test_every_outcome_can_be_logged():
    assert Outcome(Verdict.FAILED, "x", detail="a\nb").detail == r"a\nb"


def test_the_errors_of_the_application_are_readable_in_our_logs_too(lines):
    failures.report("testing", ValueError("a\nCRITICAL forged sk-lf-abcdef"))

    assert lines()[-1].endswith(r"ValueError: a\nCRITICAL forged ***")
