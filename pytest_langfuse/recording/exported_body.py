"""The bodies in which observations are exported: what they hold, and how large they are on the wire."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_langfuse.recording.encoded_spans import encoded
from pytest_langfuse.recording.span_record import attributes_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

#: More bytes than a span and an attribute take beside their texts, and than a body takes beside its spans.
_OF_SPAN: Final = 256
_OF_ATTRIBUTE: Final = 24
_OF_BODY: Final = 4_096
_SIZED: Final = (str, bytes)
#: Bytes that UTF-8 needs for a character at most.
_OF_CHARACTER: Final = 4


class Encoding(NamedTuple):
    """The way in which an exporter encodes a batch."""

    is_compressed: bool
    #: The bytes, before compression, above which the exporter drops a batch as a whole.
    largest: int | None = None
    #: Whether it sends a large batch in several bodies.
    splits: bool = False


@dataclass(frozen=True)
class ExportedBody:
    """Spans that an exporter has put, or would put, into one body."""

    spans: Sequence[ReadableSpan]
    encoding: Encoding

    def parts(self) -> Iterator[ExportedBody]:
        """Yield the bodies that can't be smaller: this one, or one a span where the exporter splits."""
        if not self.encoding.splits:
            yield self
            return
        for span in self.spans:
            yield ExportedBody([span], self.encoding)

    def may_exceed(self, size: float) -> bool:
        """Return whether the body may have more than `size` bytes: false for most, without encoding it."""
        most = _OF_BODY
        for span in self.spans:
            most += size_at_most(span)
            if most > size:
                return True
        return False

    @cached_property
    def _encoded(self) -> bytes:
        return encoded(self.spans)

    @property
    def uncompressed(self) -> int:
        """The bytes of the body before compression."""
        return len(self._encoded)

    @cached_property
    def size(self) -> int:
        """The bytes of the body on the wire."""
        return len(zlib.compress(self._encoded)) if self.encoding.is_compressed else len(self._encoded)


def size_at_most(span: ReadableSpan) -> int:
    """Return a number of bytes that an encoded span does not exceed by much, fast."""
    most = _OF_SPAN + _OF_CHARACTER * len(span.name) + _of_attributes(attributes_of(span))
    for event in span.events:
        most += _OF_SPAN + _of_attributes(event.attributes or {})
    return most


def _of_attributes(attributes: Mapping[str, Any]) -> int:
    most = _OF_ATTRIBUTE * len(attributes) + _OF_CHARACTER * sum(map(len, attributes))
    for value in attributes.values():
        kind = type(value)
        if kind is str:
            most += len(value) if value.isascii() else _OF_CHARACTER * len(value)
        elif kind is bytes:
            most += len(value)
        elif kind is tuple or kind is list:
            most += sum([_OF_ATTRIBUTE + _OF_CHARACTER * len(item) for item in value if type(item) in _SIZED])
    return most
