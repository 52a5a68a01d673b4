"""LF030: two users or two sessions in one trace."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence, TraceView


@rule("LF030", "several owners", each="trace")
def several_owners(trace: TraceView, evidence: Evidence) -> list[Fact] | None:
    """A trace has one user and one session in Langfuse: the tokens and cost of the others are counted for that one."""
    if len(trace.users) <= 1 and len(trace.sessions) <= 1:
        return None
    both = (("user", trace.users), ("session", trace.sessions))
    return [_fact(kind, owners, evidence) for kind, owners in both if len(owners) > 1]


def _fact(kind: str, owners: Mapping[str, Observation], evidence: Evidence) -> Fact:
    (value, one), (other_value, other) = islice(owners.items(), 2)
    number = "two" if len(owners) == 2 else str(len(owners))  # noqa: PLR2004 - in words
    return Fact(
        f"one trace has {number} {kind}s: {evidence.named(one)} is of {value!r}, and {evidence.named(other)} of "
        f"{other_value!r}",
        f"start a trace for each {kind}, with propagate_attributes({kind}_id=...) around its outermost observation",
        other,
    )
