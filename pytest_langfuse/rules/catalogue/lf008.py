"""LF008: a root with neither input nor output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.evidence import descendants, is_set
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence, TraceView

_SDK: Final = "langfuse-sdk"
_CONTENT: Final = frozenset(
    ("langfuse.observation.input", "langfuse.observation.output", "langfuse.trace.input", "langfuse.trace.output")
)
#: Attributes of which Langfuse makes neither input nor output. Most observations without these have no others.
_OTHERS: Final = frozenset(
    (
        "langfuse.environment",
        "langfuse.internal.as_root",
        "langfuse.internal.is_app_root",
        "langfuse.observation.level",
        "langfuse.observation.model.name",
        "langfuse.observation.type",
        "langfuse.observation.usage_details",
        "langfuse.release",
        "langfuse.version",
        "session.id",
        "user.id",
    )
)


@rule("LF008", "empty root", severity="warning", each="trace")
def empty_root(trace: TraceView, evidence: Evidence) -> Fact | None:
    """The list of traces, evaluators and datasets take what a trace was asked and has answered from its root."""
    for root in trace.roots:
        record = root.record
        if record.scope_name != _SDK or not root.children or not _CONTENT.isdisjoint(record.attributes):
            continue
        if root.type == "event" or _has_content(root):
            continue
        told = next((one for one in descendants(root) if _has_content(one)), None)
        if told is not None and root.level != "ERROR":
            return Fact(
                f"{evidence.named(root)} has neither input nor output, and so has its trace, while "
                f"{evidence.quoted(told.name)} below has",
                f"call update(input=..., output=...) on {evidence.quoted(root.name)}",
                root,
            )
    return None


def _has_content(observation: Observation) -> bool:
    record = observation.record
    if not record.events and record.attributes.keys() <= _OTHERS:
        return False
    return is_set(observation.input) or is_set(observation.output)
