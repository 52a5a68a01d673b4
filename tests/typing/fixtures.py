"""Fixtures as annotated tests use them. Nothing runs it; mypy reads it, and reports a `type: ignore` not needed."""

import re
import signal
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import assert_type

from pytest_langfuse import (
    App,
    Clock,
    LangfuseQueue,
    LangfuseRouter,
    LangfuseServer,
    Observation,
    Observations,
    Outage,
    OutageControl,
    Processes,
    QueuedMessage,
    Score,
)


def test_processes(langfuse_process: Processes) -> None:
    app = langfuse_process.start("-m", "uvicorn", "shop:app", "--port", "{port}", env={"A": "1", "B": None}, cwd=".")
    assert_type(app, App)
    assert_type(langfuse_process.start_command("node", "server.js"), App)
    assert_type(langfuse_process.free_port(), int)
    app.wait_ready("/health", timeout=1.0)
    assert_type(app.wait_for_output(re.compile("ready")), str)
    assert_type(app.spans, Observations)
    assert_type(app.lost, list[Observation])
    assert_type(app.output, str)
    assert_type(app.returncode, int | None)
    app.terminate()
    app.send_signal(signal.SIGHUP)
    assert_type(app.wait(timeout=5.0), int)
    langfuse_process.start(3)  # type: ignore[arg-type]
    langfuse_process.start("x", env={"A": 1})  # type: ignore[dict-item]
    app.wait_ready()  # type: ignore[call-arg]


def test_outages(langfuse_outage: OutageControl, langfuse_server: LangfuseServer, langfuse_clock: Clock) -> None:
    assert_type(langfuse_outage("hang", paths="otlp"), AbstractContextManager[Outage])
    with langfuse_outage("http_503", "reset", retry_after=1) as outage:
        assert_type(outage.attempts, int)
    assert_type(langfuse_outage.refused, int)
    langfuse_outage.recover()
    langfuse_clock.advance(seconds=300)
    langfuse_clock.advance("300")  # type: ignore[arg-type]
    assert_type(langfuse_server.url, str)
    assert_type(langfuse_server.spans, Observations)
    assert_type(langfuse_server.scores, list[Score])


def test_queues(langfuse_queue: LangfuseQueue) -> None:
    assert_type(langfuse_queue.messages, list[QueuedMessage])
    for message in langfuse_queue.wait_for(2, timeout=1.0):
        assert_type(message.key, str)
        assert_type(message.value, bytes)
        assert_type(message.observations, Sequence[Observation])
    assert_type(langfuse_queue.kafka_brokers, str)
    assert_type(langfuse_queue.sqs_queue_url("langfuse"), str)
    langfuse_queue.wait_for("2")  # type: ignore[arg-type]
    with Outage.of("broker_down").apply(langfuse_queue) as outage:
        assert_type(outage, Outage)


def test_api(langfuse_api: LangfuseRouter) -> None:
    assert_type(langfuse_api.prompt("greeting", "Hello {{name}}").version, int)
    langfuse_api.prompt("greeting", 3)  # type: ignore[arg-type]
