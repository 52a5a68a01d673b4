"""Captured observations for tests, written as a literal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.expect.observations import Observations
from pytest_langfuse.recording import Observation, SpanRecord
from pytest_langfuse.recording.sources.static import StaticSource

TRACE = "a" * 32


def observation(
    type: str,  # noqa: A002 - the field
    name: str,
    *,
    id: int = 1,  # noqa: A002 - the field
    parent: Observation | None = None,
    parent_id: str | None = None,
    trace_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Observation:
    """One observation; it starts `id` nanoseconds after the epoch, as a child of `parent`."""
    trace = parent.trace_id if parent is not None else trace_id or TRACE
    parent_id = parent.id if parent is not None else parent_id
    record = SpanRecord(
        trace_id=trace,
        span_id=f"{id:016x}",
        parent_span_id=parent_id,
        name=name,
        start_ns=id,
        end_ns=id + 1,
        attributes=attributes or {},
        resource={},
        scope_name="langfuse-sdk",
        scope_version=None,
        scope_attributes={},
        status="UNSET",
        status_message=None,
        events=(),
        raw=None,
    )
    fields.setdefault("is_root", parent_id is None)
    return Observation(
        id=record.span_id, trace_id=trace, parent_id=parent_id, name=name, type=type, record=record, **fields
    )


class Drawn(list[Observation]):
    """Observations that a Hypothesis strategy made; shown as a literal."""

    def __repr__(self) -> str:
        return str(of(self))


def forest(literal: str, **values: Any) -> list[Observation]:
    """The observations that a literal of nothing but `=` conditions describes, each root a trace of its own."""
    made: list[Observation] = []
    root = parse(literal, values)
    stack: list[tuple[Any, Observation | None]] = [(line, None) for line in reversed(root.children)]
    while stack:
        line, parent = stack.pop()
        for _ in range(line.low):
            fields: dict[str, Any] = {}
            attributes: dict[str, Any] = {}
            for condition in (*line.inherited, *line.own):
                assert condition.operator == "=", condition.text
                if condition.key.raw_attribute:
                    attributes[condition.key.path[0]] = condition.value
                    continue
                *outer, last = condition.key.path
                place = fields
                for part in outer:
                    place = place.setdefault(part, {})
                # A copy: the next call may get the same parsed literal.
                place[last] = deepcopy(condition.value)
            number = len(made) + 1
            trace_id = f"{number:032x}" if parent is None else None
            own = observation(
                line.type, line.name.exact, id=number, parent=parent, trace_id=trace_id, attributes=attributes, **fields
            )
            made.append(own)
            stack += [(child, own) for child in reversed(line.children)]
    return made


def captured(literal: str, **more: Any) -> Observations:
    """`Observations` of what a literal describes; `more` goes to the source."""
    return Observations(StaticSource(forest(literal), **more))


def of(observations: Iterable[Observation], **more: Any) -> Observations:
    """`Observations` of given ones."""
    return Observations(StaticSource(observations, **more))
