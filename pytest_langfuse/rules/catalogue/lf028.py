"""LF028: an observation that is still running when its parent has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

#: A clock that a test moves (freezegun, time-machine) makes any difference.
_MOVED_CLOCK = 86_400.0


@rule("LF028", "outlives its parent", severity="warning", options={"tolerance": 0.01})
def outlives_its_parent(observation: Observation, evidence: Evidence) -> Fact | None:
    """The latency of the parent, and so that of the request, does not hold all of the work."""
    parent = observation.parent
    if parent is None:
        return None
    end, end_of_parent = observation.record.end_ns, parent.record.end_ns
    if end is None or end_of_parent is None or end <= end_of_parent:
        return None
    late = (end - end_of_parent) / 1e9
    if late <= evidence.options["tolerance"] or late >= _MOVED_CLOCK:
        return None
    if observation.record.resource != parent.record.resource:
        # Another service has another clock, and may have got the work through a queue.
        return None
    name = evidence.quoted(parent.name)
    if observation.record.start_ns >= end_of_parent:
        return Fact(
            f"{evidence.named(observation)} started when its parent {evidence.named(parent)} had ended, and ended "
            f"{late:.3f} s after it",
            f"start it before {name} ends, or in a new trace; if a library has left {name} current, "
            "call that with contextvars.copy_context().run(...)",
            observation,
        )
    return Fact(
        f"{evidence.named(observation)} ended {late:.3f} s after its parent {evidence.named(parent)}",
        f"await or join it before {name} ends, or start a new trace with a link to {name}",
        observation,
    )
