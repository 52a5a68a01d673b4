"""OTLP/JSON that Langfuse refuses with status 400.

(server, 2026-08: `validateOtelSpanIds`)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

#: What is wrong with a field, and what was expected.
_EXPECTED: Final = {
    "absent": "a string",
    "not_an_id": "a string, or a list of bytes",
    "not_an_array": "a list",
}


class InvalidField(NamedTuple):
    """A field for which Langfuse refuses an export. `field` and `reason` are the server's words."""

    place: str
    field: str
    reason: str
    value: Any

    @property
    def expected(self) -> str:
        """The type that the field should have."""
        return _EXPECTED[self.reason]


def invalid_fields(resource_spans: Any) -> Iterator[InvalidField]:
    """Yield the fields for which Langfuse refuses an export with these `resourceSpans`."""
    for place, resource in _items(resource_spans, "resourceSpans"):
        yield from _not_a_list(field_of(resource, "resource"), "attributes", f"{place}.resource", "resource.attributes")
        yield from _not_a_list(resource, "scopeSpans", place, "scopeSpans")
        for here, scope in _items(field_of(resource, "scopeSpans"), f"{place}.scopeSpans"):
            yield from _not_a_list(field_of(scope, "scope"), "attributes", f"{here}.scope", "scope.attributes")
            yield from _not_a_list(scope, "spans", here, "spans")
            for span_place, span in _items(field_of(scope, "spans"), f"{here}.spans"):
                yield from _of_span(span, span_place)


def _of_span(span: Any, place: str) -> Iterator[InvalidField]:
    for name in ("traceId", "spanId", "parentSpanId"):
        value = field_of(span, name)
        if name == "parentSpanId" and (value is None or value in (False, 0, "")):
            continue
        if value is None:
            yield InvalidField(f"{place}.{name}", name, "absent", value)
        elif not isinstance(value, str) and bytes_of(value) is None:
            yield InvalidField(f"{place}.{name}", name, "not_an_id", value)
    yield from _not_a_list(span, "attributes", place, "attributes")
    yield from _not_a_list(span, "events", place, "events")
    for event_place, event in _items(field_of(span, "events"), f"{place}.events"):
        yield from _not_a_list(event, "attributes", event_place, "event.attributes")


def bytes_of(value: Any) -> list[Any] | None:
    """Return the bytes of an id that is not a string: a list, or a Node.js buffer in JSON; `None` if it is neither."""
    if isinstance(value, dict) and value.get("type") == "Buffer":
        value = value.get("data")
    return value if isinstance(value, list) else None


def field_of(value: Any, name: str) -> Any:
    """Return a field of an object; `None` if it is absent or there is no object."""
    return value.get(name) if isinstance(value, dict) else None


def _items(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield f"{place}[{index}]", item


def _not_a_list(owner: Any, name: str, place: str, field: str) -> Iterator[InvalidField]:
    value = field_of(owner, name)
    if value is not None and not isinstance(value, list):
        yield InvalidField(f"{place}.{name}", field, "not_an_array", value)
