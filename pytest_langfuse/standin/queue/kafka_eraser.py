"""Deletes the messages at librdkafka's mock cluster, which has no request for that."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

#: A partition of the mock cluster holds 5 MB: a larger message pushes all others out, and the next one pushes it out.
#: The one that pushes out all has an offset before the first that can be read.
_FILLERS: Final = (5 * 1024 * 1024 + 1, 1)
_OPTIONS: Final = {
    "message.max.bytes": 2 * _FILLERS[0],
    "compression.type": "none",
    "linger.ms": 0,
    "log_level": 0,
}


def erase(brokers: str, places: Collection[tuple[str, int]], timeout: float) -> dict[tuple[str, int], int]:
    """Empty partitions, by topic and number, and return the next offset of each that took what empties it."""
    from confluent_kafka import cimpl

    found: dict[tuple[str, int], int] = {}

    def note(error: object, message: Any) -> None:
        if error is None and len(message.value()) == _FILLERS[-1]:
            found[message.topic(), message.partition()] = message.offset() + 1

    # Made anew each time: one that a forked child inherits could not be destroyed there.
    producer: Any = cimpl.Producer({**_OPTIONS, "bootstrap.servers": brokers})
    for size in _FILLERS:
        filler = bytes(size)
        for topic, partition in places:
            producer.produce(topic, value=filler, partition=partition, on_delivery=note)
        producer.flush(timeout)
    return found
