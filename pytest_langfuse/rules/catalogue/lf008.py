"""LF008: a root with neither input nor output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.evidence import descendants, is_set
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.rules.evidence import Evidence, TraceView

_CONTENT = frozenset(
    ("langfuse.observation.input", "langfuse.observation.output", "langfuse.trace.input", "langfuse.trace.output")
)


@rule("LF008", "empty root", severity="warning", each="trace")
def empty_root(trace: TraceView, evidence: Evidence) -> Fact | None:
    """The list of traces, evaluators and datasets take what a trace was asked and has answered from its root."""
    for root in trace.roots:
        record = root.record
        if record.scope_name != "langfuse-sdk" or not root.children or not _CONTENT.isdisjoint(record.attributes):
            continue
        if root.type == "event" or root.level == "ERROR" or is_set(root.input) or is_set(root.output):
            continue
        told = next((one for one in descendants(root) if is_set(one.input) or is_set(one.output)), None)
        if told is not None:
            return Fact(
                f"{evidence.named(root)} has neither input nor output, and so has its trace, while {told.name!r} below "
                "has",
                f"call update(input=..., output=...) on {root.name!r}",
                root,
            )
    return None
