"""LF001: an observation that has not ended when its test has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.evidence import is_for_langfuse
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.instrumentation import foreign_scope
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

_MAIN_THREAD = "MainThread"


@rule("LF001", "not ended", each="all")
def never_ended(evidence: Evidence) -> list[Fact] | None:
    """The SDK sends an observation when it ends, so that Langfuse never gets one that does not end."""
    if not evidence.unexported:
        return None
    facts = []
    for item in evidence.unexported:
        observation = item.observation
        if item.reason != "unended" or not is_for_langfuse(observation):
            continue
        record = evidence.record_of(observation)
        # What a fixture of a wider scope holds ends with the last test that uses it.
        if record is None or record.fixture is not None:
            continue
        fix = _fix(observation, evidence)
        detail = ""
        if record.thread != _MAIN_THREAD:
            detail = f'thread "{evidence.shown(record.thread)}"'
            fix = f"wait in the test for what it runs in, or {fix}"
        named = evidence.named(observation, detail)
        text = (
            f"{named} was still running when its test and the test's fixtures had ended: Langfuse gets an observation "
            "only when it ends"
        )
        facts.append(Fact(text, fix, observation))
    return facts or None


def _fix(observation: Observation, evidence: Evidence) -> str:
    if scope := foreign_scope(observation):
        return (
            "read the stream or generator in which it runs to its end, or close it (contextlib.aclosing); "
            f"if it still does not end, that is for {evidence.quoted(scope)} to mend"
        )
    return "start it with `with langfuse.start_as_current_observation(...)`, or call its end() in a finally clause"
