"""When a fault strikes, what is counted, and what wrong options say."""

import random
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_langfuse.outage.fault_options import FaultOptions, Schedule
from pytest_langfuse.outage.outage import Outage
from pytest_langfuse.outage.server import LangfuseServer
from pytest_langfuse.standin.http.arrivals import Arrival, ArrivalLog
from pytest_langfuse.standin.http.exchange import Exchange
from pytest_langfuse.standin.paths import ENDPOINTS, endpoint_of, matches, parse_paths

PROJECTS = "/api/public/projects"
PROMPT = "/api/public/v2/prompts/greeting"


@pytest.fixture
def server() -> Iterator[LangfuseServer]:
    with LangfuseServer() as server:
        yield server


@pytest.fixture
def client(server: LangfuseServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def statuses(client: httpx.Client, count: int, path: str = PROJECTS) -> list[int]:
    return [client.get(path).status_code for _ in range(count)]


# -- schedules -------------------------------------------------------------------------------------------------------


def test_after_and_times(server: LangfuseServer, client: httpx.Client) -> None:
    with Outage.of("http_503", after=2, times=3).apply(server) as outage:
        assert statuses(client, 7) == [200, 200, 503, 503, 503, 200, 200]
    assert (outage.attempts, outage.struck, outage.refused) == (7, 3, 3)


def test_flapping(server: LangfuseServer, client: httpx.Client) -> None:
    with Outage.of("flapping").apply(server):
        assert statuses(client, 4) == [200, 502, 200, 502]
    with Outage.of("flapping", after=2, times=3).apply(server):
        assert statuses(client, 7) == [200, 200, 502, 502, 502, 200, 200]


def test_rate_is_the_same_for_the_same_seed(server: LangfuseServer, client: httpx.Client) -> None:
    runs = []
    for seed in (1, 1, 2):
        with Outage.of("http_503", rate=0.5, seed=seed).apply(server):
            runs.append(statuses(client, 30))
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 503}


@given(
    after=st.integers(0, 20),
    times=st.none() | st.integers(1, 20),
    rate=st.sampled_from([1.0, 0.5]),
    seed=st.integers(),
    count=st.integers(0, 60),
)
def test_a_schedule(after: int, times: int | None, rate: float, seed: int, count: int) -> None:
    schedule = Schedule(FaultOptions(after=after, times=times, rate=rate, seed=seed))
    struck = [schedule.next() for _ in range(count)]
    assert not any(struck[:after])
    if rate == 1:
        last = count if times is None else min(count, after + times)
        assert struck == [after <= position < last for position in range(count)]
    elif times is not None:
        assert sum(struck) <= times


@given(after=st.integers(0, 5), times=st.none() | st.integers(1, 5))
def test_a_repeating_schedule(after: int, times: int | None) -> None:
    schedule = Schedule(FaultOptions(after=after, times=times), repeating=True)
    period = [False] * max(after, 1) + [True] * (times or 1)
    assert [schedule.next() for _ in range(3 * len(period))] == period * 3


def test_the_rate_is_about_right() -> None:
    schedule = Schedule(FaultOptions(rate=0.25, seed=random.Random(0).randint(0, 1000)))
    assert 150 < sum(schedule.next() for _ in range(1000)) < 350


# -- stacks ----------------------------------------------------------------------------------------------------------


def test_the_latest_outage_comes_first_and_every_schedule_counts(server: LangfuseServer, client: httpx.Client) -> None:
    with (
        Outage.of("http_500", after=3).apply(server) as outer,
        Outage.of("http_503", times=2).apply(server) as inner,
    ):
        assert statuses(client, 5) == [503, 503, 200, 500, 500]
    assert (outer.attempts, outer.refused, inner.attempts, inner.refused) == (5, 2, 5, 2)


def test_of_two_outages_that_are_due_the_latest_strikes(server: LangfuseServer, client: httpx.Client) -> None:
    with (
        Outage.of("http_500", after=1).apply(server) as outer,
        Outage.of("http_503", times=2).apply(server) as inner,
    ):
        assert statuses(client, 4) == [503, 503, 500, 500]
    assert (outer.attempts, outer.refused, inner.attempts, inner.refused) == (4, 2, 4, 2)


def test_several_faults_in_one_outage(server: LangfuseServer, client: httpx.Client) -> None:
    with Outage.of("http_500", "http_503", after=1).apply(server) as outage:
        assert outage.name == "http_500+http_503"
        assert statuses(client, 3) == [200, 500, 500]
    assert (outage.attempts, outage.refused) == (3, 2)


def test_faults_that_the_client_meets(server: LangfuseServer) -> None:
    with (
        Outage.of("http_503", after=2).apply(server) as status,
        Outage.of("refused", after=1, times=1).activate(server) as refused,
    ):
        seen: list[object] = []
        for _ in range(4):
            url = server.base_url_for(PROJECTS)
            try:
                seen.append(httpx.get(f"{url}{PROJECTS}").status_code)
            except httpx.ConnectError:
                seen.append("refused")
    # The second request did not arrive, but the other schedule has counted it.
    assert seen == [200, "refused", 503, 503]
    assert (status.attempts, status.refused) == (4, 2)
    assert (refused.attempts, refused.refused) == (4, 1)


