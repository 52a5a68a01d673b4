"""The command over a real broker, and what it leaves there."""

import json
import os
import signal
import time

import pytest

from pytest_langfuse.tracing.forward.kafka_source import KafkaSource
from tests.helpers.forwarding import KEYS, export_body, produce, run_forwarder, span_names
from tests.helpers.kafka_broker import kafka_broker
from tests.helpers.loopback_langfuse import TRACES, Reply

HEADERS = {"x-langfuse-public-key": "pk-lf-test"}


def trace_messages(count, prefix="s", headers=HEADERS, size=0):
    names = [(f"{prefix}{number}.0", f"{prefix}{number}.1") for number in range(count)]
    return [(os.urandom(16).hex(), export_body(*pair, size=size), headers) for pair in names]


def names_of(messages):
    return sorted(name for _, body, _ in messages for name in span_names(body))


@pytest.mark.slow
def test_once_drains_the_topic(broker, collector, tmp_path):
    broker.create_topic("once", partitions=3)
    collector.reply = lambda seen: (
        Reply() if seen.path == TRACES else Reply(202, b'{"message": "Accepted"}', "application/json")
    )
    projects = tmp_path / "projects.json"
    projects.write_text(json.dumps({"pk-lf-other": "sk-lf-other"}))
    messages = trace_messages(300)
    others = trace_messages(5, "o", {"x-langfuse-public-key": "pk-lf-other"})
    unknown = trace_messages(2, "u", {"x-langfuse-public-key": "pk-lf-unknown", "mine": "kept"})
    plain = trace_messages(3, "p", {})
    score = ("0" * 32, b'{"id": "s-1", "name": "quality", "value": 1.0}', {**HEADERS, "x-langfuse-type": "score"})
    produce(broker.address, "once", [*messages, *others, *unknown, *plain, score, ("k", b"no spans", HEADERS)])
    arguments = ("--from", f"kafka://{broker.address}/once?group=g", "--to", collector.url, "--projects", str(projects))

    looked = run_forwarder(*arguments, "--dry-run", "--once")
    assert looked.returncode == 0, looked.stderr
    assert collector.requests == []
    first, *rest = looked.stdout.splitlines()
    assert first.startswith("312 messages, ")
    assert sorted(rest) == [
        "  pk-lf-other: 10 spans would be sent",
        "  pk-lf-test: 1 scores would be sent",
        "  pk-lf-test: 606 spans would be sent",
        "  undecodable: 1 would be dead-lettered",
        "  unknown_project pk-lf-unknown: 4 would be dead-lettered",
    ]

    done = run_forwarder(*arguments, "--once")
    assert done.returncode == 0, done.stderr
    assert sorted(collector.accepted) == names_of([*messages, *others, *plain])
    assert len(collector.exports) < 20
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {tuple(line) for line in lines} == {("time", "level", "message")}
    assert lines[-1]["message"].startswith("616 spans and 1 scores delivered of 312 messages in ")
    assert "sk-lf" not in done.stderr

    dead = broker.messages("once.dead", count=3)
    found = {(message.key(), dict(message.headers())["x-langfuse-dead-reason"]) for message in dead}
    assert found == {(b"k", b"undecodable"), *((key.encode(), b"unknown_project") for key, _, _ in unknown)}
    [letter] = [message for message in dead if message.key() == unknown[0][0].encode()]
    assert letter.value() == unknown[0][1]
    headers = dict(letter.headers())
    assert headers.pop("x-langfuse-dead-detail").startswith(b"The keys of the project pk-lf-unknown are not known")
    assert headers == {
        "x-langfuse-public-key": b"pk-lf-unknown",
        "mine": b"kept",
        "x-langfuse-dead-reason": b"unknown_project",
    }

    # All was committed, also what is dead.
    again = run_forwarder(*arguments, "--dry-run", "--once")
    assert again.stdout.splitlines() == ["0 messages, 0 bytes"]


def test_once_does_not_end_in_a_rebalance(broker):
    """All partitions go before the new ones come."""
    from confluent_kafka import TopicPartition

    broker.create_topic("rebalanced", partitions=2)
    produce(broker.address, "rebalanced", trace_messages(3))
    source = KafkaSource(brokers=broker.address, topic="rebalanced", group="g", options={}, once=True)
    both = [TopicPartition("rebalanced", number) for number in (0, 1)]

    def drained():
        deadline = time.monotonic() + 20
        while not source.at_end():
            assert time.monotonic() < deadline
            source.poll(10, 0.1)
        return True

    try:
        assert not source.at_end()
        source._on_assign(source._consumer, both)
        assert not source.at_end()
        for leave in (source._on_revoke, source._on_lost):
            assert drained()
            leave(source._consumer, both)
            assert not source.at_end()
            assert source.lag() is None
            source._on_assign(source._consumer, both)
        assert drained()
        # With more forwarders than partitions, some get none.
        source._on_revoke(source._consumer, both)
        source._on_assign(source._consumer, [])
        assert source.at_end()
    finally:
        source.close(5.0)


