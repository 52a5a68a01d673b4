"""The queue of one test: what `langfuse_queue` gives."""

from __future__ import annotations

import time
from typing import Final

from pytest_langfuse import arguments
from pytest_langfuse.lazy import exported_by
from pytest_langfuse.standin.queue.extras import missing_kafka
from pytest_langfuse.standin.queue.queue_of_test import QueueOfTest
from pytest_langfuse.standin.queue.queue_stand_in import QueueStandIn
from pytest_langfuse.standin.queue.queued_message import QueuedMessage

#: Seconds between two looks at what has arrived.
_LOOK_AGAIN: Final = 0.02
#: Messages that a failure lists.
_LISTED: Final = 10
#: The path of a queue's URL, up to its name.
_ACCOUNT: Final = "/000000000000"


@exported_by("pytest_langfuse")
class LangfuseQueue:
    """The Kafka broker and the SQS queues to which production tracing exports during a test, with what has arrived.

    The broker is librdkafka's mock cluster, in this process; it and SQS listen on loopback, and start when something is
    first sent to them. Thread-safe.
    """

    def __init__(self, queue: QueueOfTest) -> None:
        self._queue = queue

    @property
    def messages(self) -> list[QueuedMessage]:
        """The messages that have arrived since the test began, in order: of Kafka, then of SQS.

        Spans are sent by another thread: `flush()` the client before, or use `wait_for`.
        """
        return self._queue.messages

    def wait_for(self, count: int = 1, *, timeout: float = 5.0) -> list[QueuedMessage]:
        """Wait until at least `count` messages have arrived, and return them all. `timeout` is in seconds.

        Raises:
            AssertionError: fewer arrived in time; the message lists them.
            TypeError: `count` or `timeout` is not a number.
            ValueError: one of them is out of range.
        """
        __tracebackhide__ = True
        arguments.count("wait_for", "count", count)
        arguments.number("wait_for", "timeout", timeout)
        end = time.monotonic() + timeout
        while len(found := self.messages) < count:
            if time.monotonic() >= end:
                listed = "".join(f"\n  {message!r}" for message in found[:_LISTED])
                raise AssertionError(
                    f"timed out after {timeout:g} s: {len(found)} of {count} messages arrived in the queue."
                    f"{listed or ' Is the export a queue, as in init_tracing(export=...), and was the client flushed?'}"
                )
            time.sleep(_LOOK_AGAIN)
        return found

    @property
    def kafka_brokers(self) -> str:
        """The address of the broker, HOST:PORT, for other programs: a forwarder, a consumer. Starts it.

        Raises:
            RuntimeError: confluent-kafka is not installed.
        """
        __tracebackhide__ = True
        if (missing := missing_kafka()) is not None:
            raise RuntimeError(f"langfuse_queue.kafka_brokers: {missing}")
        return self._queue.stand_in.kafka.brokers

    def sqs_queue_url(self, name: str = "langfuse") -> str:
        """Return the URL of an SQS queue, for other programs. A queue is there when it is first used.

        Raises:
            TypeError: `name` is not a text.
            ValueError: it is empty.
        """
        __tracebackhide__ = True
        arguments.text("sqs_queue_url", "name", name, filled=True)
        return self._queue.stand_in.sqs.url_of(f"{_ACCOUNT}/{name}")

    @property
    def failing(self) -> QueueStandIn:
        """The stand-in queues, on which an `Outage` is applied."""
        return self._queue.stand_in

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.messages)} messages>"
