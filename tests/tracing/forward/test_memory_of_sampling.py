"""`--max-bytes` bounds what sampling and the deliveries hold together."""

import pytest

from pytest_langfuse.tracing.forward import deliveries, forwarder
from pytest_langfuse.tracing.forward.forward_counts import ForwardCounts
from pytest_langfuse.tracing.forward.undecided_traces import TracePolicy
from pytest_langfuse.tracing.forward.whole_trace_sampling import WholeTraceSampling
from tests.helpers.forwarding import export_body
from tests.helpers.loopback_langfuse import Reply
from tests.helpers.trace_messages import MemoryDecisions

MOST = 400_000


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(deliveries, "_FIRST_PAUSE", 0.002)
    monkeypatch.setattr(forwarder, "_FULL", 0.0)


@pytest.mark.parametrize("size", [20, 2000])
def test_a_queue_full_of_traces_in_an_outage_and_after_it(collector, forwarding, size):
    counts = ForwardCounts()
    stage = WholeTraceSampling(
        TracePolicy(1.0, wait=3600.0, most_age=36000.0),
        MemoryDecisions(),
        caught_up=lambda _: False,
        counts=counts,
        most_bytes=MOST * 7 // 8,
    )
    one = forwarding(stage=stage, max_bytes=MOST)
    one.queue.start(one.forwarder)
    collector.reply = Reply(status=503)
    for number in range(1200):
        one.queue.put(export_body(f"a{number}", size=size))
    held = 0

    def watched(condition):
        def look():
            nonlocal held
            held = max(held, one.deliveries.held + stage.held_bytes)
            return condition()

        return look

    one.until(watched(lambda: one.queue.calls.count("pause") and len(collector.requests) > 3))
    # What is undecided is not given up for what waits for Langfuse, or the other way round.
    assert one.queue.waiting
    assert one.deliveries.held
    collector.reply = Reply()
    one.until(watched(lambda: not one.queue.waiting and one.deliveries.idle))
    assert counts.early + stage.held == 1200
    assert len(collector.accepted) == counts.early
    # A message more than there was room for, at most, and the sizes of those that come are estimated.
    assert held <= 1.03 * MOST + size + 2000
    assert held > MOST // 2


def test_a_limit_below_one_message(collector, forwarding):
    counts = ForwardCounts()
    stage = WholeTraceSampling(
        TracePolicy(1.0, wait=3600.0, most_age=36000.0),
        MemoryDecisions(),
        caught_up=lambda _: False,
        counts=counts,
        most_bytes=0,
    )
    one = forwarding(stage=stage, max_bytes=1)
    one.queue.start(one.forwarder)
    for number in range(5):
        one.queue.put(export_body(f"a{number}"))
    one.drain()
    assert sorted(collector.accepted) == [f"a{number}" for number in range(5)]
