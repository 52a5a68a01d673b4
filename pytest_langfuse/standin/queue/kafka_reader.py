"""Reads back what arrived at a Kafka broker."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from pytest_langfuse.standin.queue.queued_message import QueuedMessage

_OPTIONS: Final = {
    "group.id": "pytest-langfuse",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 10,
    # An outage is over at once.
    "reconnect.backoff.ms": 10,
    "reconnect.backoff.max.ms": 50,
}
#: Topics of brokers themselves.
_INTERNAL: Final = "__"


class _Silent:
    """Takes librdkafka's log, which has a line for each attempt to connect."""

    def log(self, *_: object) -> None:
        """Drop a line."""


class KafkaReader:
    """Reads every message of every topic once, as a consumer of no group. Not thread-safe."""

    def __init__(self, brokers: str) -> None:
        from confluent_kafka import cimpl

        self._api: Any = cimpl
        self._consumer: Any = cimpl.Consumer({**_OPTIONS, "bootstrap.servers": brokers, "logger": _Silent()})
        #: The offset to read next, by topic and partition.
        self._next: dict[tuple[str, int], int] = {}

    def read(self, timeout: float) -> list[QueuedMessage]:
        """Return what arrived since the last call, in order; less if there is no answer for `timeout` seconds."""
        end = time.monotonic() + timeout
        try:
            topics = self._consumer.list_topics(timeout=timeout).topics
        except self._api.KafkaException:
            return []
        open_partitions = {
            (name, partition)
            for name, topic in topics.items()
            if not name.startswith(_INTERNAL)
            for partition in topic.partitions
        }
        if not open_partitions:
            return []
        self._consumer.assign([self._api.TopicPartition(*place, self._next.get(place, 0)) for place in open_partitions])
        found = []
        try:
            while open_partitions and (left := end - time.monotonic()) > 0:
                message = self._consumer.poll(left)
                if message is None:
                    break
                place = message.topic(), message.partition()
                if message.error() is None:
                    self._next[place] = message.offset() + 1
                    found.append(message)
                elif message.error().code() == self._api.KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    open_partitions.discard(place)
        finally:
            self._consumer.unassign()
        found.sort(key=lambda message: (message.timestamp()[1], message.topic(), message.partition(), message.offset()))
        return [_message(message) for message in found]

    def held(self, timeout: float) -> list[tuple[str, int]] | None:
        """Return the partitions that hold messages, by topic and number; `None` without an answer in time."""
        found = []
        try:
            for name, topic in self._consumer.list_topics(timeout=timeout).topics.items():
                for partition in () if name.startswith(_INTERNAL) else topic.partitions:
                    place = self._api.TopicPartition(name, partition)
                    first, end = self._consumer.get_watermark_offsets(place, timeout=timeout)
                    if first < end:
                        found.append((name, partition))
        except (self._api.KafkaException, TypeError):
            # It returns `None` where the time is over.
            return None
        return found

    def skip(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Go on at these offsets."""
        self._next.update(offsets)

    def close(self) -> None:
        """End its threads."""
        self._consumer.close()


def _message(message: Any) -> QueuedMessage:
    headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers() or ()}
    key = (message.key() or b"").decode(errors="replace")
    return QueuedMessage(key, message.value() or b"", headers, message.topic(), message.partition())
