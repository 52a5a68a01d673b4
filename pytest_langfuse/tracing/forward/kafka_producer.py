"""A producer of the forwarder, for the little that it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.log_text import readable

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

_TIMEOUT_MILLISECONDS = 30_000
#: librdkafka would refuse what is larger than its default. The broker has a limit anyway.
_LARGEST = 100_000_000
#: Seconds for the last of them.
_FLUSH = 2.0


class KafkaProducer:
    """Writes messages, each acknowledged by all replicas. Its producer is made for the first; `what` is for the log."""

    def __init__(self, connection: Mapping[str, Any], log: RepeatedLog, what: str) -> None:
        self._connection, self._log, self._what = connection, log, what
        self._producer: Producer | None = None

    def write(self, topic: str, value: bytes, stored: Callable[[str | None], None], **message: Any) -> None:
        """Write a message. `stored` gets `None`, or the error, during this call or a later `poll`."""
        from confluent_kafka import KafkaException

        def told(error: KafkaError | None, _: Message) -> None:
            if error is not None and error.fatal():
                self._producer = None
            stored(None if error is None else readable(error.str()))

        try:
            if self._producer is None:
                self._producer = self._made()
            self._producer.produce(topic, value, on_delivery=told, **message)
        except (KafkaException, BufferError) as error:
            # A fatal error is raised here, too: the next one is for a new producer.
            self._producer = self._producer if isinstance(error, BufferError) else None
            stored(readable(str(error)))

    def poll(self) -> None:
        """Let librdkafka tell of what was stored."""
        if self._producer is not None:
            self._producer.poll(0)

    def close(self) -> None:
        """Wait a moment for what was not stored yet."""
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
        self._log.warn(
            f"{self._what} {error.name()}", f"Kafka, for {self._what}: {readable(error.str())} ({error.name()})"
        )
