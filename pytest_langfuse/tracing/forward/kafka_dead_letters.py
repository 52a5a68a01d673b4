"""Dead letters in Kafka: a topic beside the one that is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytest_langfuse.tracing.forward.dead_letter_headers import dead_letter_headers
from pytest_langfuse.tracing.forward.kafka_producer import KafkaProducer
from pytest_langfuse.tracing.forward.queue_source import DeadLetter
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog


class KafkaDeadLetters:
    """Stores dead letters in a topic, each acknowledged by all replicas; what is not acknowledged comes again."""

    def __init__(self, topic: str, connection: Mapping[str, Any], log: RepeatedLog) -> None:
        self.topic = topic
        self._producer = KafkaProducer(connection, log, "dead letters")

    def bury(self, letter: DeadLetter, stored: Callable[[str | None], None]) -> None:
        """See `QueueSource`."""
        # Where messages go that have no key: any partition.
        headers = dead_letter_headers(letter)
        self._producer.write(self.topic, letter.body, stored, key=letter.message.key, headers=headers)

    def poll(self) -> None:
        """Let librdkafka tell of what was stored."""
        self._producer.poll()

    def close(self) -> None:
        """Wait a moment for what was not stored yet."""
        self._producer.close()
