"""The production pipeline under every fault of the outage layer, by the plugin's own fixtures."""

import time

import pytest

from pytest_langfuse.outage.faults import FAULTS
from pytest_langfuse.tracing import get_langfuse_client, shutdown_tracing, tracing_health

# Slow: waits for timeouts.
pytestmark = pytest.mark.slow

#: Langfuse said no to what was sent, in whole or in part: to send it again is no use.
TURNED_DOWN = {"http_400": "http_400", "http_413": "http_413", "partial_success": "rejected"}
#: Every second request is answered, so the breaker has no reason to open.
ON_AND_OFF = "flapping"
#: Langfuse took it, and the answer came too late for the client's timeout: it is sent again.
TWICE = {"slow", "drip"}
KEPT = [name for name in FAULTS if name not in TURNED_DOWN and name != ON_AND_OFF]

SETTINGS = {
    "public_key": "pk-lf-test",
    "secret_key": "sk-lf-test",
    "timeout": 0.3,
    "flush_at": 1,
    "sample_rate": 1.0,
    "breaker_failure_threshold": 2,
}


def until(condition):
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, tracing_health()
        time.sleep(0.005)


def work(steps=5):
    for number in range(steps):
        get_langfuse_client().start_observation(name=f"step-{number}").end()


@pytest.mark.langfuse_outage(*KEPT)
def test_an_outage_loses_nothing(
    langfuse_tracing, langfuse_outage, langfuse_server, langfuse_clock, langfuse_spans, request
):
    client = langfuse_tracing(**SETTINGS)
    work()
    until(lambda: tracing_health().breaker == "open")
    health = tracing_health()
    assert (health.ended, health.buffered, health.exported, dict(health.dropped)) == (5, 5, 0, {})
    assert not health.healthy

    # Langfuse is known to be down: no request is made, and the fallback is there.
    attempts = langfuse_outage.attempts
    assert client.get_prompt("greeting", fallback="Hello").prompt == "Hello"
    assert langfuse_outage.attempts == attempts

    langfuse_outage.recover()
    langfuse_clock.advance(seconds=301)
    until(lambda: tracing_health().exported == 5 and tracing_health().healthy)
    assert shutdown_tracing().exported == 5
    langfuse_spans.assert_flushed()
    arrived = sorted(observation.name for observation in langfuse_server.spans)
    if TWICE.intersection(request.node.callspec.id.split("-")):
        arrived = sorted(set(arrived))
    assert arrived == [f"step-{number}" for number in range(5)]


@pytest.mark.langfuse_outage(*TURNED_DOWN)
def test_what_langfuse_turns_down_is_counted_by_its_reason(
    langfuse_tracing, langfuse_outage, langfuse_server, langfuse_spans, request
):
    langfuse_tracing(**SETTINGS)
    work()
    reason = TURNED_DOWN[request.node.callspec.id.split("-")[0]]
    until(lambda: tracing_health().buffered == 0 and tracing_health().ended == 5)
    health = tracing_health()
    assert set(health.dropped) == {reason}
    assert health.exported + health.dropped[reason] == 5
    assert len(langfuse_server.spans) == health.exported
    with pytest.raises(AssertionError, match=f"{health.dropped[reason]} observations? w(as|ere) not delivered"):
        langfuse_spans.assert_flushed()


@pytest.mark.langfuse_outage(ON_AND_OFF)
def test_what_fails_every_second_time_arrives_all_the_same(langfuse_tracing, langfuse_server, langfuse_spans):
    client = langfuse_tracing(**SETTINGS)
    for _ in range(3):
        work(1)
        # A request of its own.
        client.flush()
    until(lambda: tracing_health().exported == 3)
    langfuse_spans.assert_flushed()
    assert len(langfuse_server.spans) == 3


#: What has no end of its own in these tests.
ENDLESS = {"hang", "drip"}


@pytest.mark.langfuse_outage(*(name for name in FAULTS if name != ON_AND_OFF))
def test_the_deadline_of_a_shutdown_holds(langfuse_tracing, langfuse_outage, request):
    # Without the deadline, a shutdown would take as long as a request may.
    langfuse_tracing(**{**SETTINGS, "timeout": 120.0})
    work()
    until(lambda: langfuse_outage.attempts)
    report = shutdown_tracing(timeout=0.2)

    assert report.elapsed < 60
    assert report.exported + report.buffered + sum(report.dropped.values()) == 5
    if ENDLESS.intersection(request.node.callspec.id.split("-")):
        assert report.timed_out
        assert report.dropped == {"shutdown": 5}
