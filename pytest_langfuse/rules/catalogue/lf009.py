"""LF009: an environment that Langfuse stores as another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.recording.server_view.fields import given_environment, stored_environment
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.rules.evidence import Evidence, TraceView


@rule("LF009", "environment rewritten", severity="warning", each="trace")
def environment_rewritten(trace: TraceView, evidence: Evidence) -> Fact | None:
    """Filters, alerts and dashboards that go by the name in the code find nothing."""
    for root in trace.roots:
        record = root.record
        given = given_environment(record.attributes, record.resource)
        if given is None or given == (stored := stored_environment(given)):
            continue
        valid = f"use {evidence.quoted(stored)}, or another name" if stored != "default" else "use a name"
        return Fact(
            f"{evidence.named(root)} is of the environment {evidence.quoted(given)}, which Langfuse stores as "
            f"{evidence.quoted(stored)}",
            f'{valid} of at most 40 characters a-z, 0-9, "-" and "_" that does not begin with "langfuse"',
            root,
        )
    return None
