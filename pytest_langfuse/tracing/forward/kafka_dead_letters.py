"""Dead letters in Kafka: a topic beside the one that is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_langfuse.tracing.forward.dead_letter_headers import dead_letter_headers
from pytest_langfuse.tracing.forward.queue_source import DeadLetter
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.log_text import readable

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

_TIMEOUT_MILLISECONDS = 30_000
#: librdkafka would refuse what is larger than its default, and a dead letter is larger than the message. The broker
#: has a limit anyway.
_LARGEST = 100_000_000
#: Seconds for the last of them.
_FLUSH = 2.0


class KafkaDeadLetters:
    """Stores dead letters in a topic, each acknowledged by all replicas. The producer is made for the first one."""

    def __init__(self, topic: str, connection: Mapping[str, Any], log: RepeatedLog) -> None:
        self.topic, self._connection, self._log = topic, connection, log
        self._producer: Producer | None = None

    def bury(self, letter: DeadLetter, stored: Callable[[str | None], None]) -> None:
        """See `QueueSource`."""
        from confluent_kafka import KafkaException

        def told(error: KafkaError | None, _: Message) -> None:
            if error is not None and error.fatal():
                self._producer = None
            stored(None if error is None else readable(error.str()))

        headers: Any = dead_letter_headers(letter)
        try:
            if self._producer is None:
                self._producer = self._made()
            # Where messages go that have no key: any partition.
            self._producer.produce(self.topic, letter.body, key=letter.message.key, headers=headers, on_delivery=told)
        except (KafkaException, BufferError) as error:
            # A fatal error is raised here, too: the next one is for a new producer.
            self._producer = self._producer if isinstance(error, BufferError) else None
            stored(readable(str(error)))

    def poll(self) -> None:
        """Let librdkafka tell of what was stored."""
        if self._producer is not None:
            self._producer.poll(0)

    def close(self) -> None:
        """Wait a moment for what was not stored yet; what is not acknowledged comes again."""
        if self._producer is not None:
            self._producer.flush(_FLUSH)

    def _made(self) -> Producer:
        from confluent_kafka import Producer

        return Producer(
            {
                **self._connection,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "message.max.bytes": _LARGEST,
                "message.timeout.ms": _TIMEOUT_MILLISECONDS,
                "partitioner": "murmur2_random",
                "error_cb": self._failed,
                "logger": self._log.librdkafka,
            }
        )

    def _failed(self, error: KafkaError) -> None:
        self._log.warn(f"dead {error.name()}", f"Kafka, for dead letters: {readable(error.str())} ({error.name()})")
