"""Values that OpenTelemetry's protocol has a form for, in place of those that it has none for.

Texts have to be UTF-8, and integers have to fit into 64 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status

from pytest_langfuse.tracing.failures import failures

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_INT64 = range(-(1 << 63), 1 << 63)


def sendable_span(span: ReadableSpan) -> ReadableSpan:
    """Return a copy of a span that has only values which can be sent; it has no counts of what limits have dropped."""
    status = span.status
    return ReadableSpan(
        name=sendable_text(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=sendable_attributes(span.attributes),
        events=[
            Event(sendable_text(event.name), sendable_attributes(event.attributes), event.timestamp)
            for event in span.events
        ],
        links=[Link(link.context, sendable_attributes(link.attributes)) for link in span.links],
        kind=span.kind,
        status=Status(status.status_code, sendable_text(status.description)) if status.description else status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def sendable_attributes(attributes: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Return a copy of the attributes with keys and values that can be sent, as many as there are."""
    copied: dict[str, Any] = {}
    for key, value in (attributes or {}).items():
        name = sendable_text(str(key))
        while name in copied:
            name += _REPLACEMENT
        copied[name] = _sendable_value(value)
    return copied


def _sendable_value(value: Any) -> Any:
    """Return a value of the types that can be sent, with the same content; as a text if there is no such type."""
    if value is None or isinstance(value, bool | float | bytes):
        return value
    if isinstance(value, int):
        return _sendable_integer(value)
    if isinstance(value, Mapping):
        return sendable_attributes(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_sendable_value(item) for item in value]
    return sendable_text(value if isinstance(value, str) else str(value))


def _sendable_integer(value: int) -> int | str:
    if value in _INT64:
        return int(value)
    failures.say_once("Integers of more than 64 bits are sent as text.")
    try:
        return str(int(value))
    except ValueError:
        # Python makes no decimals of one that is so long (`sys.set_int_max_str_digits`).
        return hex(value)


def sendable_text(text: str) -> str:
    """Return a text as it is, or with U+FFFD in place of each surrogate that is not part of a pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        failures.say_once(
            "Text that is not Unicode (it has lone surrogates, as a text has that was cut inside of an emoji) is sent "
            "with U+FFFD in their place."
        )
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return str.__str__(text)
