"""What Langfuse makes of a span: the rules of its ingestion and of its read side, in the server's order.

Written after the Langfuse server of August 2026, for its `events` tables ("v4"). `docs/server-view.md` says in plain
words what surprises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.server_view import fields
from pytest_langfuse.recording.server_view.attributes import as_ingested, of_frameworks
from pytest_langfuse.recording.server_view.input_output import input_output
from pytest_langfuse.recording.server_view.javascript import parse_json_or_text
from pytest_langfuse.recording.server_view.metadata import shown_metadata, stored_metadata
from pytest_langfuse.recording.server_view.parameters import model_parameters
from pytest_langfuse.recording.server_view.tools import move_tools
from pytest_langfuse.recording.server_view.types import observation_type
from pytest_langfuse.recording.server_view.usage import cost, usage
from pytest_langfuse.recording.span_record import SpanEvent, SpanRecord

__all__ = ["observe"]

_NS_PER_MS: Final = 1_000_000
#: Aggregates that repeat those of the model calls below; Langfuse takes no model, usage or cost from these spans.
_AGENT_OPERATIONS: Final = ("invoke_agent", "agent_step")


def observe(record: SpanRecord) -> Observation:
    """The observation that Langfuse shows for a span. `parent` and `children` are left for `link`."""
    attributes = as_ingested(record.attributes, record.wire)
    resource = as_ingested(record.resource, record.wire)
    frameworks = of_frameworks(attributes)
    scope = record.scope_name
    kind = observation_type(attributes, resource, scope, record.scope_version, record.name)
    given, answered = input_output(attributes, frameworks, _ingested_events(record), scope)
    stored = stored_metadata(attributes, foreign=not scope.startswith("langfuse-sdk"))
    if stored:
        given, stored = move_tools(given, stored)
    is_agent_operation = frameworks.get("gen_ai.operation.name") in _AGENT_OPERATIONS
    prompt_name, prompt_version = fields.prompt(attributes) if kind == "generation" else (None, None)
    app_root = attributes.get("langfuse.internal.is_app_root")
    is_app_root = app_root is True or app_root == "true"
    return Observation(
        id=record.span_id,
        trace_id=record.trace_id,
        parent_id=record.parent_span_id,
        name=fields.name(frameworks, record.name),
        type=kind,
        level=fields.level(attributes, record.status, scope, record.name),
        status_message=fields.text_or_none(
            _first(attributes.get("langfuse.observation.status_message"), record.status_message)
        ),
        input=_read(given),
        output=_read(answered),
        metadata=shown_metadata(stored) if stored else {},
        model=None if is_agent_operation else fields.model(attributes, frameworks),
        model_parameters=model_parameters(attributes, frameworks, scope),
        usage={} if is_agent_operation else usage(attributes, frameworks, scope),
        cost={} if is_agent_operation else cost(attributes, frameworks),
        prompt_name=prompt_name,
        prompt_version=prompt_version,
        user_id=fields.user_id(attributes),
        session_id=fields.session_id(attributes),
        tags=fields.tags(attributes),
        environment=fields.environment(attributes, resource),
        version=_own_or_resource(attributes, "langfuse.version", resource, "service.version"),
        release=_own_or_resource(attributes, "langfuse.release", resource, "langfuse.release"),
        trace_name=fields.text_or_none(attributes.get("langfuse.trace.name")) or None,
        is_root=not record.parent_span_id or is_app_root,
        is_app_root=is_app_root,
        start_time=_time(record.start_ns),
        end_time=_time(record.end_ns),
        record=record,
    )


def _ingested_events(record: SpanRecord) -> Sequence[SpanEvent]:
    return record.events and [
        SpanEvent(event.name, as_ingested(event.attributes, record.wire)) for event in record.events
    ]


def _read(value: Any) -> Any:
    """Input and output are stored as text and read as JSON where they are JSON: "12" and 12 look the same."""
    return parse_json_or_text(value) if isinstance(value, str) else value


def _own_or_resource(attributes: Mapping[str, Any], key: str, resource: Mapping[str, Any], fallback: str) -> str | None:
    return fields.text_or_none(_first(attributes.get(key), resource.get(fallback)))


def _first(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _time(nanoseconds: int | None) -> datetime | None:
    """Langfuse keeps milliseconds."""
    # A double holds them exactly enough to be rounded to the microsecond.
    return datetime.fromtimestamp(nanoseconds // _NS_PER_MS / 1000, UTC) if nanoseconds else None
