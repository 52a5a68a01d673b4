"""One span as Langfuse shows it: the server's view, not raw attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.lazy import exported_by
from pytest_langfuse.recording.span_record import SpanRecord
from pytest_langfuse.suggest import no_attribute

#: Observation types in the spelling of our API; the server writes them in capitals.
TYPES = (
    "span",
    "generation",
    "event",
    "embedding",
    "agent",
    "tool",
    "chain",
    "retriever",
    "evaluator",
    "guardrail",
)
#: What people call a field elsewhere: the SDK's arguments, the API's fields, the UI's columns.
ALIASES: Final[Mapping[str, str]] = {
    "usage_details": "usage",
    "usageDetails": "usage",
    "tokens": "usage",
    "cost_details": "cost",
    "costDetails": "cost",
    "total_cost": "cost.total",
    "latency": "duration",
    "as_type": "type",
    "error": "status_message",
    "status": "status_message",
}


class _Decodable:
    """A place for what decoding an observation step by step needs to keep; see `server_view`."""

    __slots__ = ("decoding",)


@exported_by("pytest_langfuse")
@dataclass(slots=True, eq=False, kw_only=True)
class Observation(_Decodable):
    """One observation as Langfuse shows it.

    Fields hold what the server's ingestion makes of the exported span; `record` is the span it was made from.
    Instances are compared by identity: two observations with equal fields are still two observations.
    """

    id: str
    trace_id: str
    parent_id: str | None = None
    name: str = ""
    type: str = "span"
    level: str = "DEFAULT"
    status_message: str | None = None
    input: Any = None
    output: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    model_parameters: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, float] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    prompt_name: str | None = None
    prompt_version: int | None = None
    user_id: str | None = None
    session_id: str | None = None
    tags: list[str] = field(default_factory=list)
    environment: str = "default"
    version: str | None = None
    release: str | None = None
    trace_name: str | None = None
    is_root: bool = False
    is_app_root: bool = False
    start_time: datetime | None = None
    end_time: datetime | None = None
    parent: Observation | None = None
    children: list[Observation] = field(default_factory=list)
    record: SpanRecord

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; `None` while the observation has not ended."""
        if self.start_time is None or self.end_time is None:
            return None
        return (self.end_time - self.start_time).total_seconds()

    @property
    def span(self) -> Any:
        """The raw `ReadableSpan`, or the OTLP span when decoded from an export body."""
        return self.record.raw

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The raw span attributes as exported."""
        return self.record.attributes

    # Hidden from type checkers, which report a name that does not exist themselves.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, Observation, ALIASES)

    def __repr__(self) -> str:
        return f"<Observation {self.type} {self.name!r}>"
