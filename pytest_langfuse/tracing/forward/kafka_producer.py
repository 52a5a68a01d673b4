"""A producer of the forwarder, for the little that it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.log_text import readable
from pytest_langfuse.tracing.queue.kafka_errors import is_fatal, text_of

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

_TIMEOUT_MILLISECONDS = 30_000
#: librdkafka would refuse what is larger than its default. The broker has a limit anyway.
_LARGEST = 100_000_000
#: Seconds for the last of them.
_FLUSH = 2.0


class KafkaProducer:
    """Writes messages, each acknowledged by all replicas. `what` is for the log.

    The producer is made for the first message, and again after one that has failed for good, or of which the brokers
    acknowledge nothing: they may not know it any more.
    """

    def __init__(self, connection: Mapping[str, Any], log: RepeatedLog, what: str) -> None:
        self._connection, self._log, self._what = connection, log, what
        self._producer: Producer | None = None
        #: Who has to be told of the messages that the producer has.
        self._pending: dict[int, Callable[[str | None], None]] = {}
        self._written = self._acknowledged = 0
        #: Why the producer can't be used any more.
        self._broken: str | None = None

    def write(self, topic: str, value: bytes, stored: Callable[[str | None], None], **message: Any) -> None:
        """Write a message. `stored` gets `None`, or the error, during this call or a later `poll`."""
        self._written += 1
        number = self._written
        before = self._acknowledged
        self._pending[number] = stored

        def told(error: KafkaError | None, _: Message) -> None:
            if error is None:
                self._acknowledged += 1
            elif is_fatal(error) or (error.name() == "_MSG_TIMED_OUT" and self._acknowledged == before):
                self._broken = readable(error.str())
            self._tell(number, None if error is None else readable(error.str()))

        try:
            if self._producer is None:
                self._producer = self._made()
            self._producer.produce(topic, value, on_delivery=told, **message)
        except BufferError as error:
            self._tell(number, readable(str(error)))
        except Exception as error:  # noqa: BLE001 - a fatal error comes as one of several
            self._broken = readable(text_of(error))
            self._replace_broken()

    def poll(self) -> None:
        """Let librdkafka tell of what was stored."""
        if self._producer is None:
            return
        try:
            self._producer.poll(0)
        except Exception as error:  # noqa: BLE001 - as above
            self._broken = readable(text_of(error))
        self._replace_broken()

    def close(self) -> None:
        """Wait a moment for what was not stored yet."""
        if self._producer is not None:
            try:
                self._producer.flush(_FLUSH)
            except Exception as error:  # noqa: BLE001 - as above
                self._log.warn(f"{self._what} flush", f"Kafka, for {self._what}: {readable(text_of(error))}")

    def _tell(self, number: int, error: str | None) -> None:
        if (stored := self._pending.pop(number, None)) is not None:
            stored(error)

    def _replace_broken(self) -> None:
        """Make another producer for the next message; those that this one has are to be written again."""
        why, self._broken = self._broken, None
        if why is None:
            return
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                # Only this tells the reason; `produce` and reports say that there is one.
                producer.poll(0)
            except Exception as error:  # noqa: BLE001 - a fatal error, of any class
                why = readable(text_of(error))
            self._broken = None
            with suppress(Exception):
                producer.purge(blocking=False)
        self._log.warn(f"{self._what} broken", f"Kafka, for {self._what}: another producer is made: {why}")
        for number in list(self._pending):
            self._tell(number, why)

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
