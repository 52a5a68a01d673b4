"""Messages of SQS: an export body in Base64 with the attributes that the forwarder reads, and batches of them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

#: Bytes of a message, and of all messages of a batch together, with their attributes (SQS, "Message quotas").
MOST_BYTES: Final = 1024 * 1024
#: Bodies are joined up to here: queues made before August 2025 take no larger message, and others cost no less.
USUAL_BYTES: Final = 256 * 1024
#: Messages of a batch.
_MOST_MESSAGES: Final = 10
_TYPE: Final = "String"

PUBLIC_KEY: Final = "x-langfuse-public-key"
#: The kind of a message that has no spans.
KIND: Final = "x-langfuse-type"


class SqsMessage(NamedTuple):
    """A message that is to be sent, and which of the sender's bodies are in it."""

    text: str
    attributes: Mapping[str, str]
    size: int
    bodies: tuple[int, ...]
    #: Of a FIFO queue.
    group: str = ""
    deduplication: str = ""

    def entry(self, number: int) -> dict[str, Any]:
        """Return it as an entry of `SendMessageBatch`."""
        fifo = {"MessageGroupId": self.group, "MessageDeduplicationId": self.deduplication} if self.group else {}
        return {
            "Id": str(number),
            "MessageBody": self.text,
            "MessageAttributes": {
                name: {"DataType": _TYPE, "StringValue": value} for name, value in self.attributes.items()
            },
            **fifo,
        }


def message(
    data: bytes, attributes: Mapping[str, str], bodies: Sequence[int] = (), *, fifo: bool = False, trace: str = ""
) -> SqsMessage:
    """Return a message; on a FIFO queue in the group of its trace, and deduplicated by its content."""
    text = base64.b64encode(data).decode("ascii")
    digest = hashlib.sha256(data).hexdigest() if fifo else ""
    size = len(text) + attributes_size(attributes)
    return SqsMessage(text, attributes, size, tuple(bodies), (trace or digest) if fifo else "", digest)


def attributes_size(attributes: Mapping[str, str]) -> int:
    """Return the bytes of attributes that count: names, types and values."""
    return sum(len(name) + len(_TYPE) + len(value.encode()) for name, value in attributes.items())


def room_for_data(attributes: Mapping[str, str], size: int) -> int:
    """Return how many bytes may be in a message of `size` bytes beside its attributes."""
    return max(size - attributes_size(attributes), 0) // 4 * 3


def joined(lengths: Iterable[int], room: int) -> Iterator[list[int]]:
    """Yield the positions of neighbours that have `room` in one message together; a larger one stays alone."""
    together: list[int] = []
    used = 0
    for position, length in enumerate(lengths):
        if together and used + length > room:
            yield together
            together, used = [], 0
        together.append(position)
        used += length
    if together:
        yield together


def batches(messages: Iterable[SqsMessage]) -> Iterator[list[SqsMessage]]:
    """Yield what one request may send: ten messages, within the limit on their sum."""
    batch: list[SqsMessage] = []
    size = 0
    for one in messages:
        if batch and (len(batch) == _MOST_MESSAGES or size + one.size > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.size
    if batch:
        yield batch
