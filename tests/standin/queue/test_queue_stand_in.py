"""The queues of a run, for one test after another."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from confluent_kafka import Producer

from pytest_langfuse.standin.queue.queue_failure import QueueFailure
from pytest_langfuse.standin.queue.queue_of_test import QueueOfTest
from pytest_langfuse.standin.queue.queue_stand_in import QueueStandIn
from pytest_langfuse.standin.queue.queued_message import QueuedMessage
from pytest_langfuse.standin.queue.sqs_queue import SqsEntry
from tests.helpers.paths import ROOT

GOLDEN = ROOT / "tests" / "golden"
SPANS = gzip.decompress((GOLDEN / "nested.otlp.bin").read_bytes())
OTHERS = gzip.decompress((GOLDEN / "observe_ok.otlp.bin").read_bytes())
KEYS = QueuedMessage("", SPANS, {}, "t").span_keys


@pytest.fixture
def queues():
    stand_in = QueueStandIn()
    yield stand_in
    stand_in.close()


def arrive(queues, body, name="langfuse"):
    queues.sqs._arrived(name, SqsEntry(base64.b64encode(body).decode(), {}))


def test_what_a_test_has_left_behind_is_not_the_next_ones(queues):
    first = QueueOfTest(queues)
    arrive(queues, OTHERS)
    assert [message.value for message in first.messages] == [OTHERS]
    queues.forget(KEYS)
    arrive(queues, SPANS)
    arrive(queues, SPANS + OTHERS)
    assert [message.value for message in QueueOfTest(queues).messages] == [SPANS + OTHERS]


def test_what_arrived_until_its_end_is_not_the_next_ones(queues):
    arrive(queues, SPANS)
    queues.forget([])
    assert QueueOfTest(queues).messages == []


def test_dead_letters_are_not_delivered(queues):
    test = QueueOfTest(queues)
    arrive(queues, SPANS, "langfuse-dead")
    assert (len(test.messages), test.accepted()) == (1, set())
    arrive(queues, SPANS)
    assert test.accepted() == KEYS


def test_each_message_is_shown_once_to_listeners(queues):
    heard = []
    test = QueueOfTest(queues, [heard.append])
    arrive(queues, SPANS)
    test.read()
    assert heard == test.messages
    assert [observation.name for observation in heard[0].observations] != []


def test_both_queues_are_read(queues):
    test = QueueOfTest(queues)
    producer = Producer({"bootstrap.servers": test.brokers_for("spans"), "log_level": 0})
    producer.produce("spans", value=SPANS)
    assert producer.flush(10) == 0
    arrive(queues, OTHERS)
    assert [message.value for message in test.messages] == [SPANS, OTHERS]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"name": "good", "value": 1, "metadata": {"body": 1}}, "/api/public/scores"),
        ({"id": "e", "type": "score-create", "body": {}}, "/api/public/ingestion"),
        ("{", None),
        (3, None),
    ],
)
def test_a_score_is_handed_on_as_a_forwarder_does(value, path):
    data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
    message = QueuedMessage("", data, {"x-langfuse-type": "score"}, "t")
    request = message.score_request()
    assert (None if request is None else request.url.path) == path
    assert message.observations == []
    assert QueuedMessage("", data, {}, "t").score_request() is None


def test_a_failure_is_none_of_a_queue_that_it_does_not_concern(queues):
    failure = QueueFailure("throttled", delay=0.0, strikes=lambda: True, queues=("SQS",))
    test = QueueOfTest(queues)
    producer = Producer({"bootstrap.servers": test.brokers_for("spans"), "log_level": 0})
    queues.begin(failure)
    test.tried("Kafka")
    producer.produce("spans", value=SPANS)
    assert producer.flush(10) == 0
    assert (failure.attempts, failure.struck) == (0, 0)
    test.tried("SQS")
    assert failure.attempts == 1
    queues.end(failure)
    assert [message.value for message in test.messages] == [SPANS]


def test_to_ask_for_the_address_is_no_attempt(queues):
    failure = QueueFailure("down", delay=0.0, strikes=lambda: True)
    queues.begin(failure)
    test = QueueOfTest(queues)
    assert test.brokers_for("spans")
    assert test.queue_url_for("https://sqs.eu-west-1.amazonaws.com/123456789012/langfuse")
    assert (failure.attempts, failure.struck) == (0, 0)
    queues.end(failure)