# -- paths -----------------------------------------------------------------------------------------------------------


def test_only_some_endpoints(server: LangfuseServer, client: httpx.Client) -> None:
    with Outage.of("http_503", paths=["prompts", "/api/public/heal*"]).apply(server) as outage:
        assert [client.get(path).status_code for path in (PROMPT, PROJECTS, "/api/public/health")] == [503, 200, 503]
    assert (outage.attempts, outage.refused) == (2, 2)


def test_refused_for_some_endpoints_only(server: LangfuseServer) -> None:
    with Outage.of("refused", paths="prompts").activate(server):
        assert server.base_url_for(PROMPT) == server.refusing_url
        assert server.base_url_for(PROJECTS) == server.url
        assert httpx.get(f"{server.url}{PROJECTS}").status_code == 200


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/public/otel/v1/traces", "otlp"),
        ("/prefix/api/public/otel/v1/metrics", "otlp"),
        ("/api/public/scores", "scores"),
        ("/api/public/v3/scores/x", "scores"),
        ("/api/public/ingestion", "scores"),
        ("/api/public/v2/prompts/a%2Fb", "prompts"),
        ("/api/public/media", "media"),
        ("/stand-in-store/abc", "media"),
        ("/api/public/dataset-items/x", "datasets"),
        ("/api/public/dataset-run-items", "datasets"),
        ("/api/public/v2/datasets", "datasets"),
        ("/api/public/v2/observations", "observations"),
        ("/api/public/observations/x", "observations"),
        ("/api/public/traces/x", "traces"),
        ("/api/public/sessions", "sessions"),
        ("/api/public/experiment-items", "experiments"),
        ("/api/public/projects", "projects"),
        ("/api/public/health", "health"),
        ("/api/public/scoreboard", None),
        ("/", None),
    ],
)
def test_endpoints(path: str, name: str | None) -> None:
    assert endpoint_of(path) == name
    assert matches(None, path)
    for other in ENDPOINTS:
        assert matches((other,), path) == (other == name)


def test_paths_that_make_no_sense() -> None:
    for paths, error, message in [
        ("otpl", ValueError, "paths: unknown endpoint 'otpl', expected one of otlp, scores, .*; did you mean 'otlp'"),
        ([], ValueError, "an empty list"),
        ([3], TypeError, "expected names of endpoints, got 3"),
    ]:
        with pytest.raises(error, match=message):
            parse_paths(paths)


# -- life of an outage -----------------------------------------------------------------------------------------------


def test_recover(server: LangfuseServer, client: httpx.Client) -> None:
    with Outage.of("http_503").apply(server) as outage:
        assert statuses(client, 1) == [503]
        assert outage.active
        outage.recover()
        assert not outage.active
        assert statuses(client, 1) == [200]
        outage.recover()
    assert (outage.attempts, repr(outage)) == (1, "<Outage http_503: 1 attempts, 1 refused>")


def test_an_error_in_the_block_ends_the_outage(server: LangfuseServer, client: httpx.Client) -> None:
    with pytest.raises(ZeroDivisionError), Outage.of("http_503").apply(server):
        _ = 1 / 0
    assert statuses(client, 1) == [200]


def test_one_at_a_time_and_again(server: LangfuseServer, client: httpx.Client) -> None:
    outage = Outage.of("http_503")
    with outage.apply(server):
        with pytest.raises(RuntimeError, match="the outage http_503 is already active"), outage.apply(server):
            pass
        assert statuses(client, 1) == [503]
    with outage.apply(server):
        assert statuses(client, 1) == [503]
    assert outage.attempts == 2


def test_required() -> None:
    assert Outage.of("hang").required
    assert not Outage.of("hang", required=False).required


def test_arrivals_tell_the_fault(server: LangfuseServer, client: httpx.Client) -> None:
    with Outage.of("http_503", times=1).apply(server):
        statuses(client, 2)
    assert [(arrival.status, arrival.fault) for arrival in server.arrivals] == [(None, "http_503"), (200, None)]


def test_arrivals_tell_when_they_ended(server: LangfuseServer, client: httpx.Client) -> None:
    with Outage.of("http_503", times=1).apply(server):
        statuses(client, 2)
    # Known when the client has its answer.
    for arrival in server.arrivals:
        assert arrival.ended_ns is not None
        assert arrival.at_ns <= arrival.ended_ns


