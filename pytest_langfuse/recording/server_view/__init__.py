"""The rules by which Langfuse turns a span into an observation, when it ingests the span and when it reads it.

They are those of the Langfuse server of August 2026 with its `events` tables ("v4"). `docs/server-view.md` explains the
surprising ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, SupportsIndex

from pytest_langfuse import arguments
from pytest_langfuse.recording.observation import ALIASES, Observation
from pytest_langfuse.recording.server_view import fields
from pytest_langfuse.recording.server_view.attributes import as_ingested, of_frameworks
from pytest_langfuse.recording.server_view.input_output import input_output
from pytest_langfuse.recording.server_view.javascript import parse_json_or_text, text_or_json
from pytest_langfuse.recording.server_view.metadata import shown_metadata, stored_metadata
from pytest_langfuse.recording.server_view.parameters import model_parameters
from pytest_langfuse.recording.server_view.tools import move_tools
from pytest_langfuse.recording.server_view.types import observation_type
from pytest_langfuse.recording.server_view.unconvertible import UnconvertibleError
from pytest_langfuse.recording.server_view.usage import cost, usage
from pytest_langfuse.recording.span_record import SpanEvent, SpanRecord
from pytest_langfuse.suggest import no_attribute

__all__ = ["observe"]

_NS_PER_MS: Final = 1_000_000
#: These spans repeat the totals of the model calls below them, so Langfuse ignores their model, usage and cost.
_AGENT_OPERATIONS: Final = ("invoke_agent", "agent_step")
_NO_ATTRIBUTES: Final[Mapping[str, Any]] = {}
_set: Final = object.__setattr__


def observe(record: SpanRecord) -> Observation:
    """Return the observation that Langfuse shows for a span. `link` sets `parent` and `children`.

    Only the ids are read now, and the other fields when they are first used: `record` must not change afterwards.

    Raises:
        TypeError: `record` is not a `SpanRecord`.
    """
    __tracebackhide__ = True
    # The constructor would set all fields.
    observation: UndecodedObservation = object.__new__(UndecodedObservation)
    try:
        observation.id = record.span_id
    except AttributeError:
        arguments.refuse("observe", "record", record, "a SpanRecord, such as decode_records() returns")
    observation.trace_id = record.trace_id
    observation.parent_id = record.parent_span_id
    observation.parent = None
    observation.children = []
    observation.record = record
    observation.__class__ = LazyObservation
    return observation


class UndecodedObservation(Observation):
    """An observation whose fields are decoded when they are first read.

    Fields are decoded in five groups: name and type, which every assertion reads; input, output and metadata, which may
    be large; level, model, usage and cost, which rules read; the other fields that a literal shows; and those that it
    doesn't show. After that it is an `Observation`
    like any other, whose fields cost nothing more to read. Thread-safe: decoding twice is harmless.
    """

    __slots__ = ()

    decoding: _Progress | None

    def __getattr__(self, name: str) -> Any:
        """Decode a field. Python calls this for slots that are not set."""
        decode = DECODERS.get(name)
        if decode is None:
            raise no_attribute(self, name, Observation, ALIASES)
        decode(self)
        return object.__getattribute__(self, name)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """Decode all: a copy, or what is unpickled, is an `Observation` like any other."""
        for step in ("input", "level", "tags", "environment"):
            getattr(self, step)
        return object.__reduce_ex__(self, protocol)


class LazyObservation(UndecodedObservation):
    """An undecoded observation in the hands of a caller, who may set fields.

    While fields are being decoded it is a plain `UndecodedObservation`, because setting a field takes ten times as long
    where `__setattr__` is overridden.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field. The fields of its group are decoded first, so that decoding never overwrites the value."""
        # The fields of a copy are set one by one, including the record.
        if name in DECODERS and hasattr(self, "record"):
            getattr(self, name)
        _set(self, name, value)


class _Progress:
    """State shared by the steps: ingested attributes, those that are not Langfuse's own, and the steps done."""

    __slots__ = ("attributes", "content", "frameworks", "labels", "outcome", "unshown")

    def __init__(self, attributes: Mapping[str, Any], frameworks: Mapping[str, Any]) -> None:
        self.attributes = attributes
        self.frameworks = frameworks
        self.content = self.outcome = self.labels = self.unshown = False


def _decode_name_and_type(observation: UndecodedObservation) -> None:
    record = observation.record
    ingested = as_ingested(record.attributes, record.wire)
    frameworks = of_frameworks(ingested) or _NO_ATTRIBUTES
    try:
        kind = observation_type(ingested, _resource(record), record.scope_name, record.scope_version, record.name)
    except UnconvertibleError:
        kind = "span"
    name = fields.name(frameworks, record.name)
    # As below, but for three fields this is faster than changing the class.
    _set(observation, "decoding", _Progress(ingested, frameworks))
    _set(observation, "name", name)
    _set(observation, "type", kind)


def _decode_content(observation: UndecodedObservation) -> None:
    record, progress = observation.record, observation.decoding
    if progress is None:
        return  # another thread has finished
    attributes, scope = progress.attributes, record.scope_name
    try:
        given, answered = input_output(attributes, progress.frameworks, ingested_events(record), scope)
    except UnconvertibleError:
        given = answered = None
    stored = stored_metadata(attributes, foreign=not scope.startswith("langfuse-sdk"))
    if stored:
        given, stored = move_tools(given, stored)
    given, answered = _read(given), _read(answered)
    metadata = shown_metadata(stored) if stored else {}
    _set(observation, "__class__", UndecodedObservation)
    observation.input = given
    observation.output = answered
    observation.metadata = metadata
    progress.content = True
    _after_step(observation, progress)


