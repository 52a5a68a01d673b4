"""The stand-in broker speaks Kafka's protocol to real clients, and fails as it is told."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from pytest_langfuse.standin.queue import kafka_eraser, kafka_stand_in
from pytest_langfuse.standin.queue.kafka_stand_in import KafkaStandIn
from pytest_langfuse.standin.queue.queue_failure import QueueFailure

TASKS = Path("/proc/self/task")
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def kafka():
    stand_in = KafkaStandIn()
    yield stand_in
    stand_in.close()


@pytest.fixture
def produce(kafka):
    """Produces a message, and returns the name of the error in its report, if it has one."""
    options = {
        "enable.idempotence": True,
        "message.timeout.ms": 3000,
        "reconnect.backoff.ms": 10,
        "reconnect.backoff.max.ms": 50,
        "log_level": 0,
    }
    producers = []

    def send(value, key="k", topic="spans", timeout=10.0):
        if not producers:
            producers.append(Producer({**options, "bootstrap.servers": kafka.brokers}))
        kafka.create_topic(topic)
        reports = []
        producers[0].produce(
            topic, value=value, key=key, headers=[("h", b"1")], on_delivery=lambda *r: reports.append(r)
        )
        producers[0].flush(timeout)
        return reports[0][0] and reports[0][0].name() if reports else "none yet"

    return send


def failure(kind, pattern=None, delay=0.0):
    pattern = itertools.repeat(True) if pattern is None else iter(pattern)
    return QueueFailure(kind, delay=delay, strikes=lambda: next(pattern, False))


def values(messages):
    return [message.value for message in messages]


def test_nothing_runs_before_it_is_asked_for(kafka):
    assert (kafka.running, kafka.read()) == (False, [])


def test_messages_are_read_once_with_all_they_have(kafka, produce):
    assert produce(b"one", key=TRACE) is None
    assert produce(b"two", key="", topic="other") is None
    one, two = kafka.read()
    assert (one.key, one.value, one.headers, one.topic) == (TRACE, b"one", {"h": "1"}, "spans")
    assert one.partition in {0, 1}
    assert (two.key, two.value, two.topic) == ("", b"two", "other")
    assert kafka.read() == []
    assert produce(b"three") is None
    assert values(kafka.read()) == [b"three"]


def test_another_client_can_consume_them_in_a_group(kafka, produce):
    produce(b"one")
    consumer = Consumer({"bootstrap.servers": kafka.brokers, "group.id": "g", "log_level": 0})
    try:
        consumer.assign([TopicPartition("spans", partition, 0) for partition in (0, 1)])
        message = consumer.poll(10)
        assert message.value() == b"one"
        consumer.commit(message, asynchronous=False)
        [committed] = consumer.committed([TopicPartition("spans", message.partition())], timeout=10)
        assert committed.offset == 1
    finally:
        consumer.close()
    assert values(kafka.read()) == [b"one"]


def test_down_keeps_what_had_arrived_and_nothing_else_until_it_is_up(kafka, produce):
    produce(b"before")
    down = failure("down")
    kafka.begin(down)
    assert produce(b"during", timeout=0.2) == "none yet"
    assert values(kafka.read()) == [b"before"]
    kafka.end(down)
    assert produce(b"after") is None
    assert values(kafka.read()) == [b"during", b"after"]


@pytest.mark.parametrize(
    ("kind", "error"), [("too_large", "MSG_SIZE_TOO_LARGE"), ("not_authorized", "TOPIC_AUTHORIZATION_FAILED")]
)
def test_requests_are_refused_by_a_pattern(kafka, produce, kind, error):
    produce(b"before")
    refusing = failure(kind, [False, True, False])
    kafka.begin(refusing)
    assert (refusing.attempts, refusing.struck) == (0, 0)
    assert produce(b"passes") is None
    assert produce(b"refused") == error
    assert (refusing.attempts, refusing.struck) == (2, 1)
    kafka.end(refusing)
    if kind == "too_large":
        assert produce(b"after") is None
    assert (refusing.attempts, refusing.struck) == (2, 1)
    assert b"refused" not in values(kafka.read())


def test_a_failure_that_began_before_the_broker_holds_when_it_starts(kafka, produce):
    refusing = failure("too_large", [True])
    kafka.begin(refusing)
    assert produce(b"refused") == "MSG_SIZE_TOO_LARGE"
    assert (refusing.attempts, refusing.struck) == (1, 1)


def test_of_two_failures_the_later_decides_and_the_earlier_goes_on_afterwards(kafka, produce):
    produce(b"before")
    earlier, later = failure("too_large", [True, True, False, True]), failure("not_authorized", [False])
    kafka.begin(earlier)
    assert produce(b"1") == "MSG_SIZE_TOO_LARGE"
    kafka.begin(later)
    assert produce(b"2") is None
    kafka.end(later)
    assert [produce(b"3"), produce(b"4")] == [None, "MSG_SIZE_TOO_LARGE"]


def test_slow_answers_late(kafka, produce):
    produce(b"before")
    slow = failure("slow", delay=0.1)
    kafka.begin(slow)
    assert produce(b"late", timeout=0.02) == "none yet"
    assert values(kafka.read()) == [b"before", b"late"]
    assert (slow.attempts, slow.struck) == (1, 1)


def threads():
    return len(list(TASKS.iterdir()))


@pytest.mark.skipif(not TASKS.exists(), reason="counts threads of C")
def test_no_thread_is_left():
    before = threads()
    stand_in = KafkaStandIn()
    stand_in.create_topic("spans")
    assert stand_in.brokers
    assert stand_in.read() == []
    assert threads() > before
    stand_in.close()
    assert threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_leaves_it_alone(kafka, produce):
    produce(b"one")
    child = os.fork()
    if not child:
        kafka.create_topic("of the child")
        status = 0 if kafka.read() == [] else 1
        kafka.close()
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert produce(b"two") is None
    assert values(kafka.read()) == [b"one", b"two"]


def test_it_can_be_started_again(kafka, produce):
    produce(b"one")
    kafka.close()
    assert (kafka.running, kafka.read()) == (False, [])
    assert kafka.brokers
    assert kafka.read() == []


def consumed(brokers, group, count):
    """What a new consumer group finds: so many messages, and no more than have arrived."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": group, "enable.partition.eof": True, "log_level": 0})
    found, ends = [], 0
    try:
        consumer.assign([TopicPartition("spans", partition, OFFSET_BEGINNING) for partition in (0, 1)])
        while ends < 2:
            message = consumer.poll(10)
            if message.error() is None:
                found.append(message.value())
            else:
                ends += message.error().code() == KafkaError._PARTITION_EOF
    finally:
        consumer.close()
    assert len(found) == count
    return sorted(found)