@pytest.mark.parametrize(
    "end",
    [
        lambda exchange: exchange.respond(httpx.Response(200)),
        lambda exchange: exchange.send_and_close(b"garbage"),
        lambda exchange: exchange.reset(),
    ],
)
def test_the_end_of_a_request_is_noted_before_its_client_sees_it(end: Callable[[Exchange], None]) -> None:
    events: list[str] = []
    connection = SimpleNamespace(
        sendall=lambda _data: events.append("seen"), setsockopt=lambda *_arguments: events.append("seen")
    )
    exchange = Exchange(cast("socket.socket", connection), httpx.Request("GET", "http://x/"), threading.Event())
    exchange.on_end = lambda: events.append("noted")
    end(exchange)
    assert events == ["noted", "seen"]


def test_a_request_that_hangs_ends_when_its_client_gives_up(server: LangfuseServer) -> None:
    before: list[int | None] = []
    with Outage.of("hang").apply(server), socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /api/public/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.wait_for_arrivals(1, timeout=20)
        before.append(server.arrivals[0].ended_ns)
    assert server.settle(timeout=20)
    while (ended := server.arrivals[0].ended_ns) is None:
        threading.Event().wait(0.001)
    assert before == [None]
    assert ended >= server.arrivals[0].at_ns


def test_the_end_of_a_forgotten_request_is_nobodys() -> None:
    log = ArrivalLog()
    log._arrivals = deque(maxlen=2)
    numbers = [log.add(Arrival("GET", f"/{number}", 0, 200)) for number in range(4)]
    for number in numbers:
        log.end(number, number + 10)
        log.end(number, 0)
    assert [(one.path, one.ended_ns) for one in log.snapshot()] == [("/2", 12), ("/3", 13)]


# -- wrong options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        (
            ["hnag"],
            {},
            ValueError,
            "langfuse_outage('hnag'): unknown fault 'hnag', did you mean 'hang'? (faults: refused",
        ),
        ([3], {}, TypeError, "langfuse_outage(3): expected the name of a fault, got 3"),
        ([], {}, TypeError, "langfuse_outage(): expected the name of a fault"),
        (["hang"], {"afer": 1}, TypeError, "langfuse_outage('hang'): unknown option 'afer', did you mean 'after'?"),
        (["hang"], {"xyzzy": 1}, TypeError, "unknown option 'xyzzy' (options: after, times, delay, rate, seed, "),
        (["hang"], {"after": "1"}, TypeError, "langfuse_outage('hang'): after: expected a whole number, got '1'"),
        (["hang"], {"after": -1}, ValueError, "after: expected a whole number of at least 0, got -1"),
        (["hang"], {"times": 0}, ValueError, "times: expected a whole number of at least 1, got 0"),
        (["hang"], {"times": True}, TypeError, "times: expected a whole number, got True"),
        (["slow"], {"delay": -0.1}, ValueError, "delay: expected a number of at least 0, got -0.1"),
        (["slow"], {"delay": float("nan")}, ValueError, "delay: expected a number of at least 0, got nan"),
        (["hang"], {"rate": 0}, ValueError, "rate: expected a number above 0 and at most 1, got 0"),
        (["hang"], {"rate": 50}, ValueError, "rate: expected a number above 0 and at most 1, got 50"),
        (["hang"], {"seed": None}, TypeError, "seed: expected a whole number, got None"),
        (["http_429"], {"retry_after": "soon"}, TypeError, "retry_after: expected a whole number, got 'soon'"),
        (["hang"], {"retry_after": 1}, TypeError, "retry_after is a header of an HTTP status (http_429, http_503, …)"),
        (["hang"], {"required": 1}, TypeError, "required: expected True or False, got 1"),
        (
            ["hang"],
            {"paths": "prompt"},
            ValueError,
            "paths: unknown endpoint 'prompt', expected one of otlp, ",
        ),
    ],
)
def test_what_wrong_options_say(
    names: list[str], options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        Outage.of(*names, **options)
    assert message in str(raised.value)


USE = "use the fixture langfuse_outage"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (
            ["tls_error"],
            {},
            f"can't meet tls_error (the server speaks plain HTTP there): give it `server.tls_url`, or {USE}",
        ),
        (
            ["http_503", "dns_error"],
            {"after": 1},
            f"can't meet dns_error (the address is known): give it http://langfuse.invalid, or {USE}",
        ),
        (
            ["refused"],
            {"times": 1},
            f"can't meet refused with a schedule or for some paths only (the port is open or closed for all): {USE}",
        ),
    ],
)
def test_faults_that_a_client_of_the_address_never_meets(
    server: LangfuseServer, names: list[str], options: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(f"Outage.apply(): a client of `server.url` {message}")):
        Outage.of(*names, **options).apply(server)
    assert httpx.get(f"{server.url}/api/public/health").status_code == 200


def test_max_block_is_for_tests(server: LangfuseServer) -> None:
    outage = Outage.of("hang", max_block=2)
    message = "Outage.apply(): max_block=2 is about the wait of a test, which it does not know; use the marker"
    with pytest.raises(ValueError, match=re.escape(message)):
        outage.apply(server)
    assert not outage.active
    with Outage.of("refused").apply(server), pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/api/public/health")
