"""Scores: they follow their trace, wait for Langfuse within bounds, and none is lost unseen."""

import json
import logging
import os

import httpx
import pytest

from pytest_langfuse.tracing import CircuitBreaker, init_tracing, langfuse_internals, shutdown_tracing
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery.score_buffer import ScoreBuffer
from pytest_langfuse.tracing.failures import failures
from tests.helpers.loopback_langfuse import TRACES, Reply

pytestmark = pytest.mark.usefixtures("fresh")

TRACE = "a" * 32


def pipeline():
    return singleton_module.singleton.installation.pipeline


def scores(collector):
    """Names of the scores that were accepted, in order."""
    names = []
    for seen in collector.requests:
        if seen.path != TRACES and seen.body:
            body = json.loads(seen.body)
            names += [
                one.get("name") or one["body"]["name"] for one in (body if isinstance(body, list) else body["batch"])
            ]
    return names


def answer(seen):
    return Reply() if seen.path == TRACES else Reply(200, b'{"successes": [], "errors": []}', "application/json")


class Sdk:
    """In place of the SDK's queue."""

    def __init__(self, buffer):
        self.sent = []
        buffer.send = self.sent.append
        buffer.backlog = lambda: len(self.sent) - self.done
        self.done = 0


@pytest.fixture
def breaker():
    return CircuitBreaker(failure_threshold=1, recovery_timeout=3600)


def made(breaker, **more):
    buffer = ScoreBuffer(**{"max_scores": 100, "max_bytes": 10_000_000, **more}, breakers=[breaker])
    return buffer, Sdk(buffer)


def test_scores_of_a_kept_trace_go_on_and_of_a_dropped_one_do_not(breaker):
    buffer, sdk = made(breaker)
    buffer.decision = {1: True, 2: False, 3: None}.__getitem__
    for trace in (1, 2, 3):
        buffer.add({"name": str(trace)}, trace)
    buffer.add({"name": "session"}, None)

    assert [score["name"] for score in sdk.sent] == ["1", "session"]
    assert buffer.waiting[0] == 1


@pytest.mark.parametrize("kept", [True, False])
def test_scores_of_an_undecided_trace_wait_for_the_decision(breaker, kept):
    buffer, sdk = made(breaker)
    buffer.decision = lambda _: None
    for number in range(3):
        buffer.add({"name": number}, 7)
    buffer.add({"name": "other"}, 8)
    buffer.decided(7, kept)
    buffer.decided(7, kept)

    assert [score["name"] for score in sdk.sent] == ([0, 1, 2] if kept else [])
    assert buffer.waiting[0] == 1


def test_while_the_circuit_is_open_they_wait_and_then_go_in_order(breaker):
    buffer, sdk = made(breaker)
    breaker.failure(breaker.try_acquire())
    for number in range(5):
        buffer.add({"name": number}, None)
    assert (sdk.sent, buffer.waiting[0]) == ([], 5)
    breaker._opened_at -= 3600
    breaker.success(breaker.try_acquire())

    assert [score["name"] for score in sdk.sent] == [0, 1, 2, 3, 4]
    assert buffer.waiting == (0, 0)


def test_the_sdk_gets_no_more_than_it_sends(breaker):
    buffer, sdk = made(breaker, max_scores=2000)
    for number in range(1100):
        buffer.add({"name": number}, None)
    assert (len(sdk.sent), buffer.ready) == (500, 600)
    for done in (100, 500, 1100):
        sdk.done = done
        buffer.uploaded()
        assert len(sdk.sent) == min(done + 500, 1100)


