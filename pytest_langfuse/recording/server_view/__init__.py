"""The rules by which Langfuse turns a span into an observation, at ingestion and when it is read.

Written after the Langfuse server of August 2026, for its `events` tables ("v4"). `docs/server-view.md` says in plain
words what surprises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pytest_langfuse.recording.observation import ALIASES, Observation
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
from pytest_langfuse.suggest import no_attribute

__all__ = ["observe"]

_NS_PER_MS: Final = 1_000_000
#: Aggregates that repeat those of the model calls below; Langfuse takes no model, usage or cost from these spans.
_AGENT_OPERATIONS: Final = ("invoke_agent", "agent_step")
_NO_ATTRIBUTES: Final[Mapping[str, Any]] = {}


def observe(record: SpanRecord) -> Observation:
    """Return the observation that Langfuse shows for a span. `parent` and `children` are left for `link`.

    Only the ids are read now, all else when it is first asked for: `record` must not change any more.
    """
    # Not by the constructor, which would set all fields.
    observation: LazyObservation = object.__new__(LazyObservation)
    _set(observation, "id", record.span_id)
    _set(observation, "trace_id", record.trace_id)
    _set(observation, "parent_id", record.parent_span_id)
    _set(observation, "parent", None)
    _set(observation, "children", [])
    _set(observation, "record", record)
    return observation


class LazyObservation(Observation):
    """An observation whose fields are decoded when they are first read.

    There are three steps: name and type, which every assertion reads; input, output and metadata, which may be large;
    all others. Thread-safe, as decoding twice is harmless.
    """

    __slots__ = ("frameworks", "ingested")

    #: The span's attributes as the ingestion sees them, and those among them that are not Langfuse's own.
    ingested: Mapping[str, Any]
    frameworks: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        """Decode a field; Python comes here for slots that are not set."""
        decode = DECODERS.get(name)
        if decode is None:
            raise no_attribute(self, name, Observation, ALIASES)
        decode(self)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, now and for good: what is decoded together with it is decoded before."""
        # A copy gets its fields one by one, the record among them.
        if name in DECODERS and hasattr(self, "record"):
            getattr(self, name)
        _set(self, name, value)


def _decode_name_and_type(observation: LazyObservation) -> None:
    record = observation.record
    ingested = as_ingested(record.attributes, record.wire)
    frameworks = of_frameworks(ingested) or _NO_ATTRIBUTES
    kind = observation_type(ingested, _resource(record), record.scope_name, record.scope_version, record.name)
    _set(observation, "ingested", ingested)
    _set(observation, "frameworks", frameworks)
    _set(observation, "name", fields.name(frameworks, record.name))
    _set(observation, "type", kind)


def _decode_content(observation: LazyObservation) -> None:
    record = observation.record
    attributes, scope = observation.ingested, record.scope_name
    given, answered = input_output(attributes, observation.frameworks, _ingested_events(record), scope)
    stored = stored_metadata(attributes, foreign=not scope.startswith("langfuse-sdk"))
    if stored:
        given, stored = move_tools(given, stored)
    _set(observation, "input", _read(given))
    _set(observation, "output", _read(answered))
    _set(observation, "metadata", shown_metadata(stored) if stored else {})


def _decode_details(observation: LazyObservation) -> None:
    record, attributes, frameworks = observation.record, observation.ingested, observation.frameworks
    resource, scope = _resource(record), record.scope_name
    is_agent_operation = frameworks.get("gen_ai.operation.name") in _AGENT_OPERATIONS
    prompt_name, prompt_version = fields.prompt(attributes) if observation.type == "generation" else (None, None)
    app_root = attributes.get("langfuse.internal.is_app_root")
    is_app_root = app_root is True or app_root == "true"
    status_message = _first(attributes.get("langfuse.observation.status_message"), record.status_message)
    _set(observation, "level", fields.level(attributes, record.status, scope, record.name))
    _set(observation, "status_message", fields.text_or_none(status_message))
    _set(observation, "model", None if is_agent_operation else fields.model(attributes, frameworks))
    _set(observation, "model_parameters", model_parameters(attributes, frameworks, scope))
    _set(observation, "usage", {} if is_agent_operation else usage(attributes, frameworks, scope))
    _set(observation, "cost", {} if is_agent_operation else cost(attributes, frameworks))
    _set(observation, "prompt_name", prompt_name)
    _set(observation, "prompt_version", prompt_version)
    _set(observation, "user_id", fields.user_id(attributes))
    _set(observation, "session_id", fields.session_id(attributes))
    _set(observation, "tags", fields.tags(attributes))
    _set(observation, "environment", fields.environment(attributes, resource))
    _set(observation, "version", _own_or_resource(attributes, "langfuse.version", resource, "service.version"))
    _set(observation, "release", _own_or_resource(attributes, "langfuse.release", resource, "langfuse.release"))
    _set(observation, "trace_name", fields.text_or_none(attributes.get("langfuse.trace.name")) or None)
    _set(observation, "is_root", not record.parent_span_id or is_app_root)
    _set(observation, "is_app_root", is_app_root)
    _set(observation, "start_time", _time(record.start_ns))
    _set(observation, "end_time", _time(record.end_ns))


#: The step that decodes a field.
DECODERS: Final[dict[str, Callable[[LazyObservation], None]]] = {
    **dict.fromkeys(("ingested", "frameworks", "name", "type"), _decode_name_and_type),
    **dict.fromkeys(("input", "output", "metadata"), _decode_content),
    **dict.fromkeys(
        (
            "level",
            "status_message",
            "model",
            "model_parameters",
            "usage",
            "cost",
            "prompt_name",
            "prompt_version",
            "user_id",
            "session_id",
            "tags",
            "environment",
            "version",
            "release",
            "trace_name",
            "is_root",
            "is_app_root",
            "start_time",
            "end_time",
        ),
        _decode_details,
    ),
}
_set: Final = object.__setattr__


def _resource(record: SpanRecord) -> Mapping[str, Any]:
    """Return the attributes of the resource as the ingestion sees them. All spans of a process share a resource."""
    global _known_resource  # noqa: PLW0603 - replaced in one step, so that threads may read it at any time
    resource, wire, ingested = _known_resource
    if resource is not record.resource or wire != record.wire:
        ingested = as_ingested(record.resource, record.wire)
        _known_resource = record.resource, record.wire, ingested
    return ingested


_known_resource: tuple[Mapping[str, Any], str, Mapping[str, Any]] = (_NO_ATTRIBUTES, "", _NO_ATTRIBUTES)


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
