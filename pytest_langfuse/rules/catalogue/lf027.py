"""LF027: several roots in one trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.rules.evidence import Evidence, TraceView


@rule("LF027", "several roots", severity="warning", each="trace")
def several_roots(trace: TraceView, evidence: Evidence) -> Fact | None:
    """Langfuse takes the name, the input and the output of a trace from the root that arrives last."""
    if len(trace.roots) == 1:
        return None
    # One with the id of a parent elsewhere is part of what is there; a span that was sent twice is one root.
    roots = list({root.id: root for root in trace.roots if not root.parent_id}.values())
    if len(roots) <= 1:
        return None
    first, second, *others = roots
    more = f", and {len(others)} more," if others else ""
    return Fact(
        f"{evidence.named(first)} and {evidence.named(second)}{more} are roots of the same trace: its name, input and "
        "output are those of the one that arrives last",
        f"start {evidence.quoted(second.name)} inside of {evidence.quoted(first.name)}, or give each a trace id of its "
        "own",
        second,
    )
