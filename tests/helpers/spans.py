"""Span records and observations for tests, with nothing said but what a test is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_langfuse.recording import Observation, SpanRecord, observe
from pytest_langfuse.recording.span_record import SpanEvent

LANGFUSE = "langfuse-sdk"
TRACE_ID = "a" * 32


def record(
    attributes: Mapping[str, Any] | None = None,
    *,
    number: int = 1,
    parent: int | None = None,
    trace: str = TRACE_ID,
    name: str = "span",
    start: int = 1_700_000_000_000_000_000,
    end: int | None = 1_700_000_001_000_000_000,
    resource: Mapping[str, Any] | None = None,
    scope: str = LANGFUSE,
    scope_version: str | None = "5.0.4",
    status: str = "UNSET",
    status_message: str | None = None,
    events: Sequence[tuple[str, Mapping[str, Any]]] = (),
    wire: str = "protobuf",
) -> SpanRecord:
    return SpanRecord(
        trace_id=trace,
        span_id=f"{number:016x}",
        parent_span_id=f"{parent:016x}" if parent is not None else None,
        name=name,
        start_ns=start,
        end_ns=end,
        attributes=attributes or {},
        resource=resource or {},
        scope_name=scope,
        scope_version=scope_version,
        scope_attributes={},
        status=status,
        status_message=status_message,
        events=[SpanEvent(*event) for event in events],
        raw=None,
        wire=wire,
    )


def seen(attributes: Mapping[str, Any] | None = None, **more: Any) -> Observation:
    """What the server shows of a span of Langfuse's SDK with `attributes`."""
    return observe(record(attributes, **more))


def seen_foreign(attributes: Mapping[str, Any] | None = None, scope: str = "my.library", **more: Any) -> Observation:
    """What the server shows of a span of another instrumentation with `attributes`."""
    return observe(record(attributes, scope=scope, **more))
