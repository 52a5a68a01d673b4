"""The reason why nothing is read from Kafka, and the lag after a restart, on a real broker."""

import json
import os
import time

import pytest

from pytest_langfuse.tracing.forward import kafka_contact
from pytest_langfuse.tracing.forward.kafka_contact import KafkaContact
from pytest_langfuse.tracing.forward.kafka_source import KafkaSource
from tests.helpers.forwarding import export_body, produce
from tests.helpers.kafka_broker import kafka_broker

WAITS = "the queue has not given it any partitions yet"
REFUSED = "Kafka can't be reached: 127.0.0.1:{port}/bootstrap: Connect to ipv4#127.0.0.1:{port} failed: "


class Watcher:
    """Counts partitions."""

    def __init__(self):
        self.now = 0

    def assigned(self, assignments):
        self.now += len(assignments)

    def revoked(self, assignments):
        self.now -= len(assignments)

    lost = revoked


class Reader:
    """A `KafkaSource` that is polled in the thread of the test."""

    def __init__(self, broker, topic, group="g", **options):
        self.source = KafkaSource(brokers=broker.address, topic=topic, group=group, options={}, **options)
        self.watcher = Watcher()
        self.source.start(self.watcher)
        self.messages = []

    def until(self, condition, *others, timeout=40.0):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, (self.source.problems(), self.source.lag(), self.watcher.now)
            for one in (self, *others):
                one.messages += one.source.poll(100, 0.05)


@pytest.fixture
def read():
    readers = []

    def make(*given, **options):
        readers.append(Reader(*given, **options))
        return readers[-1]

    yield make
    for reader in readers:
        reader.source.close(5.0)


def statistics(*idle, join="steady", made=None):
    """What librdkafka says of brokers that were silent for so many seconds; -1 if they never spoke."""
    brokers = {str(number): {"rxidle": one if one < 0 else int(one * 1e6)} for number, one in enumerate(idle)}
    made = kafka_contact.now() if made is None else made
    # Its clock and ours begin at different times.
    return json.dumps({"ts": int((made + 50) * 1e6), "brokers": brokers, "cgrp": {"join_state": join}})


@pytest.fixture
def clock(monkeypatch):
    times = [1000.0]
    monkeypatch.setattr(kafka_contact, "now", lambda: times[0])

    def passes(seconds):
        times[0] += seconds

    return passes


def test_a_broker_that_answers_nothing(clock):
    contact = KafkaContact()
    assert contact.problems(joined=False) == [WAITS]
    contact.told(statistics(0.5, -1))
    assert contact.problems(joined=True) == []
    for seconds in range(1, 12):
        clock(1)
        contact.told(statistics(0.5 + seconds, -1, join="wait-join"))
        assert contact.problems(joined=True) == []
    clock(1)
    assert contact.problems(joined=True) == ["Kafka can't be reached: no answer for 12 s"]
    contact.failed("_TRANSPORT", "Connection refused")
    contact.failed("_ALL_BROKERS_DOWN", "1/1 brokers are down")
    assert contact.problems(joined=False) == ["Kafka can't be reached: Connection refused"]
    contact.told(statistics(0.1, join="init"))
    assert contact.problems(joined=False) == [f"{WAITS}: Connection refused"]
    clock(1)
    contact.told(statistics(0.1))
    assert contact.problems(joined=True) == []
    # An error from before the silence says nothing about it.
    contact.failed("TOPIC_EXCEPTION", "old")
    clock(1)
    contact.told(statistics(0.0, join="wait-join"))
    clock(13)
    assert contact.problems(joined=True) == ["Kafka can't be reached: no answer for 13 s"]


def test_a_member_that_hears_nothing_keeps_the_reason(clock):
    """It is "steady" for librdkafka until the time of its session is over."""
    contact = KafkaContact()
    contact.told(statistics(0.1))
    clock(10)
    contact.failed("_TRANSPORT", "Connection refused")
    for _ in range(5):
        clock(1)
        contact.told(statistics(kafka_contact.now() - 1000.0))
    assert contact.problems(joined=True) == ["Kafka can't be reached: Connection refused"]


