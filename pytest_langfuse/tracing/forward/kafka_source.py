"""A Kafka topic as the forwarder's queue, through a consumer group."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_langfuse.tracing.forward.kafka_contact import STATISTICS, KafkaContact
from pytest_langfuse.tracing.forward.kafka_dead_letters import KafkaDeadLetters
from pytest_langfuse.tracing.forward.queue_source import (
    PUBLIC_KEY_HEADER,
    SPANS,
    TYPE_HEADER,
    AssignedPartition,
    AssignmentWatcher,
    DeadLetter,
    QueueMessage,
    SourceFailed,
)
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.log_text import readable
from pytest_langfuse.tracing.queue.kafka_errors import is_fatal

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

#: A killed process keeps its partitions for so long: librdkafka's default is 45 s.
_SESSION = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1500}
#: What librdkafka reads ahead, beside the forwarder's own bound: its default is 64 MiB.
_AHEAD_KILOBYTES = 16 * 1024
#: When that is reached, librdkafka fetches no more for a second, by default.
_FETCH_AGAIN_MILLISECONDS = 10
#: To find a topic, or partitions, that came later.
_METADATA_MILLISECONDS = 10_000
#: For a question that the broker answers (seconds).
_ANSWER = 5.0

#: What the guarantees rest on, or what has an option of the command.
RESERVED_OPTIONS = frozenset(
    {
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.partition.eof",
        "group.id",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "statistics.interval.ms",
    }
)


class KafkaSource:
    """See `QueueSource`. `options` are librdkafka's, for TLS and SASL above all.

    `once`: `at_end` becomes true. `joins=False` reads from where the group stands, without being a member of it: nobody
    loses partitions to it, and nothing can be committed.

    Raises:
        SourceFailed: librdkafka refuses the options.
    """

    def __init__(
        self,
        *,
        brokers: str,
        topic: str,
        group: str,
        options: Mapping[str, Any],
        once: bool = False,
        joins: bool = True,
    ) -> None:
        from confluent_kafka import Consumer, KafkaException

        self.name = f"kafka://{brokers}/{topic}?group={group}"
        self._topic, self._once, self._joins = topic, once, joins
        self._connection = {"bootstrap.servers": brokers, **options}
        self._log = RepeatedLog()
        self._contact = KafkaContact()
        self._fatal: str | None = None
        self._assignments: dict[int, AssignedPartition] = {}
        #: By partition: where this process began, -1 for the oldest message; what was committed, or is being committed;
        #: the next position to read; the end at the start.
        self._starts: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._read: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._came = self._paused = False
        self._watcher: AssignmentWatcher | None = None
        try:
            self._consumer: Consumer = Consumer(
                {
                    **_SESSION,
                    "queued.max.messages.kbytes": _AHEAD_KILOBYTES,
                    "fetch.queue.backoff.ms": _FETCH_AGAIN_MILLISECONDS,
                    "topic.metadata.refresh.interval.ms": _METADATA_MILLISECONDS,
                    **self._connection,
                    "group.id": group,
                    "auto.offset.reset": "earliest",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "enable.partition.eof": once,
                    "statistics.interval.ms": round(STATISTICS * 1000),
                    "stats_cb": self._contact.told,
                    "error_cb": self._failed,
                    "on_commit": self._told_of_commit,
                    "logger": self._log.librdkafka,
                }
            )
        except (KafkaException, TypeError, ValueError) as error:
            raise SourceFailed(readable(_text(error))) from None
        self._dead = KafkaDeadLetters(f"{topic}.dead", self._connection, self._log)

    def start(self, watcher: AssignmentWatcher) -> None:
        """See `QueueSource`."""
        self._watcher = watcher
        if self._once or not self._joins:
            self._check_topic()
        if self._joins:
            self._consumer.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        else:
            self._take_all()

    def poll(self, most: int, timeout: float) -> list[QueueMessage]:
        """See `QueueSource`."""
        from confluent_kafka import KafkaException

        self._dead.poll()
        messages: list[QueueMessage] = []
        assignments, read = self._assignments, self._read
        try:
            consumed = self._consumer.consume(most, timeout)
        except KafkaException as failed:
            # A fatal error: no callback is told of it.
            raise SourceFailed(readable(_text(failed))) from None
        for message in consumed:
            if (error := message.error()) is not None:
                self._told_of_error(message, error)
                continue
            partition: Any = message.partition()
            position: Any = message.offset()
            assignment = assignments.get(partition)
            if assignment is None or position < read.get(partition, 0):
                # Of a partition that was revoked, or came back, during this call.
                continue
            assignment.opened(position)
            read[partition] = position + 1
            messages.append(_message(message, assignment, position))
        if self._fatal is not None:
            raise SourceFailed(self._fatal)
        return messages

    def acknowledge(self, messages: Iterable[QueueMessage]) -> None:
        """See `QueueSource`."""
        for message in messages:
            if not message.partition.revoked:
                message.partition.done(message.position)

    def commit(self, *, wait: bool) -> None:
        """See `QueueSource`."""
        from confluent_kafka import KafkaException, TopicPartition

        ends = {
            number: assignment.next
            for number, assignment in self._assignments.items()
            if assignment.next is not None and assignment.next != self._committed.get(number)
        }
        if not ends or not self._joins:
            return
        self._committed.update(ends)
        offsets = [TopicPartition(self._topic, number, end) for number, end in ends.items()]
        try:
            if wait:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._not_committed(offsets, _text(error))

    def pause(self) -> None:
        """See `QueueSource`."""
        self._paused = True
        if self._assignments:
            self._consumer.pause(self._partitions())

    def resume(self) -> None:
        """See `QueueSource`."""
        self._paused = False
        if self._assignments:
            self._consumer.resume(self._partitions())

    def bury(self, letter: DeadLetter, stored: Callable[[str | None], None]) -> None:
        """See `QueueSource`."""
        self._dead.bury(letter, stored)

    def confirm_letters(self) -> None:
        """See `QueueSource`."""
        self._dead.poll()

    def lag(self) -> int | None:
        """See `QueueSource`."""
        if not self._came:
            return None
        total = 0
        for partition in self._partitions():
            bounds: Any = self._consumer.get_watermark_offsets(partition, cached=True)
            if bounds is None or bounds[1] < 0:
                return None
            low, high = bounds
            done = self._done_to(partition.partition)
            if done is None:
                return None
            total += max(high - max(done, low), 0)
        return total

    def problems(self) -> list[str]:
        """See `QueueSource`."""
        return self._contact.problems(joined=self._came)

    def caught_up(self, partition: AssignedPartition) -> bool:
        """Return whether all of a partition was read, as far as the brokers have said."""
        from confluent_kafka import TopicPartition

        if self._assignments.get(partition.number) is not partition:
            return False
        place = TopicPartition(self._topic, partition.number)
        bounds: Any = self._consumer.get_watermark_offsets(place, cached=True)
        return bounds is not None and 0 <= bounds[1] <= self._read.get(partition.number, -1)

    def at_end(self) -> bool:
        """See `QueueSource`."""
        return self._came and all(self._read.get(number, -1) >= end for number, end in self._ends.items())

    def close(self, timeout: float) -> None:
        """See `QueueSource`."""
        # It waits for the broker, however long that takes.
        thread = threading.Thread(target=self._close, name="langfuse-forward-close", daemon=True)
        thread.start()
        thread.join(timeout)

    def _close(self) -> None:
        self._dead.close()
        self._consumer.close()

    # -- partitions --------------------------------------------------------------------------------------------

    def _check_topic(self) -> None:
        """Fail now for what would otherwise be waited for."""
        from confluent_kafka import KafkaException

        try:
            found = self._consumer.list_topics(self._topic, timeout=2 * _ANSWER).topics[self._topic]
        except KafkaException as error:
            raise SourceFailed(f"the broker can't be asked for the topic {self._topic!r}: {_text(error)}") from None
        if found.error is not None:
            raise SourceFailed(f"the topic {self._topic!r} can't be read: {found.error.str()}")

    def _take_all(self) -> None:
        from confluent_kafka import TopicPartition

        topic = self._consumer.list_topics(self._topic, timeout=_ANSWER).topics[self._topic]
        partitions = [TopicPartition(self._topic, number) for number in topic.partitions]
        self._on_assign(self._consumer, self._consumer.committed(partitions, timeout=_ANSWER))

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        came = [AssignedPartition(partition.partition) for partition in partitions]
        self._assignments.update({assignment.number: assignment for assignment in came})
        self._look_for_starts(partitions)
        if self._once:
            self._look_for_ends(partitions)
        consumer.assign(list(partitions))
        if self._paused:
            consumer.pause(list(partitions))
        self._came = True
        if self._watcher is not None:
            self._watcher.assigned(came)

    def _look_for_starts(self, partitions: Sequence[TopicPartition]) -> None:
        from confluent_kafka import KafkaException

        if not partitions:
            return
        try:
            committed = self._consumer.committed(list(partitions), timeout=_ANSWER)
        except KafkaException as error:
            # The lag is unknown until the first message comes.
            self._log.warn("starts", f"Kafka: the offsets of the group are unknown: {readable(_text(error))}")
            return
        for partition in committed:
            if partition.error is None:
                self._starts[partition.partition] = max(partition.offset, -1)

    def _look_for_ends(self, partitions: Sequence[TopicPartition]) -> None:
        from confluent_kafka import KafkaException

        for partition in partitions:
            number = partition.partition
            try:
                if number not in self._starts:
                    raise SourceFailed(f"the broker does not tell the offsets of the topic {self._topic!r}")
                bounds: Any = self._consumer.get_watermark_offsets(partition, timeout=_ANSWER)
            except KafkaException as error:
                raise SourceFailed(f"the broker can't be asked for {self._topic!r}: {readable(_text(error))}") from None
            low, high = bounds or (0, 0)
            self._ends[number] = high
            self._read[number] = max(self._starts[number], low)

    def _on_revoke(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        gone = self._gone(partitions)
        if self._watcher is not None:
            self._watcher.revoked(gone)
        self._forget(gone)

    def _on_lost(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        gone = self._gone(partitions)
        self._forget(gone)
        if self._watcher is not None:
            self._watcher.lost(gone)

    def _gone(self, partitions: Sequence[TopicPartition]) -> list[AssignedPartition]:
        numbers = [partition.partition for partition in partitions]
        return [self._assignments[number] for number in numbers if number in self._assignments]

    def _forget(self, gone: Sequence[AssignedPartition]) -> None:
        # In a rebalance all go before the new ones come: having none does not mean that there is nothing to drain.
        self._came = False
        for assignment in gone:
            assignment.revoked = True
            for known in (self._assignments, self._starts, self._committed, self._read):
                known.pop(assignment.number, None)
            # Whoever has it now drains it.
            self._ends.pop(assignment.number, None)

    def _partitions(self) -> list[TopicPartition]:
        from confluent_kafka import TopicPartition

        return [TopicPartition(self._topic, number) for number in self._assignments]

    def _done_to(self, number: int) -> int | None:
        """Return the position up to which a partition is done, -1 for the oldest message; `None` if it is unknown."""
        assignment = self._assignments[number]
        if assignment.next is not None:
            return assignment.next
        return self._starts.get(number) if assignment.oldest is None else assignment.oldest

    # -- what librdkafka tells ---------------------------------------------------------------------------------

    def _told_of_error(self, message: Message, error: KafkaError) -> None:
        from confluent_kafka import KafkaError as Codes

        if error.code() == Codes._PARTITION_EOF:  # noqa: SLF001 - that is its public name
            number = message.partition() or 0
            self._read[number] = max(self._read.get(number, 0), message.offset() or 0)
            return
        self._failed(error)

    def _failed(self, error: KafkaError) -> None:
        if is_fatal(error):
            self._fatal = readable(error.str())
        else:
            self._contact.failed(error.name(), readable(error.str()))
            self._log.warn(error.name(), f"Kafka: {readable(error.str())} ({error.name()})")

    def _told_of_commit(self, error: KafkaError | None, offsets: Sequence[TopicPartition]) -> None:
        if error is not None:
            self._not_committed(offsets, error.str())
        for offset in offsets:
            if offset.error is not None:
                self._not_committed([offset], offset.error.str())

    def _not_committed(self, offsets: Sequence[TopicPartition], why: str) -> None:
        for offset in offsets:
            if self._committed.get(offset.partition) == offset.offset:
                # With the next commit.
                del self._committed[offset.partition]
        self._log.warn("commit", f"Kafka: offsets were not committed, they are committed again: {readable(why)}")


def _message(message: Message, assignment: AssignedPartition, position: int) -> QueueMessage:
    headers: Any = message.headers() or ()
    public_key, kind = "", SPANS
    for name, value in headers:
        if name == PUBLIC_KEY_HEADER:
            public_key = (value or b"").decode("utf-8", "replace")
        elif name == TYPE_HEADER:
            kind = (value or b"").decode("utf-8", "replace")
    key: Any = message.key()
    return QueueMessage(
        message.value() or b"", key, headers, public_key, kind, assignment, position, message.timestamp()[1] / 1000
    )


def _text(error: BaseException) -> str:
    """Return what an error says; that of librdkafka is inside of its exception."""
    inner = error.args[0] if error.args else error
    return str(inner.str()) if hasattr(inner, "str") else str(error)
