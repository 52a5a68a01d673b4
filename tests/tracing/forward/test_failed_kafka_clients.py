"""Kafka clients of the forwarder that fail for good: another producer takes over; without a consumer, it ends."""

import subprocess
import sys

import pytest

from pytest_langfuse.tracing.forward.kafka_producer import KafkaProducer
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from tests.helpers.failed_kafka_client import fail_for_good
from tests.helpers.tracing_waits import until


class Written:
    """Writes values of a topic, and notes what is told of each."""

    def __init__(self, producer, topic):
        self.producer, self.topic = producer, topic
        self.told = {}

    def write(self, *values):
        for value in values:
            self.producer.write(self.topic, value, lambda error, value=value: self.told.setdefault(value, error))

    def wait(self, count):
        def all_told():
            self.producer.poll()
            return len(self.told) == count

        until(all_told)


@pytest.fixture
def written(broker, topic):
    producer = KafkaProducer({"bootstrap.servers": broker.address}, RepeatedLog(), "dead letters")
    yield Written(producer, topic)
    producer.close()


@pytest.mark.parametrize("found_by", ["poll", "write"])
def test_another_producer_takes_over(written, broker, topic, found_by, caplog):
    written.write(b"a")
    written.wait(1)
    failed = written.producer._producer
    fail_for_good(failed)
    if found_by == "poll":
        written.producer.poll()
    written.write(b"b")
    if found_by == "write":
        # It was given to the producer that had failed: whoever wrote it is told, and writes it again.
        written.wait(2)
        assert "the broker lost it" in written.told.pop(b"b")
        written.write(b"b")
    written.wait(2)
    assert written.told == {b"a": None, b"b": None}
    assert sorted(message.value() for message in broker.messages(topic, count=2)) == [b"a", b"b"]
    assert written.producer._producer is not failed
    assert caplog.text.count("Kafka, for dead letters: another producer is made: ") == 1


def test_what_the_failed_one_had_is_told_once(written, broker, topic, caplog):
    written.write(b"a")
    written.wait(1)
    written.producer._producer.flush(5)
    # It has these, and has not sent them: it lingers.
    written.write(b"b", b"c")
    fail_for_good(written.producer._producer)
    written.wait(3)
    assert written.told[b"a"] is None
    again = [value for value, error in written.told.items() if error is not None]
    for value in again:
        del written.told[value]
    written.write(*again)
    written.wait(3)
    assert set(written.told.values()) == {None}
    assert {message.value() for message in broker.messages(topic, count=3)} == {b"a", b"b", b"c"}
    assert "another producer is made: test_fatal_error: the broker lost it" in caplog.text


READS_WITH_A_FAILED_CONSUMER = """
import sys

from pytest_langfuse.tracing.forward.kafka_source import KafkaSource
from pytest_langfuse.tracing.forward.queue_source import SourceFailed
from tests.helpers.failed_kafka_client import fail_for_good

class Watcher:
    def assigned(self, assignments):
        pass

    revoked = lost = assigned

brokers, topic = sys.argv[1:]
source = KafkaSource(brokers=brokers, topic=topic, group="g", options={}, joins=False)
source.start(Watcher())
fail_for_good(source._consumer)
try:
    for _ in range(100):
        source.poll(10, 0.05)
except SourceFailed as error:
    print(error)
source.close(1.0)
"""


def test_a_consumer_that_failed_for_good_ends_the_forwarder(broker, topic):
    # In a process of its own: librdkafka closes such a consumer for ever, and takes a whole core for it.
    command = [sys.executable, "-c", READS_WITH_A_FAILED_CONSUMER, broker.address, topic]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert "the broker lost it" in ended.stdout
    assert ended.returncode == 0
