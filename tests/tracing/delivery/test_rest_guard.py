"""Calls of the REST API: they fail fast while the circuit is open, and none takes longer than it may."""

import asyncio
import inspect
import logging
import ssl
import threading
from pathlib import Path

import certifi
import httpx
import pytest
from langfuse import Langfuse, get_client

from pytest_langfuse.tracing import CircuitBreaker, CircuitOpen, get_langfuse_client, init_tracing, tracing_health
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery import transport as transport_module
from pytest_langfuse.tracing.delivery.proxies import proxy_for
from pytest_langfuse.tracing.delivery.transport import BoundedTransport, CircuitOpenError, TransportPool
from tests.helpers.loopback_langfuse import TRACES, Reply

pytestmark = pytest.mark.usefixtures("fresh")

PROMPT = (
    b'{"type": "text", "name": "greeting", "version": 3, "prompt": "Hello {{name}}", "config": {}, "labels": [],'
    b' "tags": []}'
)


def breaker():
    return singleton_module.singleton.installation.pipeline.breaker


def open_it():
    it = breaker()
    while it.state == "closed":
        it.failure(it.try_acquire())


def rest(collector):
    return [seen for seen in collector.requests if seen.path != TRACES]


def test_a_prompt_is_fetched_through_the_guard(collector, keys):
    collector.reply = Reply(200, PROMPT, "application/json")
    client = init_tracing(**keys, timeout=5)

    assert client.get_prompt("greeting").compile(name="Ada") == "Hello Ada"
    assert breaker().failures == 0


def test_while_it_is_open_a_fallback_comes_without_a_request_and_without_a_wait(collector, keys, monkeypatch):
    client = init_tracing(**keys)
    open_it()
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("slept"))
    for _ in range(20):
        prompt = client.get_prompt("greeting", fallback="Hi {{name}}")
        assert (prompt.compile(name="Ada"), prompt.is_fallback) == ("Hi Ada", True)

    assert collector.requests == []


def test_while_it_is_open_an_error_without_a_fallback_says_so(collector, keys):
    client = init_tracing(**keys)
    open_it()
    with pytest.raises(CircuitOpen, match="The circuit to Langfuse is open; the next attempt is in 300 s") as refused:
        client.get_prompt("greeting")

    assert isinstance(refused.value, httpx.ConnectError)
    assert collector.requests == []


def test_a_cached_prompt_is_given_while_it_is_open(collector, keys):
    collector.reply = Reply(200, PROMPT, "application/json")
    client = init_tracing(**keys)
    client.get_prompt("greeting")
    open_it()

    assert client.get_prompt("greeting").version == 3


@pytest.mark.slow
def test_one_try_after_a_failure_instead_of_three(collector, keys, caplog):
    caplog.set_level(logging.CRITICAL)
    collector.reply = Reply(reset=True)
    client = init_tracing(**keys)
    it = breaker()
    it.failure(it.try_acquire())
    client.get_prompt("greeting", fallback="Hi")
    assert len(rest(collector)) == 1
    client.get_prompt("greeting", fallback="Hi", max_retries=1)
    assert len(rest(collector)) == 3


def test_failures_of_the_rest_api_open_it_for_the_spans_too(collector, keys, caplog):
    caplog.set_level(logging.CRITICAL)
    collector.reply = Reply(reset=True)
    client = init_tracing(**keys, breaker_failure_threshold=3)
    for _ in range(4):
        client.get_prompt("greeting", fallback="Hi", max_retries=0)

    assert len(rest(collector)) == 3
    assert tracing_health().breaker == "open"
    with client.start_as_current_observation(name="x"):
        pass
    client.flush()
    assert tracing_health().buffered == 1
    assert len(collector.requests) == 3


