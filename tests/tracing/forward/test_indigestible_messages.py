"""Messages with which Langfuse fails (500), apart from a Langfuse that fails with all of them."""

import json
import logging

import pytest

from pytest_langfuse.tracing.forward import deliveries
from pytest_langfuse.tracing.forward.queue_source import SCORE
from tests.helpers.forwarding import export_body, span_names
from tests.helpers.loopback_langfuse import TRACES, Reply


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(deliveries, "_pause", lambda *_: 0.001)


def poisoned(seen):
    """Answer 500 to what has a span `bad…`."""
    return Reply(status=500, body=b"boom", content_type="text/plain") if any(map(is_bad, seen.spans)) else Reply()


def is_bad(name):
    return name.startswith("bad")


@pytest.fixture
def one(collector, forwarding):
    collector.reply = poisoned
    return forwarding(recovery=0.005)


@pytest.mark.parametrize(
    ("messages", "most"),
    [
        # With one, the first half or the second one is accepted; then it is split, and tried 20 times.
        ([["a"], ["b"], ["c"], ["bad"], ["d"], ["e"]], 35),
        ([["bad"], *([f"a{number}"] for number in range(500))], 45),
        # Each half has one, no quarter has both.
        ([["bad1"], *([f"a{number}"] for number in range(98)), ["bad2"]], 75),
        ([["x", "bad", "y"]], 35),
        ([["x", "bad1"], ["bad2", "y"]], 60),
    ],
)
def test_others_are_delivered_without_new_ones(collector, one, messages, most):
    for names in messages:
        one.queue.put(export_body(*names))
    one.drain()
    names = [name for message in messages for name in message]
    assert sorted({*collector.accepted}) == sorted(name for name in names if not is_bad(name))
    # One may be sent again to see whether Langfuse is still there.
    assert len(collector.accepted) - len(set(collector.accepted)) <= sum(map(is_bad, names))
    assert sorted(span_names(letter.body)[0] for letter in one.queue.dead) == sorted(filter(is_bad, names))
    assert {letter.reason for letter in one.queue.dead} == {"http_500"}
    assert len(collector.requests) < most
    assert one.queue.committed[-1] == len(messages)
    assert one.deliveries.idle
    assert one.deliveries.problems() == []


def test_the_log_names_the_message_and_does_not_flap(collector, one, caplog):
    caplog.set_level(logging.INFO, "pytest_langfuse")
    for name in ("a", "b", "c", "bad", "d"):
        one.queue.put(export_body(name))
    one.until(lambda: len(collector.accepted) == 4)
    one.until(lambda: "Langfuse takes others" in caplog.text)
    # Reached, and others are taken: that is not an outage.
    assert one.deliveries.problems() == []
    assert one.breaker.state == "closed"
    one.drain()
    name = f"message 3 of partition 0 (key {'0' * 32})"
    lines = [record.getMessage() for record in caplog.records]
    attempt = lines[2].partition("attempt ")[2].partition(")")[0]
    apart = (
        f"Langfuse takes others, but not {name} (http_500, attempt {attempt}): it is sent apart, and dead-lettered "
        "after 20 attempts: boom"
    )
    assert lines == [
        "Langfuse can't be reached (http_500), messages wait: boom",
        "Langfuse is reachable again.",
        apart,
        f"Dead-lettered (http_500): {name}; so far 1 spans and scores are: boom",
    ]


def test_an_outage_splits_nothing_and_buries_nothing(collector, one):
    collector.reply = Reply(status=500)
    for number in range(300):
        one.queue.put(export_body(f"a{number}", f"b{number}"))
    one.until(lambda: len(collector.requests) >= 60)
    assert one.queue.dead == []
    collector.reply = Reply()
    before = len(collector.requests)
    one.drain()
    assert one.queue.dead == []
    assert len(collector.accepted) == len(set(collector.accepted)) == 600
    # The share that was the probe, and the others.
    assert len(collector.requests) - before <= 4


def test_an_outage_of_a_long_time_stays_one_request_at_a_time(collector, one):
    """Of one message with many spans, too, which is divided for the probes."""
    collector.reply = Reply(status=500)
    one.queue.put(export_body(*(f"a{number}" for number in range(64))))
    one.until(lambda: len(collector.requests) >= 200)
    assert one.deliveries.in_flight <= 1
    collector.reply = Reply()
    before = len(collector.requests)
    one.drain()
    assert sorted(collector.accepted) == sorted(f"a{number}" for number in range(64))
    assert len(collector.requests) - before <= 4
    assert one.queue.committed == [1]


def test_a_suspect_is_not_buried_in_an_outage_that_follows(collector, one):
    for name in ("a", "b", "bad"):
        one.queue.put(export_body(name))
    one.until(lambda: len(collector.accepted) == 2)
    collector.reply = Reply(status=500)
    before = len(collector.requests)
    one.until(lambda: len(collector.requests) >= before + 100)
    assert one.queue.dead == []
    assert one.deliveries.problems() == ["Langfuse can't be reached (http_500)"]
    collector.reply = poisoned
    one.drain()
    assert [span_names(letter.body) for letter in one.queue.dead] == [["bad"]]
    assert one.deliveries.problems() == []


def test_what_is_healthy_is_not_buried_after_an_outage_that_came_and_went(collector, one):
    down = Reply(status=500)
    collector.reply = lambda seen: down if "a" in seen.spans else Reply()
    one.queue.put(export_body("a"))
    one.until(lambda: collector.requests)
    one.queue.put(export_body("b"))
    one.until(lambda: "b" in collector.accepted)
    # Now all is down for long, and "a" is a suspect without reason.
    collector.reply = down
    before = len(collector.requests)
    one.until(lambda: len(collector.requests) >= before + 80)
    collector.reply = Reply()
    one.drain()
    assert one.queue.dead == []
    assert set(collector.accepted) == {"a", "b"}


def test_an_endpoint_that_fails_alone_is_an_outage_of_it(collector, one, caplog):
    """Spans that are accepted say nothing about scores."""
    answer = json.dumps({"accepted": 1, "rejected": 0, "errors": []}).encode()
    collector.reply = lambda seen: Reply() if seen.path == TRACES else Reply(status=500)
    one.queue.put(b'{"id": "s-1", "name": "quality", "value": 1.0}', kind=SCORE)
    for sent in range(1, 1000):
        one.queue.put(export_body(f"a{sent}"))
        one.until(lambda sent=sent: len(collector.accepted) >= sent)
        if len(collector.requests) - len(collector.exports) >= 30:
            break
    assert one.queue.dead == []
    assert "reachable again" not in caplog.text
    collector.reply = lambda seen: Reply() if seen.path == TRACES else Reply(202, answer, "application/json")
    one.drain()
    assert one.counts.scores == 1
    assert one.queue.dead == []


def test_a_partition_that_goes_while_a_probe_is_on_the_wire(collector, one):
    collector.reply = Reply(status=500, delay=0.01)
    for number in range(8):
        one.queue.put(export_body(f"a{number}"))
    lanes = one.deliveries._lanes
    one.until(lambda: any(group.waits_for_probe for lane in lanes.values() for group in lane.again))
    one.queue.assignment.leaving = True
    one.deliveries.drop_leaving()
    one.until(lambda: not one.deliveries.in_flight)
    assert one.deliveries.idle
    assert not one.deliveries.waiting
    assert one.queue.committed == []
    assert one.deliveries.problems() in ([], ["Langfuse can't be reached (http_500)"])
