"""LF025: an observation whose parent belongs to another test, or to a fixture that several tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.recording.recorded_span import RecordedSpan, marked
from pytest_langfuse.recording.recorder import OUTSIDE
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence


@rule("LF025", "parent of another test", each="all")
def parent_of_another_test(evidence: Evidence) -> list[Fact] | None:
    """The trace of a test then depends on the tests before it: alone, or in another order, it is another one."""
    facts = []
    if evidence.is_final and (left := evidence.application.left_current()) is not None and not left.is_running:
        facts.append(_left_current(left, evidence))
    for trace in evidence.traces:
        seen: set[str] = set()
        for root in trace.roots:
            if (parent_id := root.parent_id) and parent_id not in seen:
                seen.add(parent_id)
                if (fact := _fact(root, evidence)) is not None:
                    facts.append(fact)
    return facts or None


def _left_current(left: RecordedSpan, evidence: Evidence) -> Fact:
    trace_id, span_id = f"{left.key[0]:032x}", f"{left.key[1]:016x}"
    trace = evidence.trace_by_id.get(trace_id)
    observation = next((one for one in trace.observations if one.id == span_id), None) if trace else None
    return Fact(
        f"{evidence.called(left.name, left.place)} has ended and is still the current observation of its thread: what "
        "runs there next, as another test or request, goes below it",
        "detach what was attached, the last first; if a library leaves it, call that with contextvars.copy_context()."
        "run(...)",
        observation,
        left.place,
    )


def _fact(root: Observation, evidence: Evidence) -> Fact | None:
    record = evidence.record_of(root)
    parent = None if record is None else record.span.parent
    if record is None or parent is None:
        return None
    found = marked(parent)
    # While its test runs, a span has its record; then an origin, with the record if it has not ended.
    of, origin = (found, found.origin) if isinstance(found, RecordedSpan) else (getattr(found, "record", None), found)
    if origin is None or origin.test == record.origin.test:
        return None
    name, whose = "an observation", f"of {origin.test}"
    fix = "start it inside of the test, and leave nothing current or cached at the end of a test"
    if isinstance(of, RecordedSpan):
        name = evidence.called(of.name, of.place)
        if (fixture := of.fixture) is not None:
            whose = f"of the {fixture.scope} fixture `{fixture.name}`, which was set up in {fixture.test}"
            fix = f"give the fixture `{fixture.name}` the scope 'function', or start the observation in the test"
    if origin.test == OUTSIDE:
        whose = "that was started outside of tests"
    return Fact(f"{evidence.named(root)} has as parent {name} {whose}, and looks like a root in this test", fix, root)
