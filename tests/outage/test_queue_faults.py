"""Faults of a queue: their options, and outages of them alone."""

from __future__ import annotations

import re

import pytest

from pytest_langfuse import LangfuseQueue, Outage
from pytest_langfuse.outage.faults import QUEUE_FAULTS, find_fault
from pytest_langfuse.outage.server import LangfuseServer
from pytest_langfuse.standin.queue.queue_of_test import QueueOfTest
from pytest_langfuse.standin.queue.queue_stand_in import QueueStandIn


@pytest.fixture
def stand_in():
    queues = QueueStandIn()
    yield queues
    queues.close()


@pytest.mark.parametrize("name", QUEUE_FAULTS)
def test_each_is_found_by_its_name_and_described(name):
    fault = find_fault(name)
    assert fault.name == name
    assert fault.summary.endswith(".")
    assert len(fault.description.splitlines()) > 1


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["broker_down"], {"after": 1}, "broker_down takes no after: it lasts. Begin it in the middle of a test with"),
        (["hang", "broker_slow"], {"rate": 0.5}, "broker_slow takes no rate: it lasts."),
        (["broker_down"], {"delay": 0.1}, "broker_down takes no delay (broker_slow does)"),
        (["not_authorized"], {"delay": 0.1}, "not_authorized takes no delay"),
        (["sqs_throttled"], {"paths": "otlp"}, "paths are endpoints of Langfuse, and sqs_throttled is a fault of a"),
        (["sqs_throttled"], {"retry_after": 1}, "retry_after is a header of an HTTP status"),
    ],
)
def test_an_option_that_a_fault_has_no_use_for_is_refused(names, options, message):
    with pytest.raises(TypeError, match=re.escape(message)) as error:
        Outage.of(*names, **options)
    assert str(error.value).startswith("langfuse_outage('")


def test_options_that_they_take():
    Outage.of("broker_slow", delay=0.1, required=False, max_block=1.0)
    Outage.of("message_too_large", "not_authorized", "sqs_throttled", after=1, times=2, rate=0.5, seed=3)


def test_an_outage_of_the_queue_alone_is_applied_to_it(stand_in):
    queue = LangfuseQueue(QueueOfTest(stand_in))
    outage = Outage.of("broker_down")
    with outage.apply(queue) as applied:
        assert (applied is outage, outage.active) == (True, True)
        assert outage.attempts == 0
        stand_in.tried("Kafka")
        assert (outage.attempts, outage.struck, outage.refused) == (1, 1, 1)
        with pytest.raises(RuntimeError, match="the outage broker_down is already active"), outage.apply(queue):
            pass
    stand_in.tried("Kafka")
    assert (outage.attempts, outage.active) == (1, False)


def test_a_server_of_langfuse_is_not_what_they_are_applied_to():
    with LangfuseServer() as server:
        with pytest.raises(TypeError, match="expected langfuse_queue: broker_down is a fault of a queue"):
            Outage.of("broker_down").apply(server)
        with pytest.raises(ValueError, match="broker_down is a fault of a queue: use the fixture langfuse_outage"):
            Outage.of("hang", "broker_down").apply(server)
        with pytest.raises(ValueError, match="broker_down is a fault of a queue, which a Langfuse server has not"):
            Outage.of("broker_down").activate(server)


def test_slow_counts_as_struck_and_not_as_refused(stand_in):
    with Outage.of("broker_slow").apply(LangfuseQueue(QueueOfTest(stand_in))) as outage:
        stand_in.tried("Kafka")
    assert (outage.attempts, outage.struck, outage.refused) == (1, 1, 0)
