"""A test of a run, or a fixture that several tests use, as far as another run is compared with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.json_lines import EXCEEDED, TestKey
from pytest_langfuse.recording.span_record import SpanRecord
from pytest_langfuse.recording.trace import link
from pytest_langfuse.report.amounts import number_of, summed, total
from pytest_langfuse.rules.baseline import folded

#: Types of the calls of models, which have usage and cost.
_CALLS: Final = ("generation", "embedding")
_NEVER_ENDED: Final = "never ended"
#: The level of most observations.
DEFAULT_LEVEL: Final = "DEFAULT"


class ComparedObservation(NamedTuple):
    """An observation of a test; `reason` says why Langfuse does not show it, if it does not."""

    trace: str
    id: str
    parent: str | None
    type: str
    name: str
    start: int
    level: str
    model: str
    #: NaN is what was sent and is not a number.
    tokens: float | None
    cost: float | None
    cost_estimated: bool
    exported: bool
    reason: str
    #: What the line says of the fixture of a wider scope than one test that has made it.
    fixture: Mapping[str, Any] | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ComparedObservation:
        """Return the observation of a line."""
        usage, cost = row.get("usage"), row.get("cost")
        return cls(
            row["trace"],
            row["id"],
            row["parent"],
            row["type"],
            row["name"],
            row["start"],
            str(row.get("level") or DEFAULT_LEVEL),
            str(row.get("model") or ""),
            total(usage) if usage else None,
            total(cost) if cost else None,
            bool(row.get("cost_estimated")),
            bool(row["exported"]),
            str(row.get("reason") or ""),
            row.get("fixture"),
        )

    @property
    def is_call(self) -> bool:
        """True for a call of a model that has not failed: one that has tokens and a cost."""
        return self.type in _CALLS and self.level != "ERROR"


@dataclass
class ComparedTest:
    """A test of a run. `duration` is in seconds, `cost` in USD."""

    key: TestKey
    outcome: str
    duration: float
    tokens: float | None
    cost: float | None
    cost_estimated: bool
    models: Sequence[str]
    #: The part of the duration in which fixtures of a wider scope were set up and torn down.
    fixtures_duration: float = 0.0
    #: Whether what it has recorded is lost with its worker.
    is_missing: bool = False
    made: list[ComparedObservation] = field(default_factory=list)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ComparedTest:
        """Return the test of a line, to which observations are to be added."""
        # A test that passes, and uses more than it may.
        outcome = "passed" if row["outcome"] == EXCEEDED else row["outcome"]
        return cls(
            (row["test"], row["fault"]),
            outcome,
            number_of(row["duration"]) or 0.0,
            number_of(row["tokens"]),
            number_of(row["cost"]),
            bool(row.get("cost_estimated")),
            [str(model) for model in row["models"]],
            number_of(row.get("fixtures_duration")) or 0.0,
            row.get("missing") is not None,
        )

    @classmethod
    def of_fixture(cls, name: str, made: list[ComparedObservation]) -> ComparedTest:
        """Return what a fixture has made, as if it were a test.

        An observation that lasts as long as the fixture has ended in the first test only if that is the last one, too.
        """
        shown = [one._replace(exported=True, reason="") if one.reason == _NEVER_ENDED else one for one in made]
        return cls((name, None), "passed", 0.0, None, None, cost_estimated=False, models=()).with_only(shown)

    def with_only(self, made: list[ComparedObservation]) -> ComparedTest:
        """Return the test with some of its observations, and their sums."""
        shown = [one for one in made if one.exported]
        return replace(
            self,
            duration=max(0.0, self.duration - self.fixtures_duration),
            fixtures_duration=0.0,
            tokens=summed(one.tokens for one in shown),
            cost=summed(one.cost for one in shown),
            cost_estimated=any(one.cost_estimated for one in shown),
            models=sorted({one.model for one in shown if one.model}),
            made=made,
        )

    @cached_property
    def nodes(self) -> list[ComparedObservation]:
        """The observations that Langfuse shows."""
        return [one for one in self.made if one.exported]

    @cached_property
    def observations(self) -> list[Observation]:
        """The observations, linked. Ids and numbers in their names count as equal."""
        return link(_observation(node) for node in self.nodes)

    @cached_property
    def shape(self) -> Sequence[int]:
        """Numbers that stand for the types and names of the trees, the same whatever the order of siblings."""
        order = [one for one in self.observations if one.parent is None]
        roots = list(order)
        for one in order:
            # The loop goes on with them, so that parents come first.
            order += one.children
        numbers: dict[int, int] = {}
        for one in reversed(order):
            below = tuple(sorted(numbers[id(child)] for child in one.children))
            numbers[id(one)] = hash((one.type, one.name, below))
        return sorted(numbers[id(root)] for root in roots)

    @cached_property
    def levels(self) -> Counter[tuple[str, str, str]]:
        """The number of observations of each type and name that have each level other than the usual one."""
        return Counter((one.type, one.name, one.level) for one in self.observations if one.level != DEFAULT_LEVEL)

    def with_level(self, level: str) -> int:
        """Return how many observations have a level."""
        return sum(one.level == level for one in self.nodes)

    def lacking(self, reason: str) -> int:
        """Return how many observations Langfuse does not show for this reason."""
        return sum(one.reason == reason for one in self.made)

    def has_calls(self) -> bool:
        """Return whether the test calls a model."""
        return any(one.is_call for one in self.nodes)

    def unknown(self, name: str) -> int:
        """Return of how many calls of models the tokens, or the cost, are not known."""
        return sum(one.is_call and number_of(getattr(one, name)) is None for one in self.nodes)


def _observation(node: ComparedObservation) -> Observation:
    # An earlier file may have a secret in clear, and what is left of one whose digits are folded is not recognised.
    name = folded(hidden(node.name))
    record = SpanRecord(
        trace_id=node.trace, span_id=node.id, parent_span_id=node.parent, name=name, start_ns=node.start * 1_000
    )
    return Observation(
        id=node.id,
        trace_id=node.trace,
        parent_id=node.parent,
        name=name,
        type=node.type,
        level=node.level,
        is_root=node.parent is None,
        record=record,
    )
