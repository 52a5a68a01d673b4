"""The queues of a run: a Kafka broker and SQS, which start when something is first sent to them."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping, Sequence

from pytest_langfuse.recording.recorded_span import SpanKey
from pytest_langfuse.standin.queue.kafka_stand_in import KafkaStandIn
from pytest_langfuse.standin.queue.queue_failure import QueueFailure
from pytest_langfuse.standin.queue.queued_message import QueuedMessage
from pytest_langfuse.standin.queue.sqs_stand_in import SqsStandIn


class QueueStandIn:
    """Both queues, for one test after another. Thread-safe."""

    def __init__(self) -> None:
        self.kafka = KafkaStandIn()
        self.sqs = SqsStandIn()
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._failures: list[QueueFailure] = []
        #: Spans of tests that are over, which may still arrive: in no message of a later test.
        self._stale: set[SpanKey] = set()

    @property
    def forked(self) -> bool:
        """True in a child of the process that the queues are in."""
        return self._process != os.getpid()

    def begin(self, failure: QueueFailure) -> None:
        """Let the queues that the failure concerns fail in this way, until `end`."""
        with self._lock:
            self._failures.append(failure)
        for queue in self._struck_by(failure):
            queue.begin(failure)

    def end(self, failure: QueueFailure) -> None:
        """Let them fail no more in this way."""
        with self._lock:
            if failure in self._failures:
                self._failures.remove(failure)
        for queue in self._struck_by(failure):
            queue.end(failure)

    def _struck_by(self, failure: QueueFailure) -> Sequence[KafkaStandIn | SqsStandIn]:
        queues: Mapping[str, KafkaStandIn | SqsStandIn] = {"Kafka": self.kafka, "SQS": self.sqs}
        return [queues[name] for name in failure.queues]

    def tried(self, queue: str) -> None:
        """Count a group that this process tries to send to `queue`."""
        with self._lock:
            for failure in self._failures:
                failure.groups += queue in failure.queues

    def empty(self) -> None:
        """Delete all messages: a consumer finds none of those that earlier tests have left."""
        if not self.forked:
            self.kafka.empty()
            self.sqs.empty()

    def read(self) -> list[QueuedMessage]:
        """Return the messages that arrived since the last call."""
        if self.forked:
            return []
        found = [*self.kafka.read(), *self.sqs.read()]
        return [message for message in found if not (keys := message.span_keys) or not keys <= self._stale]

    def forget(self, undelivered: Collection[SpanKey]) -> None:
        """End a test: what has arrived is read, and `undelivered` spans may still arrive, in vain."""
        self.read()
        self._stale.update(undelivered)

    def close(self) -> None:
        """End both queues, with their threads."""
        if not self.forked:
            self.kafka.close()
            self.sqs.close()