@pytest.mark.slow
@pytest.mark.exhaustive  # tests/tracing/forward/test_scale.py kills one, too
def test_a_killed_one_loses_nothing_and_its_successor_goes_on(broker, collector, forwarder_process):
    broker.create_topic("killed", partitions=2)
    arguments = ("--from", f"kafka://{broker.address}/killed?group=g", "--to", collector.url)
    messages = trace_messages(200)
    produce(broker.address, "killed", messages[:100])
    first = forwarder_process(*arguments)
    collector.wait_for(lambda: len(collector.accepted) >= 200)
    first.process.kill()
    assert first.wait() == -signal.SIGKILL
    produce(broker.address, "killed", messages[100:])
    second = forwarder_process(*arguments)
    collector.wait_for(lambda: set(collector.accepted) >= set(names_of(messages)))
    # What the first has sent last may come again.
    assert len(collector.accepted) - len(set(collector.accepted)) <= 200
    second.process.send_signal(signal.SIGTERM)
    assert second.wait() == 0, second.raw
    second.wait_for_line("delivered of")
    # It committed before it left.
    assert run_forwarder(*arguments, "--dry-run", "--once").stdout.startswith("0 messages")


@pytest.mark.slow
def test_a_topic_that_is_not_there_and_a_broker_that_is_not(broker, collector):
    missing = run_forwarder("--from", f"kafka://{broker.address}/missing", "--to", collector.url, "--once")
    assert missing.returncode == 2
    assert json.loads(missing.stderr.splitlines()[-1])["message"] == (
        "the topic 'missing' can't be read: Broker: Unknown topic or partition"
    )
    options = {**KEYS, "LANGFUSE_FORWARD_KAFKA_OPTIONS": '{"no.such.option": 1}'}
    refused = run_forwarder("--from", f"kafka://{broker.address}/missing", "--to", collector.url, env=options)
    assert refused.returncode == 2
    assert refused.stderr == (
        'pytest-langfuse-forward: error: --kafka-options: No such configuration property: "no.such.option"\n'
    )


@pytest.mark.slow
@pytest.mark.long
def test_a_second_forwarder_that_joins_and_leaves_repeats_nothing(broker, collector, forwarder_process):
    broker.create_topic("shared", partitions=4)
    # So slow that messages are waiting, and requests on the wire, at each rebalance.
    collector.reply = Reply(delay=0.5)
    arguments = ("--from", f"kafka://{broker.address}/shared?group=g", "--to", collector.url, "--requests", "2")
    messages = []

    def feed_until(condition):
        for _ in range(600):
            if condition():
                return
            more = trace_messages(20, f"m{len(messages)}.")
            produce(broker.address, "shared", more)
            messages.extend(more)
            time.sleep(0.05)
        pytest.fail(f"not so after {len(messages)} messages")

    first = forwarder_process(*arguments)
    feed_until(lambda: len({seen.port for seen in collector.exports}) == 2)
    second = forwarder_process(*arguments)
    feed_until(lambda: len({seen.port for seen in collector.exports}) == 4)
    second.process.send_signal(signal.SIGTERM)
    feed_until(lambda: second.process.poll() is not None)
    assert second.wait() == 0, second.raw
    collector.wait_for(lambda: len(collector.accepted) >= 2 * len(messages), timeout=60)
    first.process.send_signal(signal.SIGTERM)
    assert first.wait() == 0, first.raw
    assert sorted(collector.accepted) == names_of(messages)


@pytest.mark.slow
def test_a_broker_that_is_away_is_waited_for(tmp_path, collector, forwarder_process):
    with kafka_broker(tmp_path) as broker:
        broker.create_topic("away")
        process = forwarder_process("--from", f"kafka://{broker.address}/away", "--to", collector.url)
        messages = trace_messages(10)
        produce(broker.address, "away", messages)
        collector.wait_for(lambda: len(collector.accepted) == 20)
        broker.kill()
        process.wait_for_line("Kafka: ")
        # In memory: it forgets all.
        broker.start()
        broker.create_topic("away")
        more = trace_messages(10, "m")
        produce(broker.address, "away", more)
        collector.wait_for(lambda: set(collector.accepted) >= set(names_of(more)), timeout=60)
        process.process.send_signal(signal.SIGTERM)
        assert process.wait() == 0, process.raw
