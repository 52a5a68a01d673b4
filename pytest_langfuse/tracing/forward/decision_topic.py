"""Decisions about traces in a compacted topic, from where the next owner of a partition reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from pytest_langfuse.tracing.forward.kafka_producer import KafkaProducer
from pytest_langfuse.tracing.forward.queue_source import SourceFailed
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.log_text import readable
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.sampling import SamplingDecision

if TYPE_CHECKING:
    from confluent_kafka import Consumer

#: So many decisions of a partition are remembered, and read back.
MOST_DECISIONS = 100_000
#: Decisions are for spans that come late; older ones need not be kept.
_KEPT_MILLISECONDS = 24 * 3600 * 1000
#: For a question that the broker answers, and for reading decisions back (seconds).
_ANSWER, _READ = 5.0, 20.0
_MOST_AT_ONCE = 10_000


class DecisionStore(Protocol):
    """Keeps decisions over the end of a process."""

    def write(
        self, partition: int, trace: str, decision: SamplingDecision, stored: Callable[[str | None], None]
    ) -> None:
        """Store a decision. `stored` gets `None`, or the error, during this call or a later `poll`."""

    def read(self, partitions: Iterable[int]) -> Mapping[int, Mapping[str, SamplingDecision]]:
        """Return the latest decisions of partitions, the oldest first.

        Raises:
            SourceFailed: They can't be read.
        """

    def poll(self) -> None:
        """Tell of what was stored."""

    def close(self) -> None:
        """Release what it holds."""


class DecisionTopic:
    """The topic `TOPIC.decisions`: decisions about the traces of a partition are in that of the same number."""

    def __init__(self, topic: str, connection: Mapping[str, Any], group: str, log: RepeatedLog) -> None:
        self._source, self.topic, self._connection = topic, f"{topic}.decisions", connection
        self._group, self._log = f"{group}.decisions", log
        self._producer = KafkaProducer(connection, log, "decisions")

    def write(
        self, partition: int, trace: str, decision: SamplingDecision, stored: Callable[[str | None], None]
    ) -> None:
        """See `DecisionStore`."""
        value = json.dumps(decision._asdict(), separators=(",", ":")).encode()
        self._producer.write(self.topic, value, stored, key=trace.encode(), partition=partition)

    def poll(self) -> None:
        """See `DecisionStore`."""
        self._producer.poll()

    def close(self) -> None:
        """See `DecisionStore`."""
        self._producer.close()

    def read(self, partitions: Iterable[int]) -> Mapping[int, Mapping[str, SamplingDecision]]:
        """See `DecisionStore`. Makes the topic if it is not there, or has fewer partitions than the other."""
        from confluent_kafka import KafkaException

        try:
            self._provide()
            return self._latest(partitions)
        except KafkaException as error:
            inner: Any = error.args[0]
            raise SourceFailed(
                f"the topic {self.topic!r} can't be used: {readable(inner.str())}. Fix: create it with the partitions "
                f"of {self._source!r} and cleanup.policy=compact,delete, and allow this user to read and write it"
            ) from None

    def _provide(self) -> None:
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewPartitions, NewTopic

        # Referenced until its futures are done: else they fail.
        admin = AdminClient(dict(self._connection), logger=self._log.librdkafka)
        topics = admin.list_topics(timeout=_ANSWER).topics
        partitions = topics[self._source].partitions
        found = topics.get(self.topic)
        if found is None or found.error is not None:
            topic = NewTopic(
                self.topic,
                num_partitions=len(partitions),
                replication_factor=len(partitions[0].replicas),
                config={"cleanup.policy": "compact,delete", "retention.ms": str(_KEPT_MILLISECONDS)},
            )
            self._wait_for(admin.create_topics([topic])[self.topic])
        elif len(found.partitions) < len(partitions):
            self._wait_for(admin.create_partitions([NewPartitions(self.topic, len(partitions))])[self.topic])

    def _wait_for(self, future: Any) -> None:
        from confluent_kafka import KafkaError, KafkaException

        try:
            future.result(timeout=_ANSWER)
        except KafkaException as error:
            inner: Any = error.args[0]
            # Another forwarder was first.
            if inner.code() not in {KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.INVALID_PARTITIONS}:
                raise

    def _latest(self, partitions: Iterable[int]) -> dict[int, dict[str, SamplingDecision]]:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {
                **self._connection,
                "group.id": self._group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "logger": self._log.librdkafka,
            }
        )
        decisions: dict[int, dict[str, SamplingDecision]] = {number: {} for number in partitions}
        try:
            starts = []
            for number in decisions:
                bounds: Any = consumer.get_watermark_offsets(TopicPartition(self.topic, number), timeout=_ANSWER)
                low, high = bounds
                starts.append(TopicPartition(self.topic, number, max(low, high - MOST_DECISIONS)))
            consumer.assign(starts)
            self._read_to_the_end(consumer, decisions)
        finally:
            consumer.close()
        return decisions

    def _read_to_the_end(self, consumer: Consumer, found: dict[int, dict[str, SamplingDecision]]) -> None:
        from confluent_kafka import KafkaError

        until, left = now() + _READ, set(found)
        while left:
            if now() > until:
                raise SourceFailed(f"the topic {self.topic!r} was not read within {_READ:.0f} s")
            for message in consumer.consume(_MOST_AT_ONCE, 0.1):
                number: Any = message.partition()
                if (error := message.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - that is its public name
                        left.discard(number)
                    continue
                key = message.key()
                if (decision := _decision(message.value())) is not None and isinstance(key, bytes):
                    found[number][key.decode("ascii", "replace")] = decision


def _decision(value: bytes | str | None) -> SamplingDecision | None:
    try:
        return SamplingDecision(**json.loads(value or b""))
    except (ValueError, TypeError, RecursionError):
        return None