def test_emptied_it_has_nothing_for_a_new_consumer_and_keeps_its_address(kafka, produce):
    address = kafka.brokers
    for number in range(3):
        # Keys of both partitions.
        for key in ("a", "b", "c", "d"):
            produce(b"old", key=key)
        kafka.empty()
        assert consumed(address, f"g{number}", 0) == []
        assert kafka.read() == []
        assert produce(b"new") is None
        assert consumed(address, f"h{number}", 1) == [b"new"]
        assert values(kafka.read()) == [b"new"]
    assert kafka.brokers == address


def test_only_what_holds_messages_is_emptied(kafka, produce, monkeypatch):
    erased = []

    def erase(brokers, places, timeout):
        erased.append(list(places))
        return kafka_eraser.erase(brokers, places, timeout)

    monkeypatch.setattr(kafka_stand_in, "erase", erase)
    kafka.empty()
    produce(b"one")
    [message] = kafka.read()
    kafka.empty()
    kafka.empty()
    assert erased == [[("spans", message.partition)]]


def test_what_can_not_be_emptied_is_replaced(kafka, produce, monkeypatch):
    monkeypatch.setattr(kafka_stand_in, "erase", lambda *_: {})
    produce(b"old")
    kafka.empty()
    assert not kafka.running
    assert kafka.brokers
    kafka.create_topic("spans")
    assert consumed(kafka.brokers, "g", 0) == []
