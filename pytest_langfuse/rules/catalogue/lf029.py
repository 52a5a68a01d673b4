"""LF029: an observation that ends before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

#: A clock that a test moves (freezegun, time-machine) makes any difference; real code is off by less than a day.
_MOVED_CLOCK = 86_400.0
#: Seconds, milliseconds or microseconds since 1970 where nanoseconds are meant: times of January 1970.
_WRONG_UNIT = range(10**9, 10**16)


@rule("LF029", "ends before it starts")
def ends_before_it_starts(observation: Observation, evidence: Evidence) -> Fact | None:
    """Langfuse shows a negative latency, and the trace's own is wrong, too."""
    record = observation.record
    end = record.end_ns
    if end is None or end >= record.start_ns:
        return None
    seconds = (record.start_ns - end) / 1e9
    if seconds >= _MOVED_CLOCK and end not in _WRONG_UNIT:
        return None
    return Fact(
        f"{evidence.named(observation)} ends {seconds:.3f} s before it starts",
        "pass end_time= in nanoseconds since 1970, as time.time_ns() has them, and after start_time=",
        observation,
    )
