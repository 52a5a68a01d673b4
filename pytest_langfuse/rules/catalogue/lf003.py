"""LF003: an observation whose parent is not exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.recorded_span import Reason
    from pytest_langfuse.recording.sources.source import Unexported
    from pytest_langfuse.rules.evidence import Evidence, TraceView

#: The parent of a sampled-out span has no exported children, and one that runs is another rule's.
_FIXES: Final[dict[Reason, str]] = {
    "filtered": (
        "keep {what} with should_export_span=, or call init_tracing() of pytest_langfuse.tracing, which moves "
        "observations below the nearest parent that is exported"
    ),
    "other_project": "make both with the client of one project",
    "dropped": "mend what drops {parent}, or end it before its span processor is shut down",
}


@rule("LF003", "dangling parent", each="trace")
def dangling_parent(trace: TraceView, evidence: Evidence) -> list[Fact] | None:
    """Langfuse can't place an observation whose parent it never gets: the trace falls into pieces."""
    if not evidence.unexported:
        return None
    below: dict[str, list[Observation]] = {}
    if all(root.parent_id and root.is_app_root for root in trace.roots):
        # As below the span of a web framework: the SDK marks what it exports at the top, and Langfuse takes it as root.
        return None
    for root in trace.roots:
        if (parent_id := root.parent_id) and (trace.id, parent_id) in evidence.missing:
            below.setdefault(parent_id, []).append(root)
    facts = []
    for parent_id, children in below.items():
        missing = evidence.missing[trace.id, parent_id]
        if missing.reason in _FIXES:
            facts.append(_fact(missing, children, evidence))
    return facts or None


def _fact(missing: Unexported, children: list[Observation], evidence: Evidence) -> Fact:
    first, *others = children
    who = evidence.named(first) + (f" and {len(others)} more" if others else "")
    has, it = ("have", "them") if others else ("has", "it")
    parent = evidence.named(missing.observation)
    scope = missing.observation.record.scope_name
    return Fact(
        f"{who} {has} the parent {parent}, which is not exported ({missing.detail}): Langfuse shows {it} beside "
        "the rest of the trace",
        _FIXES[missing.reason].format(
            parent=evidence.quoted(missing.observation.name),
            what=f"the spans of {evidence.quoted(scope)}" if scope else evidence.quoted(missing.observation.name),
        ),
        first,
    )
