"""LF024: two observations with one id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.recording.recorded_span import RecordedSpan, marked
from pytest_langfuse.recording.why_not_exported import SAME_ID
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.start_place import Place
    from pytest_langfuse.rules.evidence import Evidence

_FIX = "seed a generator of your own, random.Random(seed), and not that of the process by random.seed()"


@rule("LF024", "repeated id", each="all")
def repeated_id(evidence: Evidence) -> list[Fact] | None:
    """OpenTelemetry draws ids from `random`: after a seed they repeat. Langfuse keeps one observation of each id."""
    facts = [_live(item.observation, evidence) for item in evidence.unexported if item.detail == SAME_ID]
    if not evidence.is_live:
        # What was sent twice has the same start.
        facts += (
            Fact(_text(evidence.named(one), evidence.quoted(first.name)), _FIX, one)
            for first, one in evidence.repeated
            if one.record.start_ns != first.record.start_ns
        )
    return facts or None


def _live(observation: Observation, evidence: Evidence) -> Fact:
    span = observation.span
    record = marked(span.get_span_context()) if hasattr(span, "get_span_context") else None
    place: Place | None = record.place if isinstance(record, RecordedSpan) else None
    first = evidence.record_of(observation)
    other = "another observation" if first is None else evidence.quoted(first.name)
    return Fact(_text(evidence.called(observation.name, place), other), _FIX, observation, place)


def _text(named: str, other: str) -> str:
    return f"{named} has the same id as {other}, and Langfuse keeps one of both"