@pytest.mark.skipif(not langfuse_internals.METADATA_IS_JSON, reason="version 4 escapes such text")
def test_text_that_is_not_unicode_takes_no_scores_with_it(collector, keys, lines):
    failures.forget()
    collector.reply = answer
    client = init_tracing(**keys, flush_at=100, flush_interval=60)
    for number in range(5):
        comment = "cut \ud83d" if number in {1, 3} else "ü"
        client.create_score(
            name=str(number), value=number, trace_id=TRACE, comment=comment, metadata={"n": [1 << 40, 0.5, None]}
        )
    shutdown_tracing()

    (seen,) = [seen for seen in collector.requests if seen.path != TRACES]
    sent = json.loads(seen.body)
    assert [score["comment"] for score in sent] == ["ü", "cut \ufffd", "ü", "cut \ufffd", "ü"]
    assert [score["metadata"] for score in sent] == [{"n": [1 << 40, 0.5, None]}] * 5
    (line,) = lines()
    assert line.startswith("Text that is not Unicode")


@pytest.mark.parametrize("limit", [{"max_scores": 10}, {"max_bytes": 10 * 1200}])
@pytest.mark.parametrize("undecided", [False, True])
def test_the_oldest_go_when_there_are_too_many_and_that_is_said(breaker, limit, undecided, lines):
    buffer, sdk = made(breaker, **limit)
    if undecided:
        buffer.decision = lambda _: None
    else:
        breaker.failure(breaker.try_acquire())
    for number in range(1000):
        buffer.add({"name": str(number), "comment": "x" * 1000}, number)

    assert buffer.waiting[0] == (10 if "max_scores" in limit else 9)
    assert len(lines()) == 1
    assert "1 scores were dropped: they waited for Langfuse" in lines()[0]
    buffer.close()
    assert f"{1000 - 1} scores were dropped" in lines()[1]
    assert sdk.sent == []


def test_one_score_of_any_size_takes_no_more_than_there_is(breaker):
    buffer, _ = made(breaker, max_bytes=1000)
    breaker.failure(breaker.try_acquire())
    buffer.add({"name": "huge", "metadata": {"a": ["x" * 10_000]}}, None)

    assert buffer.waiting == (0, 0)


def status(code):
    error = Exception(f"{code}")
    error.status_code = code
    return error


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (httpx.ReadTimeout("slow"), True),
        (httpx.ConnectError("refused"), True),
        (status(503), True),
        (status(429), True),
        (status(400), False),
        (status(401), False),
        (ValueError("bad"), False),
    ],
)
def test_a_batch_that_failed_is_kept_if_it_may_be_sent_later(breaker, error, kept):
    buffer, _ = made(breaker)
    breaker.failure(breaker.try_acquire())
    buffer.add({"name": "later"}, None)

    assert buffer.failed([{"name": 1}, {"name": 2}], error) is kept
    assert [score.content["name"] for score in buffer._ready] == ([1, 2] if kept else []) + ["later"]


def test_a_batch_that_only_the_server_can_t_digest_is_given_up(breaker):
    buffer, _ = made(breaker)
    answers = [buffer.failed([{"name": 1}], status(500)) for _ in range(20)]

    assert answers == [True] * 19 + [False]


# -- in the pipeline -------------------------------------------------------------------------------------------


