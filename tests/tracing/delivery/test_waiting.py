"""Nobody waits for Langfuse longer than `timeout`: names that don't resolve, tries, and answers that ask to wait."""

import logging
import socket
import threading
import time

import httpx
import pytest
from langfuse import get_client

from pytest_langfuse.tracing import CircuitBreaker, init_tracing, tracing_health
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery import route as route_module
from pytest_langfuse.tracing.delivery import sender as sender_module
from pytest_langfuse.tracing.delivery.proxies import UnusableProxies
from pytest_langfuse.tracing.delivery.transport import AsyncBoundedTransport, AsyncTransportPool
from pytest_langfuse.tracing.name_resolution import NameResolution
from tests.helpers.hostile_server import HostileServer
from tests.helpers.loopback_langfuse import TRACES, Reply

pytestmark = pytest.mark.usefixtures("fresh")


def pipeline():
    return singleton_module.singleton.installation.pipeline


def rest(collector):
    return [seen for seen in collector.requests if seen.path != TRACES]


def asynchronous_client(host):
    """The HTTP client of the asynchronous API, as it is where no test harness has put its own in its place."""
    transport = AsyncBoundedTransport(AsyncTransportPool(UnusableProxies()), host=host, breaker=CircuitBreaker())
    return httpx.AsyncClient(transport=transport)


@pytest.fixture
def resolver(monkeypatch):
    """The resolver of this process, which hangs until the test ends, or answers as the test says."""

    class Resolver:
        def __init__(self):
            self.asked = []
            self.released = threading.Event()
            self.answer = None

        def __call__(self, host, port, *args, **kwargs):
            if host in {"127.0.0.1", "::1", "localhost"}:
                return original(host, port, *args, **kwargs)
            self.asked.append(host)
            if self.answer is None:
                self.released.wait(60)
                raise socket.gaierror(-2, "Name or service not known")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.answer]

    original = socket.getaddrinfo
    hanging = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    yield hanging
    hanging.released.set()


@pytest.fixture
def elsewhere(keys):
    return {**keys, "base_url": "http://langfuse.invalid", "timeout": 0.2}


@pytest.fixture
def no_sleep(monkeypatch):
    """The pauses of the thread of the test, none of which is made. Threads of earlier tests may live on."""
    slept, ours, sleep = [], threading.get_ident(), time.sleep
    monkeypatch.setattr(
        "time.sleep", lambda seconds: slept.append(seconds) if threading.get_ident() == ours else sleep(seconds)
    )
    return slept


# -- names -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_resolver_that_hangs_is_waited_for_as_long_as_a_request_may_take(resolver, elsewhere, caplog):
    caplog.set_level(logging.CRITICAL)
    client = init_tracing(**elsewhere)
    assert client.get_prompt("greeting", fallback="Hi").is_fallback
    with pytest.raises(httpx.ConnectTimeout, match=r"'langfuse.invalid' was not resolved in time"):
        pipeline().rest_client.get("http://langfuse.invalid/x")

    assert not resolver.released.is_set()
    assert tracing_health().healthy is False


@pytest.mark.slow
def test_all_who_wait_for_a_name_wait_for_one_thread(resolver, elsewhere, caplog):
    caplog.set_level(logging.CRITICAL)
    client = init_tracing(**elsewhere)
    for _ in range(5):
        client.get_prompt("greeting", fallback="Hi")

    assert resolver.asked == ["langfuse.invalid"]
    assert [thread.name for thread in threading.enumerate()].count("langfuse-tracing-dns") == 1


async def test_the_asynchronous_api_does_not_leave_a_thread_to_its_loop(resolver):
    before = set(threading.enumerate())
    async with asynchronous_client("langfuse.invalid") as client:
        with pytest.raises(httpx.TimeoutException):
            await client.get("http://langfuse.invalid/x", timeout=0.2)

    assert {thread.name for thread in set(threading.enumerate()) - before} == {"langfuse-tracing-dns"}


def test_the_sender_goes_on_when_a_name_hangs(resolver, elsewhere, collector, caplog):
    caplog.set_level(logging.CRITICAL)
    client = init_tracing(**elsewhere, breaker_failure_threshold=1)
    client.start_observation(name="x").end()
    collector.wait_for(lambda: tracing_health().last_error)

    assert (tracing_health().breaker, tracing_health().buffered) == ("open", 1)
    assert "ConnectTimeout" in tracing_health().last_error


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]])
async def test_the_first_address_that_answers_is_used(resolver, collector, keys, answer):
    resolver.answer = answer
    port = collector.url.rpartition(":")[2]
    collector.reply = Reply(200, b'{"data": []}', "application/json", headers={"connection": "close"})
    client = init_tracing(**{**keys, "base_url": f"http://langfuse.invalid:{port}"})

    assert client.api.projects.get().data == []
    async with asynchronous_client("langfuse.invalid") as asynchronous:
        assert (await asynchronous.get(f"http://langfuse.invalid:{port}/x")).json() == {"data": []}
    assert {seen.headers["host"] for seen in collector.requests} == {f"langfuse.invalid:{port}"}


