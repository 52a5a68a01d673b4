"""LF005: a user or a session that a part of its trace lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.evidence import ancestors
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence, Owners, TraceView


@rule("LF005", "owner missing", each="trace")
def owner_missing(trace: TraceView, evidence: Evidence) -> list[Fact] | None:
    """Langfuse counts tokens and cost for the user and the session of the observation, not of its trace."""
    facts = [
        fact
        for owners in trace.owners
        if owners.first and owners.without and (fact := _fact(owners, trace, evidence)) is not None
    ]
    return facts or None


def _fact(owners: Owners, trace: TraceView, evidence: Evidence) -> Fact | None:
    kind, owner = owners.kind, next(iter(owners.first))
    lacks = {id(one) for one in owners.without}
    with_it = [one for one in trace.observations if id(one) not in lacks]
    roots = {id(root) for root in trace.roots}
    lacking = [one for one in owners.without if (id(one) in roots or _has_cost(one)) and not _is_earlier(one, with_it)]
    if not lacking:
        return None
    first, *others = lacking
    more = f" (as {len(others)} more)" if others else ""
    loss = "its tokens and cost are not counted for it" if _has_cost(first) else "the root is not found by it"
    return Fact(
        f"{evidence.named(first)}{more} has no {kind}, but its trace is of {evidence.quoted(owner)}: {loss}",
        f"call propagate_attributes({kind}_id=...) around the outermost observation",
        first,
    )


def _has_cost(observation: Observation) -> bool:
    return any(observation.usage.values()) or any(observation.cost.values())


def _is_earlier(observation: Observation, with_it: list[Observation]) -> bool:
    """Return whether an observation ended before the owner was known, as a login does."""
    end = observation.record.end_ns
    # One around it gets the owner while it runs.
    around = {id(one) for one in ancestors(observation)}
    first = next((one for one in with_it if id(one) not in around), None)
    return end is not None and first is not None and end <= first.record.start_ns