def test_scores_survive_an_outage(collector, keys, monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("time.sleep", lambda _: None)
    collector.reply = Reply(reset=True)
    client = init_tracing(**keys, flush_interval=0.01, flush_at=5, breaker_failure_threshold=4)
    for number in range(50):
        client.create_score(name=f"s{number}", value=1, trace_id=TRACE)
    collector.wait_for(lambda: pipeline().breaker.state == "open")
    seen = len(collector.requests)
    collector.wait_for(lambda: pipeline().scores.backlog() == 0 or pipeline().scores.ready)
    collector.reply = answer
    breaker = pipeline().breaker
    breaker._opened_at -= 301
    breaker.success(breaker.try_acquire())
    collector.wait_for(lambda: len({*scores(collector)[seen:]}) == 50 or len(set(scores(collector))) == 50)
    client.flush()

    assert pipeline().scores.waiting == (0, 0)


@pytest.mark.parametrize("send", ["flush", "shutdown"])
@pytest.mark.parametrize("count", [1, 777])
def test_scores_are_sent_before_the_interval_is_over(collector, keys, send, count):
    """However many: some are handed to the SDK only when it has sent others."""
    collector.reply = answer
    client = init_tracing(**keys, flush_interval=3600.0, flush_at=100, timeout=60.0)
    for number in range(count):
        client.create_score(name=f"s{number}", value=1, trace_id=TRACE)
    if send == "flush":
        client.flush()
    else:
        shutdown_tracing(timeout=60.0)

    assert scores(collector) == [f"s{number}" for number in range(count)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_sends_its_own_scores_only(collector, keys):
    collector.reply = answer
    client = init_tracing(**keys, flush_interval=30.0, flush_at=100)
    client.create_score(name="parent", value=1, trace_id=TRACE)
    child = os.fork()
    if not child:
        try:
            client.create_score(name="child", value=1, trace_id=TRACE)
            client.flush()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert scores(collector) == ["child"]
    shutdown_tracing()
    assert scores(collector) == ["child", "parent"]


def observe(client, *, fail=False):
    with client.start_as_current_observation(name="root") as root:
        client.create_score(name="inside", value=1, trace_id=root.trace_id)
        waiting = pipeline().scores.waiting[0]
        root.update(level="ERROR" if fail else "DEFAULT")
    client.create_score(name="after", value=1, trace_id=root.trace_id)
    return waiting


@pytest.mark.parametrize("keep_errors", [True, False])
def test_no_scores_for_traces_that_are_sampled_out(collector, keys, keep_errors):
    collector.reply = answer
    client = init_tracing(**keys, sample_rate=0.0, keep_errors=keep_errors, flush_interval=0.01)
    for _ in range(20):
        observe(client)
    client.create_score(name="elsewhere", value=1, trace_id=TRACE)
    client.create_score(name="session", value=1, session_id="s-1")
    client.flush()

    assert scores(collector) == ["session"]
    assert collector.accepted == []


def test_scores_of_a_trace_that_is_kept_for_its_error(collector, keys):
    collector.reply = answer
    client = init_tracing(**keys, sample_rate=0.0, flush_interval=0.01)
    assert observe(client, fail=True) == 1
    client.flush()

    assert scores(collector) == ["inside", "after"]
    assert collector.accepted == ["root"]


@pytest.mark.slow
def test_scores_within_the_rate_are_sent_at_once(collector, keys):
    collector.reply = answer
    client = init_tracing(**keys, sample_rate=1.0, flush_interval=0.01)
    assert observe(client) == 0
    client.flush()

    assert scores(collector) == ["inside", "after"]


def test_what_is_undecided_at_the_end_is_decided_by_the_rate(collector, keys, lines):
    collector.reply = answer
    client = init_tracing(**keys, sample_rate=0.0, flush_interval=0.01)
    root = client.start_observation(name="root")
    client.create_score(name="inside", value=1, trace_id=root.trace_id)
    assert pipeline().scores.waiting[0] == 1
    shutdown_tracing()

    assert scores(collector) == []
    # They follow their trace; that is no loss.
    assert lines() == []


@pytest.mark.slow
def test_a_shutdown_during_an_outage_leaves_no_thread_at_work_and_says_what_is_lost(
    collector, keys, lines, monkeypatch
):
    collector.reply = Reply(reset=True)
    client = init_tracing(**keys, flush_interval=0.01, breaker_failure_threshold=2, timeout=1)
    resources = singleton_module.singleton.installation._resources
    for number in range(700):
        client.create_score(name=f"s{number}", value=1, trace_id=TRACE)
    collector.wait_for(lambda: pipeline().breaker.state == "open")
    installed = pipeline()
    shutdown_tracing(timeout=20)
    client.create_score(name="late", value=1, trace_id=TRACE)
    installed.scores._logged = -1000
    installed.scores._report(0, "in all")

    assert not any(thread.is_alive() for thread in langfuse_internals._consumers(resources))
    lost = [int(line.split()[0]) for line in lines() if "scores were dropped" in line]
    assert sum(lost) in {700, 701}
