"""A span in one neutral form, whether it came from memory or from an export body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_langfuse import arguments
from pytest_langfuse.lazy import exported_by

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_FIRST_ENCODER_OF_NONE: Final = (1, 43)
_INT64_MIN: Final = -(1 << 63)
_INT64_MAX: Final = (1 << 63) - 1
_STATUS: Final[Mapping[int, Literal["UNSET", "OK", "ERROR"]]] = {0: "UNSET", 1: "OK", 2: "ERROR"}
#: A process has one resource and a scope a library; a test-suite that makes many must not fill the memory.
_MAX_KNOWN: Final = 128


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """A span event (`exception` is the one that matters here).

    `listed`: it came as OTLP/JSON with a list of attributes, which may be empty. Protobuf leaves an empty one out.
    """

    name: str
    attributes: Mapping[str, Any]
    listed: bool = False


@exported_by("pytest_langfuse.recording")
@dataclass(slots=True, eq=False)
class SpanRecord:
    """The parts of a span that the server's view is made from. Times are nanoseconds since 1970.

    Attribute values are what the wire carries: `str`, `bool`, `int`, `float`, `bytes`, `None`, lists of these and
    dicts of these. `start_ns` is 0 where the start is not known, `end_ns` is `None` while the span runs.
    """

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    start_ns: int = 0
    end_ns: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, Any] = field(default_factory=dict)
    scope_name: str = ""
    scope_version: str | None = None
    scope_attributes: Mapping[str, Any] = field(default_factory=dict)
    status: Literal["UNSET", "OK", "ERROR"] = "UNSET"
    status_message: str | None = None
    events: Sequence[SpanEvent] = ()
    raw: object = None
    #: The server reads a few values (an empty list, NaN) differently when they come as OTLP/JSON.
    wire: Literal["protobuf", "json"] = "protobuf"
    #: Why Langfuse fails to convert the span, and so loses all of the export; `None` for nearly all spans.
    unconvertible: str | None = None
    #: The name of the thread in which a span of this process started.
    thread: str | None = None
    #: The number of attributes that the span had no room for (OpenTelemetry's limit of 128).
    dropped_attributes: int = 0

    def is_incomplete(self) -> bool:
        """Return whether the span had something that it dropped, or that its exporter can't encode."""
        return self.dropped_attributes > 0

    def left_out(self) -> Sequence[str]:
        """Return the keys of attributes that the span or an event of it has and its exporter does not send."""
        return ()

    def unencodable_part(self) -> Literal["name", "status message", "event"] | None:
        """Return the part, if there is one, for which an exporter loses all that it sends together with the span."""
        return None


def from_readable_span(span: ReadableSpan, thread: str | None = None) -> SpanRecord:
    """Return what an exporter would send of `span`, which started in the thread of that name.

    What an ended span holds is read when it is first asked for; of a span that still runs, everything is copied now.

    Values that the protobuf encoder refuses are missing, as they are from the export body: a string with lone
    surrogates, an integer of more than 64 bits, a list that holds one of these (opentelemetry-exporter-otlp-proto-
    common: `_encode_attributes` logs the error and drops the attribute).

    Raises:
        TypeError: `span` is not a span of the SDK.
    """
    __tracebackhide__ = True
    try:
        context = span.get_span_context()  # type: ignore[no-untyped-call, unused-ignore]
    except AttributeError:
        arguments.refuse("from_readable_span", "span", span, "a span of OpenTelemetry's SDK")
    parent = span.parent
    # Not by the constructor, which would set all fields.
    record: _RecordOfSpan = object.__new__(_RecordOfSpan)
    record.trace_id = f"{context.trace_id:032x}" if context is not None else "0" * 32
    record.span_id = f"{context.span_id:016x}" if context is not None else "0" * 16
    record.parent_span_id = f"{parent.span_id:016x}" if parent is not None else None
    record.name = span.name
    record.start_ns = span.start_time or 0
    record.end_ns = span.end_time
    scope = span.instrumentation_scope
    record.scope_name = scope.name if scope is not None else ""
    record.scope_version = (scope.version or None) if scope is not None else None
    if not span.events:
        record.events = ()
    record.unconvertible = None
    record.wire = "protobuf"
    record.raw = span
    record.thread = thread
    if record.end_ns is None:
        for name in _READERS:
            getattr(record, name)
    return record