def test_a_name_that_does_not_exist_is_httpxs_error(resolver, elsewhere):
    resolver.released.set()
    init_tracing(**elsewhere)
    with pytest.raises(httpx.ConnectError, match="Name or service not known"):
        pipeline().rest_client.get("http://langfuse.invalid/x")


def test_a_name_without_addresses_is_httpxs_error(resolver, elsewhere):
    resolver.answer = []
    init_tracing(**elsewhere)
    with pytest.raises(httpx.ConnectError, match="has no address"):
        pipeline().rest_client.get("http://langfuse.invalid/x")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%lo", "203.0.113.9"])
def test_an_address_needs_no_thread(address, monkeypatch):
    monkeypatch.setattr(threading, "Thread", lambda **_: pytest.fail("a thread was made"))

    assert NameResolution().start(address, 80).result(0) == [address]


def test_at_the_end_of_the_interpreter_a_name_is_resolved_without_a_thread(monkeypatch):
    def none(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", none)
    assert NameResolution().start("localhost", 80).result(0)


@pytest.mark.slow
def test_a_server_that_reads_slowly_is_left_too(caplog):
    caplog.set_level(logging.CRITICAL)
    hold = threading.Event()

    def slow(_):
        hold.wait(20)
        yield b""

    with HostileServer(slow, reads=False) as server:
        init_tracing(public_key="pk-lf-test", secret_key="sk-lf-test", base_url=server.url)
        with pytest.raises(httpx.WriteTimeout):
            pipeline().rest_client.post(f"{server.url}/x", content=b"x" * 30_000_000, timeout=0.5)
        hold.set()


# -- tries -----------------------------------------------------------------------------------------------------


def test_one_try_when_there_is_a_fallback(collector, keys, no_sleep, caplog):
    caplog.set_level(logging.CRITICAL)
    collector.reply = Reply(503, headers={"retry-after": "50"})
    client = init_tracing(**keys)
    assert client.get_prompt("greeting", fallback="Hi").is_fallback

    assert len(rest(collector)) == 1
    assert [seconds for seconds in no_sleep if seconds > 1] == []


def test_three_tries_without_a_fallback_within_the_time_of_one(collector, keys, no_sleep):
    collector.reply = Reply(503, headers={"retry-after": "50"})
    client = init_tracing(**keys)
    with pytest.raises(Exception, match="503"):
        client.get_prompt("greeting")

    assert len(rest(collector)) == 3
    assert [seconds for seconds in no_sleep if seconds > 1] == []


def test_no_second_try_when_the_first_took_all_the_time(collector, keys, no_sleep):
    collector.reply = Reply(hang=True)
    client = init_tracing(**keys, timeout=0.3)
    with pytest.raises(httpx.ReadTimeout):
        client.get_prompt("greeting")

    assert len(rest(collector)) == 1


@pytest.mark.parametrize("status", [404, 401, 400])
def test_no_second_try_after_an_answer_that_stays(collector, keys, no_sleep, status):
    collector.reply = Reply(status, b"{}", "application/json")
    client = init_tracing(**keys)
    with pytest.raises(Exception, match=str(status)):
        client.get_prompt("greeting")

    assert len(rest(collector)) == 1


def test_tries_that_are_asked_for_are_made_without_the_pauses_of_the_answer(collector, keys, no_sleep):
    collector.reply = Reply(503, headers={"retry-after": "50"})
    client = init_tracing(**keys)
    with pytest.raises(Exception, match="503"):
        client.get_prompt("greeting", max_retries=1)

    assert len(rest(collector)) == 2
    assert [seconds for seconds in no_sleep if seconds > 1] == []


def test_calls_of_the_application_keep_the_sdks_tries(collector, keys, no_sleep):
    collector.reply = Reply(503, headers={"retry-after": "50"})
    client = init_tracing(**keys)
    with pytest.raises(Exception, match="503"):
        client.api.projects.get()

    assert len(rest(collector)) == 3
    assert no_sleep.count(50) == 2


# -- Retry-After -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("value", ["0", "-5", "Thu, 01 Jan 1970 00:00:00 GMT", "0.0001", "nan"])
def test_retry_after_is_never_less_than_the_pause(collector, keys, value, monkeypatch):
    monkeypatch.setattr(route_module, "_FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(route_module, "_LONGEST_PAUSE", 3600.0)
    collector.reply = Reply(503, headers={"retry-after": value})
    client = init_tracing(**keys)
    client.start_observation(name="x").end()
    collector.wait_for(lambda: pipeline().sender.routes[0].not_before)

    assert pipeline().sender.routes[0].not_before - sender_module.now() > 2000


@pytest.mark.parametrize("value", ["1e12", "inf", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_retry_after_is_never_more_than_the_breakers_pause(collector, keys, value):
    collector.reply = Reply(503, headers={"retry-after": value})
    client = init_tracing(**keys, breaker_recovery_timeout=60)
    client.start_observation(name="x").end()
    collector.wait_for(lambda: pipeline().sender.routes[0].not_before)

    assert 30 < pipeline().sender.routes[0].not_before - sender_module.now() <= 60


# -- slow answers ----------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_slow_success_counts_as_a_failure():
    clock = Clock()
    breaker = CircuitBreaker(failure_threshold=2, slow_call=1.0, clock=clock)
    for seconds, failures in [(1.0, 0), (1.5, 1), (0.5, 0), (1.5, 1), (1.5, 2)]:
        permit = breaker.try_acquire()
        clock.now += seconds
        breaker.success(permit)
        assert breaker.failures == failures
    assert (breaker.state, breaker.failing) == ("open", True)


def test_without_a_limit_no_success_is_slow():
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    permit = breaker.try_acquire()
    clock.now += 1e6
    breaker.success(permit)
    assert (breaker.failures, breaker.failing) == (0, False)


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_that_can_t_be_used_is_refused(value):
    with pytest.raises(ValueError, match="slow_call"):
        CircuitBreaker(slow_call=value)


def test_slow_answers_open_the_breaker_of_the_pipeline(collector, keys, caplog):
    caplog.set_level(logging.CRITICAL)
    collector.reply = Reply(200, delay=0.1)
    client = init_tracing(**keys, breaker_slow_call=0.01, breaker_failure_threshold=2)
    for number in range(2):
        client.start_observation(name=f"x{number}").end()
        collector.wait_for(lambda number=number: tracing_health().exported == number + 1)

    assert tracing_health().breaker == "open"
    assert tracing_health().exported == 2


# -- flush -----------------------------------------------------------------------------------------------------


@pytest.fixture
def waits(monkeypatch):
    """The longest time that each `flush()` was ready to wait, by the sender and by the queues."""
    asked = []
    original = sender_module.Sender.flush

    def flush(self, timeout):
        asked.append(timeout)
        return original(self, timeout)

    monkeypatch.setattr(sender_module.Sender, "flush", flush)
    return asked


@pytest.mark.slow
def test_a_flush_waits_once_for_a_langfuse_that_hangs_and_not_again(collector, keys, waits, caplog):
    caplog.set_level(logging.CRITICAL)
    collector.reply = Reply(hang=True)
    client = init_tracing(**keys, timeout=0.5, flush_interval=0.01)
    for number in range(1000):
        client.create_score(name="s", value=number, trace_id="a" * 32)
    client.start_observation(name="x").end()
    client.flush()
    collector.wait_for(lambda: pipeline().breaker.failures)
    seen = len(collector.requests)
    threads = [threading.Thread(target=client.flush) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert not any(thread.is_alive() for thread in threads)
    assert max(waits) <= 0.5
    # Far fewer than one a flush.
    assert len(collector.requests) - seen < 10


def test_a_flush_sends_spans_and_all_scores_of_a_healthy_langfuse(collector, keys):
    collector.reply = lambda seen: Reply() if seen.path == TRACES else Reply(200, b"{}", "application/json")
    client = init_tracing(**keys, flush_interval=30.0, flush_at=100, timeout=20)
    for number in range(1000):
        client.create_score(name="s", value=number, trace_id="a" * 32)
    client.start_observation(name="x").end()
    client.flush()

    assert collector.accepted == ["x"]
    assert b"".join(seen.body for seen in rest(collector)).count(b'"value"') == 1000
    assert pipeline().scores.waiting == (0, 0)


@pytest.mark.slow
def test_a_flush_of_any_client_is_limited(collector, keys, waits, caplog):
    caplog.set_level(logging.CRITICAL)
    collector.reply = Reply(hang=True)
    init_tracing(**keys, timeout=0.2)
    get_client().start_observation(name="x").end()
    get_client().flush()

    assert waits
    assert max(waits) <= 0.2
