"""LF002: an observation that ends after its test, while another test runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.evidence import is_for_langfuse
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.rules.evidence import Evidence


@rule("LF002", "ended after its test", severity="warning", each="all")
def ended_after_its_test(evidence: Evidence) -> list[Fact] | None:
    """No test has seen how it ended, and it may disturb the test that runs meanwhile."""
    if not evidence.late:
        return None
    facts = []
    for observation in evidence.late:
        record = evidence.record_of(observation)
        if record is None or record.fixture is not None or not is_for_langfuse(observation):
            continue
        facts.append(
            Fact(
                f"{evidence.named(observation)} was started by {record.origin.test} and ended after that test",
                "wait in that test for the work: join its thread, await its task, or call langfuse_spans.wait_for()",
                observation,
            )
        )
    return facts or None