class _RecordOfSpan(SpanRecord):
    """The record of a span of this process: a slot that is not set yet is read from the span."""

    __slots__ = ()

    raw: ReadableSpan

    def __getattr__(self, name: str) -> Any:
        read = _READERS.get(name)
        if read is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        value = read(self.raw)
        setattr(self, name, value)
        return value

    def is_incomplete(self) -> bool:
        span = self.raw
        if span.dropped_attributes or len(span.attributes or ()) != len(self.attributes):
            return True
        message = span.status.description
        if self.events or not (span.name.isascii() and (message is None or message.isascii())):
            return bool(self.unencodable_part() or self.left_out())
        return False

    def left_out(self) -> Sequence[str]:
        left_out = [key for key in self.raw.attributes or () if key not in self.attributes]
        for had, sent in zip(self.raw.events, self.events, strict=True):
            left_out += [key for key in had.attributes or () if key not in sent.attributes]
        return left_out

    def unencodable_part(self) -> Literal["name", "status message", "event"] | None:
        if not _is_utf8(self.name):
            return "name"
        if self.status_message is not None and not _is_utf8(self.status_message):
            return "status message"
        return None if all(_is_utf8(event.name) for event in self.events) else "event"


_READERS: Final[Mapping[str, Callable[[ReadableSpan], Any]]] = {
    "attributes": lambda span: encodable(attributes_of(span)),
    "resource": lambda span: _shared(span.resource),
    "scope_attributes": lambda span: (
        _shared(span.instrumentation_scope) if span.instrumentation_scope is not None else {}
    ),
    "status": lambda span: _STATUS[span.status.status_code.value],
    "status_message": lambda span: span.status.description or None,
    "dropped_attributes": lambda span: span.dropped_attributes,
    "events": lambda span: tuple(SpanEvent(event.name, encodable(event.attributes or {})) for event in span.events),
}


def encodable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that survive protobuf encoding, with sequences as lists."""
    kept: dict[str, Any] = {}
    for key, value in attributes.items():
        kind = type(value)
        if kind is bool or (kind is str and value.isascii()):
            if key.isascii() or _is_utf8(key):
                kept[key] = value
            continue
        try:
            sent = [_encoded(item) for item in value] if kind is tuple else _encoded(value)
        except ValueError:
            continue
        if _is_utf8(key):
            kept[key] = sent
    return kept


def _encoded(value: Any) -> Any:
    """Return `value` after a round trip through an OTLP `AnyValue`. Raise `ValueError` if it has no encoding."""
    if isinstance(value, str):
        # An enum member that is a string, too, travels as its value.
        text = value if type(value) is str else str.__str__(value)
        if not _is_utf8(text):
            raise ValueError(text)
        return text
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_encoded(item) for item in value]
    if isinstance(value, Mapping):
        return {_encoded(str(key)): _encoded(item) for key, item in value.items()}
    return _encoded_scalar(value)


def _encoded_scalar(value: Any) -> Any:
    if isinstance(value, bool) or (value is None and _encoder_takes_none()):
        return value
    if isinstance(value, int) and _INT64_MIN <= value <= _INT64_MAX:
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        return bytes(value)
    raise ValueError(value)


@lru_cache(maxsize=1)
def _encoder_takes_none() -> bool:
    """Return whether the encoder takes `None` in a list: before 1.43 it dropped the whole attribute."""
    major, minor = version("opentelemetry-exporter-otlp-proto-common").split(".")[:2]
    return (int(major), int(minor)) >= _FIRST_ENCODER_OF_NONE


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    """Return a snapshot of what the app has set, taken in one step if the SDK's mapping can: it may be setting more."""
    attributes = span.attributes
    if not attributes:
        return {}
    try:
        copied: Mapping[str, Any] = attributes.copy()  # type: ignore[attr-defined]
    except AttributeError:
        copied = dict(attributes)
    return copied


def _shared(owner: Resource | InstrumentationScope) -> Mapping[str, Any]:
    """Return the attributes of a resource or scope, converted once for all spans that share it."""
    known = _known.get(id(owner))
    if known is not None and known[0] is owner:
        return known[1]
    if len(_known) >= _MAX_KNOWN:
        _known.clear()
    attributes = encodable(owner.attributes or {})
    _known[id(owner)] = (owner, attributes)
    return attributes


_known: dict[int, tuple[object, Mapping[str, Any]]] = {}
