"""Exports that Langfuse accepts and then loses.

It converts an export after it has answered the request. If its code throws at one value, the whole export is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_langfuse.recording.server_view import ingested_events
from pytest_langfuse.recording.server_view.attributes import as_ingested, of_frameworks
from pytest_langfuse.recording.server_view.input_output import input_output
from pytest_langfuse.recording.server_view.messages import CONTENT_EVENTS
from pytest_langfuse.recording.server_view.types import NAMED_TYPES, observation_type
from pytest_langfuse.recording.server_view.unconvertible import OBJECT_MEMBERS, UnconvertibleError
from pytest_langfuse.recording.span_record import SpanRecord

_NAMES_OF_TYPES: Final = frozenset(key for key, _ in NAMED_TYPES)
_OPERATIONS: Final = frozenset(("operation.name", "ai.operationId"))
_MESSAGES: Final = ("gen_ai.prompt", "gen_ai.completion", "llm.input_messages", "llm.output_messages")


class LostRecord(NamedTuple):
    """A span that Langfuse accepts and then loses, and why."""

    record: SpanRecord
    reason: str


def split(exports: Iterable[Sequence[SpanRecord]]) -> tuple[list[SpanRecord], list[LostRecord]]:
    """Return the spans that Langfuse shows of some exports, and those that it loses."""
    shown: list[SpanRecord] = []
    lost: list[LostRecord] = []
    for records in exports:
        why = next((f"{why}, in span {record.name!r}" for record in records if (why := unconvertible(record))), None)
        if why is None:
            shown += records
        else:
            reason = f"Langfuse accepts its export and then loses it: {why}"
            lost += (LostRecord(record, reason) for record in records)
    return shown, lost


def unconvertible(record: SpanRecord) -> str | None:
    """Return why Langfuse fails to convert a span; `None` for nearly all spans."""
    if record.unconvertible is not None:
        return record.unconvertible
    contents = (event.attributes for event in record.events if event.name in CONTENT_EVENTS)
    if not is_suspect(record.attributes) and not any(map(is_suspect, contents)):
        return None
    attributes = as_ingested(record.attributes, record.wire)
    resource, scope = as_ingested(record.resource, record.wire), record.scope_name
    try:
        observation_type(attributes, resource, scope, record.scope_version, record.name)
        input_output(attributes, of_frameworks(attributes), ingested_events(record), scope)
    except UnconvertibleError as error:
        return str(error)
    return None


def is_suspect(attributes: Mapping[str, Any]) -> bool:
    """Return whether a span with these attributes has to be looked at: fast, and false for nearly all spans."""
    for key, value in attributes.items():
        if key in _NAMES_OF_TYPES:
            if not isinstance(value, str) or value in OBJECT_MEMBERS:
                return True
        elif key in _OPERATIONS:
            if not isinstance(value, str):
                return True
        elif key == "events" or key.startswith(_MESSAGES):
            return True
    return False