def test_statistics_that_come_late_are_about_the_moment_in_which_they_were_made(clock):
    contact = KafkaContact()
    contact.told(statistics(0.1))
    clock(2)
    contact.failed("_TRANSPORT", "Connection refused")
    clock(3)
    # Made before the error, handed over now.
    contact.told(statistics(0.1, made=1001.0))
    clock(10)
    assert contact.problems(joined=True) == ["Kafka can't be reached: Connection refused"]


def test_one_broker_of_two_is_enough_and_an_old_statistic_takes_nothing_back(clock):
    contact = KafkaContact()
    contact.told(statistics(0.1, 300))
    clock(5)
    contact.told(statistics(40, -1))
    assert contact.problems(joined=True) == []
    clock(8)
    assert contact.problems(joined=True) == ["Kafka can't be reached: no answer for 13 s"]


def test_a_broker_that_never_answered(clock):
    contact = KafkaContact()
    contact.failed("_ALL_BROKERS_DOWN", "1/1 brokers are down")
    contact.failed("_TRANSPORT", "Connection refused")
    contact.failed("_ALL_BROKERS_DOWN", "1/1 brokers are down")
    assert contact.problems(joined=False) == ["Kafka can't be reached: Connection refused"]
    silent = KafkaContact()
    clock(12.4)
    assert silent.problems(joined=False) == ["Kafka can't be reached: no answer for 12 s"]


def test_an_error_of_a_broker_is_an_answer(clock):
    contact = KafkaContact()
    contact.failed("TOPIC_AUTHORIZATION_FAILED", "Topic authorization failed")
    assert contact.problems(joined=False) == [f"{WAITS}: Topic authorization failed"]
    contact.failed("_TRANSPORT", "Connection refused")
    clock(13)
    assert contact.problems(joined=False) == ["Kafka can't be reached: no answer for 13 s"]
    contact.failed("_TRANSPORT", "Connection refused")
    assert contact.problems(joined=False) == ["Kafka can't be reached: Connection refused"]


@pytest.mark.slow
def test_a_broker_that_hangs_and_one_that_is_gone(tmp_path, read, monkeypatch):
    monkeypatch.setattr(kafka_contact, "_PATIENCE", 3.0)
    with kafka_broker(tmp_path) as broker:
        broker.create_topic("spans")
        one, standby = read(broker, "spans"), read(broker, "spans")
        one.until(lambda: one.source.problems() == [] == standby.source.problems(), standby)
        # More forwarders than partitions: one stands by, and is well.
        assert {one.watcher.now, standby.watcher.now} == {0, 1}
        broker.hang()
        for reader in (one, standby):
            one.until(lambda reader=reader: "no answer for" in str(reader.source.problems()), standby)
        broker.kill()
        refused = REFUSED.format(port=broker.port)
        for reader in (one, standby):
            one.until(lambda reader=reader: refused in str(reader.source.problems()), standby)
        # Nothing changes that, also when the group has taken the partition away.
        one.until(lambda: not one.watcher.now + standby.watcher.now, standby)
        assert refused in str(one.source.problems())


@pytest.mark.slow
def test_a_topic_that_is_not_there(broker, read):
    one = read(broker, "not_there", group="h")
    one.until(lambda: one.source.problems() not in ([], [WAITS]))
    assert one.source.problems() == [
        f"{WAITS}: Subscribed topic not available: not_there: Broker: Unknown topic or partition"
    ]


@pytest.mark.slow
def test_the_lag_after_a_restart_is_what_is_not_done(broker, read):
    broker.create_topic("lag", partitions=3)
    produce(broker.address, "lag", [(os.urandom(16).hex(), export_body("a"), {}) for _ in range(30)])
    first = read(broker, "lag", group="lag")
    first.until(lambda: len(first.messages) == 30)
    assert first.source.lag() == 30
    first.source.acknowledge([message for message in first.messages if message.partition.number])
    left = sum(not message.partition.number for message in first.messages)
    first.until(lambda: first.source.lag() == left)
    first.source.commit(wait=True)
    first.source.close(5.0)
    # Of partition 0 nothing was committed, all of the others.
    again = read(broker, "lag", group="lag")
    again.until(lambda: again.source.lag() is not None and len(again.messages) == left)
    assert again.source.lag() == left
    again.source.acknowledge(again.messages)
    again.source.commit(wait=True)
    again.source.close(5.0)
    drained = read(broker, "lag", group="lag")
    drained.until(lambda: drained.source.lag() is not None)
    assert drained.source.lag() == 0
    assert drained.messages == []
