"""LF030: two users or two sessions in one trace."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.instrumentation import foreign_scope
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence, Owners, TraceView


@rule("LF030", "several owners", each="trace")
def several_owners(trace: TraceView, evidence: Evidence) -> list[Fact] | None:
    """A trace has one user and one session in Langfuse: the tokens and cost of the others are counted for that one."""
    several = [owners for owners in trace.owners if len(owners.first) > 1]
    return [_fact(owners, evidence) for owners in several] or None


def _fact(owners: Owners, evidence: Evidence) -> Fact:
    kind, first = owners.kind, owners.first
    (value, one), (other_value, other) = islice(first.items(), 2)
    number = "two" if len(first) == 2 else str(len(first))  # noqa: PLR2004 - in words
    return Fact(
        f"one trace has {number} {kind}s: {evidence.named(one)} is of {evidence.quoted(value)}, and "
        f"{evidence.named(other)} of {evidence.quoted(other_value)}",
        _fix(kind, value, one, other, evidence),
        other,
    )


def _fix(kind: str, value: str, one: Observation, other: Observation, evidence: Evidence) -> str:
    if (scope := foreign_scope(other)) and scope != foreign_scope(one):
        return (
            f"make {evidence.quoted(value)} the {kind} for the library of {evidence.quoted(scope)}, too, "
            f"which takes {kind}s of its own"
        )
    return f"start a trace for each {kind}, with propagate_attributes({kind}_id=...) around its outermost observation"
