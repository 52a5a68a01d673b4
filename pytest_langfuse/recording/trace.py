"""Traces: observations linked into a forest, and what Langfuse shows of each trace."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse import arguments
from pytest_langfuse.lazy import exported_by
from pytest_langfuse.recording.observation import ALIASES, Observation
from pytest_langfuse.suggest import no_attribute

_EXPECTED: Final = "a list of observations"
_GRAVITY: Final = ("ERROR", "WARNING", "DEFAULT")
#: Links are not decoded fields: past the `__setattr__` that protects those, setting one is ten times as fast.
_set: Final = object.__setattr__


@exported_by("pytest_langfuse")
@dataclass(slots=True, eq=False, kw_only=True)
class Trace:
    """One trace as Langfuse shows it.

    `usage` and `cost` are sums over the observations; `total_cost` is the sum of their totals, in USD, and `None`
    if one of them is not a number. `observations` are in the order in which they started, `roots` those among them
    whose parent is not.
    """

    id: str
    name: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    tags: list[str] = field(default_factory=list)
    environment: str = "default"
    version: str | None = None
    release: str | None = None
    input: Any = None
    output: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, float] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    total_cost: float | None = 0.0
    level: str = "DEFAULT"
    observations: list[Observation] = field(default_factory=list)
    roots: list[Observation] = field(default_factory=list)

    # Hidden from type checkers, which report a name that does not exist themselves.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, Trace, ALIASES)

    def __repr__(self) -> str:
        return f"<Trace {self.name!r}: {len(self.observations)} observations>"


def link(observations: Iterable[Observation]) -> list[Observation]:
    """Set `parent` and `children` of `observations` and return them in the order in which they started.

    Where two started in the same nanosecond, the given order decides, except that a parent comes before its children.
    A parent that is not among them (filtered, remote) leaves `parent` at `None`. When a span id occurs more than once,
    the first has the children. Takes linear time (but for the sorting) and no recursion.

    Raises:
        TypeError: `observations` are not observations.
    """
    __tracebackhide__ = True
    ordered = _in_order(observations)
    by_id: dict[tuple[str, str | None], Observation] = {}
    is_linked = True
    for observation in ordered:
        if observation.children:
            _set(observation, "children", [])
        parent = None
        if observation.parent_id:
            parent = by_id.get((observation.trace_id, observation.parent_id))
            is_linked = is_linked and parent is not None
        _set_parent(observation, parent)
        by_id.setdefault((observation.trace_id, observation.id), observation)
    if not is_linked:
        _link_in_any_order(ordered, by_id)
    return ordered


def _link_in_any_order(ordered: Sequence[Observation], by_id: Mapping[tuple[str, str | None], Observation]) -> None:
    """Link what may have a parent that comes later in `ordered`, or none of them."""
    for observation in ordered:
        if observation.children:
            _set(observation, "children", [])
    for observation in ordered:
        parent_id = observation.parent_id
        _set_parent(observation, by_id.get((observation.trace_id, parent_id)) if parent_id else None)
    _break_cycles(ordered)


def _set_parent(observation: Observation, parent: Observation | None) -> None:
    if observation.parent is not parent:
        _set(observation, "parent", parent)
    if parent is not None:
        parent.children.append(observation)


def roots(observations: Sequence[Observation]) -> list[Observation]:
    """Return those of linked `observations` whose parent is not among them: of a part, that is its top."""
    members = {id(observation) for observation in observations}
    return [one for one in observations if one.parent is None or id(one.parent) not in members]


def build_traces(observations: Iterable[Observation]) -> list[Trace]:
    """Return the traces of `observations` in the order in which they started.

    Follows the aggregation of Langfuse's read query (server, 2026-08: `EVENTS_AGGREGATION_FIELDS`): of a field that
    observations may set to different values, the value that was ingested last stands, which is that of the
    observation that ended last.

    Raises:
        TypeError: `observations` are not observations.
    """
    __tracebackhide__ = True
    by_trace: dict[str, list[Observation]] = {}
    for observation in _in_order(observations):
        by_trace.setdefault(observation.trace_id, []).append(observation)
    return [_trace(trace_id, members) for trace_id, members in by_trace.items()]


def _trace(trace_id: str, members: list[Observation]) -> Trace:
    ids = {observation.id for observation in members}
    # A span that was sent twice is one row in the end, the later one.
    rows = list({observation.id: observation for observation in members}.values())
    latest = sorted(rows, key=_ingested, reverse=True)
    root = next((observation for observation in latest if not observation.parent_id), None)
    usage: dict[str, float] = {}
    cost: dict[str, Any] = {}
    total_cost = 0.0
    for observation in rows:
        _add(usage, observation.usage)
        _add(cost, observation.cost)
        total_cost += _number(observation.cost.get("total"))
    levels = {observation.level for observation in rows}
    return Trace(
        id=trace_id,
        name=_first(observation.trace_name for observation in latest)
        or _first(observation.name for observation in latest if observation.is_root),
        user_id=_first(observation.user_id for observation in latest),
        session_id=_first(observation.session_id for observation in latest),
        tags=list(next((observation.tags for observation in latest if observation.tags), ())),
        environment=_first(observation.environment for observation in latest) or "default",
        version=_first(observation.version for observation in latest),
        release=_first(observation.release for observation in latest),
        input=root.input if root is not None else None,
        output=root.output if root is not None else None,
        metadata=dict(root.metadata) if root is not None else {},
        usage=usage,
        cost={key: None if math.isnan(value) else value for key, value in cost.items()},
        total_cost=None if math.isnan(total_cost) else total_cost,
        level=next((level for level in _GRAVITY if level in levels), "DEBUG"),
        observations=members,
        roots=[observation for observation in members if observation.parent_id not in ids],
    )


def _ingested(observation: Observation) -> float:
    """Return the rank of ingestion: spans are sent, and so ingested, in the order in which they end."""
    end = observation.record.end_ns
    return math.inf if end is None else end


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value), None)


def _add(total: dict[str, Any], details: dict[str, Any]) -> None:
    for key, value in details.items():
        total[key] = total.get(key, 0) + _number(value)


def _number(value: Any) -> float:
    """Return the number in a cost detail, which is stored as it came: a number, its text, or another text (NaN)."""
    if value is None:
        return 0
    try:
        return value if isinstance(value, int | float) else float(value)
    except (TypeError, ValueError):
        return math.nan


def _in_order(observations: Iterable[Observation]) -> list[Observation]:
    __tracebackhide__ = True
    # Only what has failed is looked at: this runs for every observation of a test.
    ordered = list(arguments.elements("link", "observations", observations, _EXPECTED))
    try:
        if _is_in_order(ordered):
            return ordered
        ordered.sort(key=_started)
    except AttributeError:
        arguments.each("link", "observations", ordered, lambda one: isinstance(one, Observation), _EXPECTED)
        raise
    first = 0
    for index in range(1, len(ordered) + 1):
        if index == len(ordered) or _started(ordered[index]) != _started(ordered[first]):
            if index - first > 1:
                ordered[first:index] = _parents_first(ordered[first:index])
            first = index
    return ordered


def _is_in_order(observations: Sequence[Observation]) -> bool:
    """Return whether each started after the one before it, as nearly all lists that the recording makes."""
    last = -1
    for observation in observations:
        start = observation.record.start_ns
        if start <= last:
            return False
        last = start
    return True


def _started(observation: Observation) -> int:
    return observation.record.start_ns


def _parents_first(tied: Sequence[Observation]) -> list[Observation]:
    by_id: dict[tuple[str, str | None], Observation] = {}
    for observation in tied:
        by_id.setdefault((observation.trace_id, observation.id), observation)
    placed: set[int] = set()
    result: list[Observation] = []
    for observation in tied:
        chain: list[Observation] = []
        current: Observation | None = observation
        while current is not None and id(current) not in placed:
            placed.add(id(current))
            chain.append(current)
            current = by_id.get((current.trace_id, current.parent_id))
        result.extend(reversed(chain))
    return result


def _break_cycles(ordered: Sequence[Observation]) -> None:
    """Cut cycles of parent ids, which come off the wire: every walk over the tree would be endless."""
    seen: set[int] = set()
    _visit([observation for observation in ordered if observation.parent is None], seen)
    if len(seen) == len(ordered):
        return
    for observation in ordered:
        if id(observation) not in seen:
            top = _on_ring(observation)
            if top.parent is not None:
                top.parent.children = [child for child in top.parent.children if child is not top]
            top.parent = None
            _visit([top], seen)


def _on_ring(observation: Observation) -> Observation:
    climbed: set[int] = set()
    while observation.parent is not None and id(observation) not in climbed:
        climbed.add(id(observation))
        observation = observation.parent
    return observation


def _visit(stack: list[Observation], seen: set[int]) -> None:
    while stack:
        observation = stack.pop()
        if id(observation) not in seen:
            seen.add(id(observation))
            stack.extend(observation.children)
