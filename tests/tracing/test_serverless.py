"""A process that may be frozen or killed after each invocation: what one has made is sent before it returns."""

import asyncio
import signal

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from pytest_langfuse.tracing import (
    LangfuseASGIMiddleware,
    get_langfuse_client,
    init_tracing,
    safe_trace,
    shutdown_tracing,
    tracing_health,
)
from tests.helpers.loopback_langfuse import Reply

pytestmark = pytest.mark.usefixtures("fresh")

#: Nothing is sent by itself.
LATER = {"flush_at": 500, "flush_interval": 600.0, "serverless": True}


@safe_trace
def step():
    return 1


@safe_trace
def handler():
    step()
    step()
    get_langfuse_client().score_current_trace(name="s", value=1)


def test_each_invocation_is_sent_before_it_returns_in_one_request(collector, keys):
    init_tracing(**keys, **LATER)
    for number in (1, 2, 3):
        handler()
        assert len(collector.accepted) == 3 * number
        assert len(collector.exports) == number
        assert len(collector.requests) == 2 * number  # a score


def test_one_that_raises(collector, keys):
    init_tracing(**keys, **LATER)

    @safe_trace
    def failing():
        raise LookupError

    with pytest.raises(LookupError):
        failing()
    assert collector.accepted == ["failing"]


async def test_tasks_of_one_loop(collector, keys):
    init_tracing(**keys, **LATER)

    @safe_trace
    async def invocation():
        await asyncio.gather(*(asyncio.to_thread(step) for _ in range(5)))

    await asyncio.gather(invocation(), invocation())
    assert sorted(collector.accepted) == ["invocation"] * 2 + ["step"] * 10
    assert len(collector.exports) == 2


async def test_a_request_of_the_middleware(collector, keys):
    init_tracing(**keys, **LATER)

    async def app(scope, receive, send):
        step()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def nothing(message=None):
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    await LangfuseASGIMiddleware(app)(scope, nothing, nothing)
    assert collector.accepted == ["step", "GET"]


def test_the_parent_of_another_process_is_not_waited_for(collector, keys):
    init_tracing(**keys, **LATER)
    caller = NonRecordingSpan(SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(1)))
    with trace.use_span(caller):
        step()
    assert collector.accepted == ["step"]


def test_an_observation_that_never_ends_does_not_keep_the_others(collector, keys):
    client = init_tracing(**keys, **LATER)
    leaked = client.start_observation(name="leaked")
    step()
    assert collector.accepted == ["step"]
    leaked.end()


@pytest.mark.slow
def test_an_outage_is_bounded_and_what_is_left_is_sent_with_the_next(collector, keys):
    collector.reply = Reply(hang=True)
    init_tracing(**keys, **LATER, timeout=0.2)
    step()
    assert tracing_health().buffered == 1
    collector.reply = Reply()
    collector.released.set()
    collector.wait_for(lambda: tracing_health().exported == 1)
    step()
    assert shutdown_tracing().exported == 2


def test_with_a_spool_it_is_durable(collector, keys, tmp_path):
    """The next process takes over what one that was killed has left."""
    import os

    collector.reply = Reply(503)
    if (pid := os.fork()) == 0:
        init_tracing(**keys, **LATER, spool_path=tmp_path / "spool", timeout=0.5)
        step()
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert collector.accepted == []

    collector.reply = Reply()
    init_tracing(**keys, **LATER, spool_path=tmp_path / "spool")
    collector.wait_for(lambda: collector.accepted == ["step"])


def test_it_is_off_by_default(collector, keys):
    init_tracing(**{**keys, "flush_at": 500, "flush_interval": 600.0})
    step()
    assert collector.requests == []
