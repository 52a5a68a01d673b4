"""The state that `tracing_health()` reports."""

import pytest

from pytest_langfuse.tracing import init_tracing, shutdown_tracing, tracing_health
from tests.helpers.loopback_langfuse import Reply

pytestmark = pytest.mark.usefixtures("fresh")


def observe(client, count):
    for number in range(count):
        client.start_observation(name=f"s{number}").end()


def test_tracing_that_is_off_is_not_healthy_and_says_why(monkeypatch):
    for name in ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    before = tracing_health()
    assert (before.enabled, before.healthy, before.reason) == (False, False, "init_tracing() was not called")

    init_tracing(public_key="pk-lf-1")
    one_key = tracing_health()
    assert (one_key.enabled, one_key.healthy) == (False, False)
    assert one_key.reason == "set LANGFUSE_SECRET_KEY (or pass secret_key) to send traces to Langfuse"
    shutdown_tracing()

    init_tracing()
    no_keys = tracing_health()
    assert (no_keys.enabled, no_keys.healthy) == (False, False)
    assert no_keys.reason.startswith("set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY (or pass")


def test_health_from_the_start_to_the_shutdown(collector, keys):
    client = init_tracing(**keys)
    health = tracing_health()
    assert (health.enabled, health.reason, health.healthy) == (True, None, True)
    assert (health.last_success, health.last_error, health.breakers) == (None, None, {"http": "closed"})

    observe(client, 3)
    client.flush()
    health = tracing_health()
    assert (health.ended, health.sampled, health.exported, health.unaccounted) == (3, 3, 3, 0)
    assert 0 <= health.last_success < 60

    shutdown_tracing()
    health = tracing_health()
    assert (health.enabled, health.healthy, health.reason) == (False, False, "tracing was shut down")
    assert (health.ended, health.exported) == (3, 3)


@pytest.mark.parametrize(
    ("reply", "error", "dropped"),
    [
        (Reply(413), "http_413", {"http_413": 1}),
        (Reply(400, b"no such project", "text/plain"), "http_400: no such project", {"http_400": 1}),
        (Reply(200, b'{"partialSuccess": {"rejectedSpans": 1, "errorMessage": "old"}}', "application/json"),
         "rejected: old", {"rejected": 1}),
    ],
    ids=["413", "400", "partial"],
)  # fmt: skip
def test_an_answer_that_costs_spans_is_not_healthy_until_the_next_is_accepted(
    collector, keys, reply, error, dropped, lines
):
    collector.reply = reply
    client = init_tracing(**keys)
    observe(client, 1)
    client.flush()
    health = tracing_health()
    assert (health.dropped, health.last_error, health.healthy) == (dropped, error, False)
    assert not [line for line in lines() if line.endswith((":", ": ", "()"))]

    collector.reply = Reply()
    observe(client, 1)
    client.flush()
    health = tracing_health()
    assert (health.dropped, health.last_error, health.healthy) == (dropped, error, True)


@pytest.mark.slow
def test_an_outage_is_named_by_the_last_error(collector, keys):
    collector.reply = Reply(503, b"busy", "text/plain")
    client = init_tracing(**keys, breaker_failure_threshold=1)
    observe(client, 1)
    collector.wait_for(lambda: tracing_health().breaker == "open")
    collector.wait_for(lambda: tracing_health().last_error is not None)
    health = tracing_health()
    assert (health.healthy, health.last_error, health.breakers) == (False, "http_503: busy", {"http": "open"})


def test_what_sampling_drops_is_not_sampled(collector, keys):
    client = init_tracing(**keys, sample_rate=0.0)
    observe(client, 3)
    client.start_observation(name="failed", level="ERROR").end()
    client.flush()
    health = tracing_health()
    assert (health.ended, health.sampled, health.dropped, health.exported) == (4, 1, {"sampled_out": 3}, 1)
