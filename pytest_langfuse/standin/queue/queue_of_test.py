"""The queues during one test: what has arrived, and where senders are directed to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from pytest_langfuse.recording.recorded_span import SpanKey
from pytest_langfuse.standin.queue.extras import missing_kafka, missing_sqs
from pytest_langfuse.standin.queue.queue_stand_in import QueueStandIn
from pytest_langfuse.standin.queue.queued_message import QueuedMessage

#: The end of the name of a queue of dead letters.
_DEAD: Final = (".dead", "-dead", "-dead.fifo")


class QueueOfTest:
    """Keeps the messages that arrive during a test, and calls `listeners` with each. Thread-safe."""

    def __init__(self, stand_in: QueueStandIn, listeners: Sequence[Callable[[QueuedMessage], None]] = ()) -> None:
        self.stand_in = stand_in
        self._listeners = listeners
        self._lock = threading.Lock()
        self._messages: list[QueuedMessage] = []

    @property
    def messages(self) -> list[QueuedMessage]:
        """The messages that have arrived so far."""
        self.read()
        with self._lock:
            return list(self._messages)

    def read(self) -> None:
        """Look at what has arrived."""
        with self._lock:
            found = self.stand_in.read()
            self._messages += found
        for message in found:
            for listener in self._listeners:
                listener(message)

    def brokers_for(self, topic: str) -> str | None:
        """Return the broker's address for this process; `None` if it can't be reached from here."""
        kafka = self.stand_in.kafka
        if self.stand_in.forked and not kafka.running:
            return None
        brokers = kafka.brokers
        kafka.create_topic(topic)
        return brokers

    def queue_url_for(self, configured: str) -> str | None:
        """Return the URL of the queue that stands for another; `None` if it can't be reached from here."""
        sqs = self.stand_in.sqs
        if self.stand_in.forked and not sqs.running:
            return None
        return sqs.url_of(configured)

    def tried(self, queue: str) -> None:
        """Count a group that this process tries to send to `queue`, "Kafka" or "SQS"."""
        self.stand_in.tried(queue)

    def brokers_of_children(self) -> str:
        """Return the broker's address for another process; empty where confluent-kafka is not installed."""
        return self.stand_in.kafka.brokers if missing_kafka() is None else ""

    def address_of_children(self) -> str:
        """Return the address of SQS for another process; empty where boto3 is not installed."""
        return self.stand_in.sqs.url if missing_sqs() is None else ""

    def accepted(self) -> set[SpanKey]:
        """Return trace id and span id of each span that arrived, and not as a dead letter."""
        return {key for message in self.messages if not message.topic.endswith(_DEAD) for key in message.span_keys}