@pytest.mark.parametrize(("status", "failures"), [(404, 0), (400, 0), (200, 0), (401, 1), (403, 1), (408, 1)])
def test_an_answer_that_is_about_the_request_is_no_failure(collector, keys, status, failures):
    collector.reply = Reply(status, b"{}", "application/json")
    init_tracing(**keys)
    client = singleton_module.singleton.installation.pipeline.rest_client
    response = client.get(f"{collector.url}/api/public/v2/prompts/greeting")

    assert response.status_code == status
    assert breaker().failures == failures


async def test_the_asynchronous_api_is_guarded_too(collector, keys):
    collector.reply = Reply(200, b'{"data": []}', "application/json")
    client = init_tracing(**keys, breaker_failure_threshold=2)
    assert (await client.async_api.projects.get()).data == []
    collector.reply = Reply(reset=True)
    for _ in range(2):
        with pytest.raises(httpx.HTTPError):
            await client.async_api.projects.get()
    before = len(collector.requests)
    with pytest.raises(CircuitOpen):
        await client.async_api.projects.get()

    assert len(collector.requests) == before
    assert get_client().async_api is client.async_api


async def test_a_cancelled_call_says_nothing_of_langfuse(collector, keys):
    collector.reply = Reply(hang=True)
    client = init_tracing(**keys, timeout=30)
    task = asyncio.create_task(client.async_api.projects.get())
    await asyncio.to_thread(collector.wait_for, lambda: collector.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert breaker().failures == 0


async def test_a_dripping_answer_is_cut_off_for_asynchronous_calls(collector, keys):
    collector.reply = Reply(200, b'{"data": []}', "application/json", drip=0.05)
    client = init_tracing(**keys, timeout=0.2)
    with pytest.raises(httpx.ReadTimeout):
        await client.async_api.projects.get()

    assert breaker().failures == 1


@pytest.mark.slow
@pytest.mark.parametrize("drip", ["head", "body"])
def test_a_dripping_answer_is_cut_off(collector, keys, drip):
    # 60 bytes of head, each within the timeout; or a body that is longer than the head is allowed to take.
    collector.reply = Reply(200, b"x" * (0 if drip == "head" else 2000), "application/json", drip=0.01)
    init_tracing(**keys)
    client = singleton_module.singleton.installation.pipeline.rest_client
    with pytest.raises(httpx.TimeoutException):
        client.get(f"{collector.url}/x", timeout=0.3 if drip == "head" else 1.0)

    assert breaker().failures == 1


def test_other_hosts_are_not_langfuses_business(collector, keys):
    """The media store: its failures open nothing, and it is reached while the circuit is open."""
    init_tracing(**keys)
    client = singleton_module.singleton.installation.pipeline.rest_client
    elsewhere = collector.url.replace("127.0.0.1", "localhost")
    collector.reply = Reply(503)
    for _ in range(20):
        client.put(f"{elsewhere}/bucket/key", content=b"x")
    assert breaker().failures == 0
    open_it()
    assert client.put(f"{elsewhere}/bucket/key", content=b"x").status_code == 503


def test_a_connection_that_fails_is_httpxs_error(keys):
    transport = BoundedTransport(TransportPool(), host="127.0.0.1", breaker=CircuitBreaker())
    with httpx.Client(transport=transport) as client, pytest.raises(httpx.ConnectError) as error:
        client.get("http://127.0.0.1:9/")
    assert not isinstance(error.value, CircuitOpen)


def test_the_error_of_an_open_circuit_is_known_to_both():
    request = httpx.Request("GET", "http://x")
    error = CircuitOpenError(3.0, request)

    assert (error.retry_after, error.request) == (3.0, request)
    assert isinstance(error, httpx.TransportError)


def test_proxies_of_the_environment_are_used(monkeypatch):
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    url = httpx.URL("https://langfuse.example.com")
    assert proxy_for(url) is None
    monkeypatch.setenv("all_proxy", "http://all:1")
    assert proxy_for(url) == "http://all:1"
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert proxy_for(url) == "http://proxy:3128"
    monkeypatch.setenv("no_proxy", "localhost,.example.com")
    assert proxy_for(url) is None


def test_a_request_goes_through_the_proxy(collector, monkeypatch):
    monkeypatch.setenv("http_proxy", collector.url)
    transport = BoundedTransport(TransportPool(), host="langfuse.internal", breaker=CircuitBreaker())
    with httpx.Client(transport=transport) as client:
        client.get("http://langfuse.internal/x")

    assert collector.requests[0].path == "http://langfuse.internal/x"


def test_no_tls_context_is_made_for_plain_http(collector, keys, monkeypatch):
    monkeypatch.setattr(transport_module, "tls_context", lambda: pytest.fail("a TLS context was made"))
    client = init_tracing(**keys)
    with client.start_as_current_observation(name="x"):
        pass
    client.flush()
    assert collector.accepted == ["x"]


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_CERTIFICATE", "REQUESTS_CA_BUNDLE"])
def test_certificates_of_the_environment_are_trusted(monkeypatch, tmp_path, variable):
    end = "-----END CERTIFICATE-----\n"
    first = Path(certifi.where()).read_text().partition(end)[0] + end
    (tmp_path / "ca.pem").write_text(first)
    for other in transport_module._CERTIFICATES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    transport_module.tls_context.cache_clear()
    try:
        assert len(transport_module.tls_context().get_ca_certs()) == 1
    finally:
        transport_module.tls_context.cache_clear()


def test_scores_are_sent_and_fail_fast_while_it_is_open(collector, keys, caplog):
    caplog.set_level(logging.CRITICAL)
    collector.reply = lambda seen: Reply(200, b'{"data": [], "successes": [], "errors": []}', "application/json")
    client = init_tracing(**keys, flush_interval=0.01)
    client.create_score(name="s", value=1, trace_id="a" * 32)
    collector.wait_for(lambda: rest(collector))
    before = len(collector.requests)
    open_it()
    client.create_score(name="s", value=1, trace_id="a" * 32)
    done = threading.Event()
    threading.Thread(target=lambda: (client.flush(), done.set()), daemon=True).start()
    assert done.wait(30)

    assert len(collector.requests) == before


def test_a_client_without_keys_gives_the_fallback():
    client = init_tracing()

    prompt = client.get_prompt("greeting", fallback="Hi {{name}}", label="latest")
    assert (prompt.compile(name="Ada"), prompt.is_fallback, prompt.labels) == ("Hi Ada", True, ["latest"])
    chat = client.get_prompt("chat", type="chat", fallback=[{"role": "user", "content": "Hi"}])
    assert chat.compile() == [{"role": "user", "content": "Hi"}]
    with pytest.raises(Exception, match="not correctly initialized"):
        client.get_prompt("greeting")


# -- second clients --------------------------------------------------------------------------------------------


def test_a_second_client_with_other_settings_is_reported(keys, lines):
    init_tracing(**keys, flush_at=7)
    Langfuse(**keys, flush_at=9, environment="other")

    (line,) = lines()
    assert line.startswith("A second Langfuse client was built with other settings, which the SDK ignores: ")
    assert "flush_at stays 7 (asked: 9)" in line
    assert "environment stays 'development' (asked: 'other')" in line


def test_a_second_client_with_the_same_settings_or_another_key_is_not(keys, lines):
    init_tracing(**keys, flush_at=7)
    Langfuse(**keys, flush_at=7)
    Langfuse(**{**keys, "public_key": "pk-lf-elsewhere"}, flush_at=1).shutdown()
    get_client(public_key="pk-lf-test")
    get_langfuse_client()

    assert lines() == []


def test_nothing_is_left_of_the_watch(keys):
    before = Langfuse.__init__
    init_tracing(**keys)
    assert Langfuse.__init__ is not before
    singleton_module.shutdown_tracing()

    assert Langfuse.__init__ is before
    assert "public_key" in inspect.signature(Langfuse).parameters
