"""Private names that a library may drop: tracing goes on without each of them, and says so once."""

import json
import re

import pytest

from pytest_langfuse.tracing import init_tracing, langfuse_internals, missing_names, shutdown_tracing, tracing_health
from tests.helpers.loopback_langfuse import TRACES, Reply

pytestmark = pytest.mark.usefixtures("fresh")

#: What is asked for in `journey`, with what follows if it is gone. Names of one thing in several versions go together.
NAMES = {
    "_instances": "a client that was built before init_tracing() is not noticed",
    "_resources": "what a client works with is looked for by its key",
    "_lock": "a client that is built after shutdown_tracing() still does not send",
    "httpx_client": "spans are sent by an HTTP client of init_tracing()",
    "shutdown": "the exit of the process may wait for Langfuse without a limit",
    "prompt_cache": "the exit of the process may wait for Langfuse without a limit",
    "_task_manager": "the exit of the process may wait for Langfuse without a limit",
    "flush": "flush() of a client has no time limit",
    "_score_queue or _score_ingestion_queue": "the number of scores that the SDK holds is not limited",
    "_media_upload_queue": "flush() does not wait until all was sent",
    "all_tasks_done": "flush() does not wait until all was sent",
    "unfinished_tasks": "the number of scores that the SDK holds is not limited",
    "_score_consumers or _ingestion_consumers": "flush() does not wait until scores were sent",
    "wake or _SHUTDOWN_SENTINEL": "scores are sent every second, not every flush_interval",
    "add_score_task": "scores are sent even if their trace is not",
    "_upload_batch": "scores that can't be sent are lost after three tries",
    "_batch_processor": "spans that the SDK drops because its queue is full are not counted",
    "_max_queue_size": "spans that the SDK drops because its queue is full are not counted",
    "_queue": "spans that the SDK drops because its queue is full are not counted",
    "_exporter": "spans that the SDK drops before an export are not counted",
    "_should_export_span": "spans on which should_export_span fails are not counted",
    "_is_langfuse_project_span": "spans of other projects are taken for spans of this one when traces are sampled",
    "async_api": "the asynchronous REST client has no circuit breaker",
    "_client_wrapper": "the asynchronous REST client has no circuit breaker",
    "_transport": "the asynchronous REST client has no circuit breaker",
    "_mounts": "the asynchronous REST client has no circuit breaker",
    "api": "get_prompt() may wait for retries of the REST client",
    "request": "get_prompt() may wait for retries of the REST client",
    "_parent": "observations keep a parent that is not exported, and traces don't say why they were sampled",
    "_attributes": "observations keep a parent that is not exported, and traces don't say why they were sampled",
    "_pool": "a request to Langfuse may take longer than timeout",
    "_network_backend": "a request to Langfuse may take longer than timeout",
}

#: Who can't find the thread that sends scores can't wake it.
LOSES_SCORES = "_score_consumers or _ingestion_consumers"
SLOW = {LOSES_SCORES, "wake or _SHUTDOWN_SENTINEL"}


@pytest.fixture
def asked(monkeypatch):
    """Return the names that are asked for, and a set of those that are not there."""
    names, gone, has = set(), set(), missing_names.has

    def asked(owner, name):
        names.add(name)
        return name not in gone and has(owner, name)

    monkeypatch.setattr(missing_names, "has", asked)
    monkeypatch.setattr(langfuse_internals, "has", asked)
    return names, gone


def journey(collector, keys, *, flush_interval=3600.0):
    """Make a span and a score; returns what arrived."""
    collector.reply = lambda seen: (
        Reply() if seen.path == TRACES else Reply(200, b'{"successes": [], "errors": []}', "application/json")
    )
    client = init_tracing(**keys, flush_interval=flush_interval, flush_at=100, sample_rate=0.0)
    with client.start_as_current_observation(name="answer", level="ERROR") as observation:
        client.create_score(name="mark", value=1, trace_id=observation.trace_id)
    client.flush()
    health = tracing_health()
    shutdown_tracing()
    with langfuse_internals.set_aside(None):
        pass
    scores = [json.loads(seen.body) for seen in collector.requests if seen.path != TRACES]
    return collector.accepted, json.dumps(scores).count('"mark"'), health


def test_nothing_is_missing(collector, keys, lines, asked):
    accepted, scores, health = journey(collector, keys)

    assert (accepted, scores, health.unaccounted) == (["answer"], 1, 0)
    assert lines() == []
    # The last two: where version 4 puts the mark that wakes its thread.
    known = {part for names in NAMES for part in names.split(" or ")} | {"_ingestion_queue", "put_nowait"}
    assert sorted(asked[0] - known - set(langfuse_internals.SETTINGS)) == []


@pytest.mark.parametrize(
    "names", [pytest.param(names, marks=pytest.mark.slow if names in SLOW else ()) for names in NAMES]
)
def test_tracing_goes_on_without(collector, keys, lines, asked, names):
    asked[1].update(names.split(" or "))
    # The SDK's own flush() of version 4 waits for it.
    accepted, scores, _ = journey(collector, keys, flush_interval=0.5 if names == "flush" else 3600.0)

    assert accepted == ["answer"]
    assert names == LOSES_SCORES or scores == 1
    said = [line for line in lines() if f"so {NAMES[names]}" in line]
    owners = re.findall(r" has no (\w+)\.", "\n".join(said))
    assert owners, lines()
    assert len(owners) == len(said) == len(set(owners))
    assert any(name in said[0] for name in names.split(" or "))
    assert all("Fix: install a version of" in line for line in said)