def _decode_outcome(observation: UndecodedObservation) -> None:
    record, progress = observation.record, observation.decoding
    if progress is None:
        return  # another thread has finished
    attributes, frameworks, scope = progress.attributes, progress.frameworks, record.scope_name
    is_agent_operation = frameworks.get("gen_ai.operation.name") in _AGENT_OPERATIONS
    status_message = _first(attributes.get("langfuse.observation.status_message"), record.status_message)
    _set(observation, "__class__", UndecodedObservation)
    observation.level = fields.level(attributes, record.status, scope, record.name)
    observation.status_message = fields.text_or_none(status_message)
    observation.model = None if is_agent_operation else fields.model(attributes, frameworks)
    observation.usage = {} if is_agent_operation else usage(attributes, frameworks, scope)
    observation.cost = {} if is_agent_operation else cost(attributes, frameworks)
    progress.outcome = True
    _after_step(observation, progress)


def _decode_labels(observation: UndecodedObservation) -> None:
    record, progress = observation.record, observation.decoding
    if progress is None:
        return  # another thread has finished
    attributes, frameworks = progress.attributes, progress.frameworks
    prompt_name, prompt_version = fields.prompt(attributes) if observation.type == "generation" else (None, None)
    _set(observation, "__class__", UndecodedObservation)
    observation.model_parameters = model_parameters(attributes, frameworks, record.scope_name)
    observation.prompt_name = prompt_name
    observation.prompt_version = prompt_version
    observation.user_id = fields.user_id(attributes)
    observation.session_id = fields.session_id(attributes)
    observation.tags = fields.tags(attributes)
    progress.labels = True
    _after_step(observation, progress)


def _decode_unshown(observation: UndecodedObservation) -> None:
    record, progress = observation.record, observation.decoding
    if progress is None:
        return  # another thread has finished
    attributes, resource = progress.attributes, _resource(record)
    app_root = attributes.get("langfuse.internal.is_app_root")
    is_app_root = app_root is True or app_root == "true"
    _set(observation, "__class__", UndecodedObservation)
    observation.environment = fields.environment(attributes, resource)
    observation.version = _own_or_resource(attributes, "langfuse.version", resource, "service.version")
    observation.release = _own_or_resource(attributes, "langfuse.release", resource, "langfuse.release")
    observation.trace_name = fields.text_or_none(attributes.get("langfuse.trace.name")) or None
    observation.is_root = not record.parent_span_id or is_app_root
    observation.is_app_root = is_app_root
    observation.start_time, observation.end_time = _times(record)
    progress.unshown = True
    _after_step(observation, progress)


def _after_step(observation: UndecodedObservation, progress: _Progress) -> None:
    if progress.content and progress.outcome and progress.labels and progress.unshown:
        observation.decoding = None
        observation.__class__ = Observation  # type: ignore[assignment] # it has the same slots
    else:
        observation.__class__ = LazyObservation


#: The step that decodes a field.
DECODERS: Final[dict[str, Callable[[UndecodedObservation], None]]] = {
    **dict.fromkeys(("decoding", "name", "type"), _decode_name_and_type),
    **dict.fromkeys(("input", "output", "metadata"), _decode_content),
    **dict.fromkeys(("level", "status_message", "model", "usage", "cost"), _decode_outcome),
    **dict.fromkeys(
        ("model_parameters", "prompt_name", "prompt_version", "user_id", "session_id", "tags"), _decode_labels
    ),
    **dict.fromkeys(
        ("environment", "version", "release", "trace_name", "is_root", "is_app_root", "start_time", "end_time"),
        _decode_unshown,
    ),
}


def _resource(record: SpanRecord) -> Mapping[str, Any]:
    """Return the attributes of the resource as the ingestion sees them. All spans of a process share a resource."""
    global _known_resource  # noqa: PLW0603 - replaced in one step, so that threads may read it at any time
    resource, wire, ingested = _known_resource
    if resource is not record.resource or wire != record.wire:
        ingested = as_ingested(record.resource, record.wire)
        _known_resource = record.resource, record.wire, ingested
    return ingested


_known_resource: tuple[Mapping[str, Any], str, Mapping[str, Any]] = (_NO_ATTRIBUTES, "", _NO_ATTRIBUTES)


def ingested_events(record: SpanRecord) -> Sequence[SpanEvent]:
    """Return the events of a span with their attributes as the ingestion sees them."""
    return record.events and [
        SpanEvent(event.name, as_ingested(event.attributes, record.wire), event.listed) for event in record.events
    ]


def _read(value: Any) -> Any:
    """Return stored input or output as Langfuse reads it: text that is JSON is parsed, so "12" and 12 look the same."""
    return value if value is None or isinstance(value, bool) else parse_json_or_text(text_or_json(value))


def _own_or_resource(attributes: Mapping[str, Any], key: str, resource: Mapping[str, Any], fallback: str) -> str | None:
    return fields.text_or_none(_first(attributes.get(key), resource.get(fallback)))


def _first(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _times(record: SpanRecord) -> tuple[datetime | None, datetime | None]:
    """Return start and end. Where one is unknown, it is the other; a span that still runs has no end."""
    start, end = record.start_ns, record.end_ns
    if record.wire == "json":
        # Here, 0 is a time like any other. (server, 2026-08: `resolveSpanTimestamps`)
        return (None, None) if end is None else (_time(start), _time(end))
    if end is None:
        return _time(start) if start else None, None
    return _time(start or end) if start or end else None, _time(end or start) if start or end else None


def _time(nanoseconds: int) -> datetime | None:
    """Return a time in milliseconds, which is what Langfuse keeps; `None` for one that Python cannot represent."""
    milliseconds = abs(nanoseconds) // _NS_PER_MS * (1 if nanoseconds >= 0 else -1)
    try:
        # A double is exact enough to be rounded to the microsecond.
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
