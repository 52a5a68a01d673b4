"""The counts of production tracing over the time of an outage."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pytest_langfuse.report.outage_timeline import OutageTimeline


def counts_of(*states: Any, at_end: bool = False) -> list[tuple[int, int]]:
    """How many spans have ended and were exported at each note; a state is both, or `None` without tracing."""
    healths = [
        state and SimpleNamespace(ended=state[0], exported=state[1], buffered=0, dropped={"refused": 0})
        for state in states
    ]
    timeline = OutageTimeline(iter(healths).__next__)
    for _ in states[: len(states) - at_end]:
        timeline.look()
    if at_end:
        assert timeline.end() is healths[-1]
    return [(one["ended"], one["exported"]) for one in timeline._counts]


def test_what_earlier_tests_have_made_does_not_count() -> None:
    assert counts_of((5, 5), (6, 5), (6, 5), (6, 6)) == [(0, 0), (1, 0), (1, 1)]


def test_all_counts_where_tracing_begins_later() -> None:
    assert counts_of(None, (1, 0), None, (1, 1)) == [(1, 0), (1, 1)]


def test_another_installation_counts_from_the_beginning() -> None:
    assert counts_of((5, 5), (1, 0), (2, 2)) == [(0, 0), (1, 0), (2, 2)]


def test_the_end_of_a_test_is_noted() -> None:
    assert counts_of((0, 0), (1, 1), at_end=True) == [(0, 0), (1, 1)]


def test_without_an_outage_nothing_is_noted() -> None:
    assert counts_of((1, 1), at_end=True) == []


def test_of_many_counts_the_first_and_the_last_one_stay() -> None:
    counts = counts_of(*((number, 0) for number in range(501)))
    assert (len(counts), counts[0], counts[-1]) == (251, (0, 0), (500, 0))
