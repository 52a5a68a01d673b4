"""Which run counts for a test that ran in several ones."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from pytest_langfuse.recording.sources.last_runs import LastRuns

TEST = {"kind": "observation", "test": "t::a", "fault": None}


def run(started: Any, outcome: str = "passed", test: str = "t::a", fault: str | None = None) -> list[dict[str, Any]]:
    return [
        {"kind": "run", "started": started},
        {"kind": "test", "test": test, "fault": fault, "outcome": outcome},
    ]


def chosen(*runs: list[dict[str, Any]]) -> LastRuns:
    last = LastRuns()
    for rows in runs:
        last.add(rows)
    return last


def those_that_count(last: LastRuns, runs: int, row: dict[str, Any] = TEST) -> list[int]:
    return [number for number in range(runs) if last.counts(number, row)]


def test_the_run_that_began_last_counts_in_whatever_order_they_come():
    for times in permutations(("2026-01-01T12:00:00+00:00", "2026-01-01T13:30:00+02:00", "2026-01-01T12:01:00")):
        last = chosen(*map(run, times))
        assert those_that_count(last, 3) == [times.index("2026-01-01T12:01:00")]


@pytest.mark.parametrize("started", ["2026-01-01T12:00:00+00:00", None, "soon", "0001-01-01T00:00:00+23:59", 5])
def test_of_runs_of_the_same_time_or_of_none_the_last_one_counts(started: Any):
    assert those_that_count(chosen(run(started), run(started)), 2) == [1]


def test_a_run_of_an_unknown_time_is_the_earliest():
    assert those_that_count(chosen(run("2026-01-01T12:00:00"), run(None)), 2) == [0]


def test_lines_of_a_test_that_has_no_line_of_its_own_are_those_of_one_run():
    last = chosen([{"kind": "run"}], [{"kind": "run"}])
    assert those_that_count(last, 2) == [0]
    assert those_that_count(last, 2, {"kind": "finding"}) == [0, 1]


def test_a_test_under_another_fault_is_another_one():
    last = chosen(run("2026-01-01"), run("2026-01-02", fault="hang"))
    assert those_that_count(last, 2) == [0]
    assert those_that_count(last, 2, TEST | {"fault": "hang"}) == [1]
    assert last.note == ""
    assert [last.has_any(0), last.has_any(1)] == [True, True]
    assert [chosen(run(1), run(2)).has_any(number) for number in (0, 1)] == [False, True]


def test_the_note_names_first_what_failed_elsewhere():
    assert chosen(run(1)).note == ""
    last = chosen(run(1), run(2, "failed"))
    assert last.note == "1 test ran in several runs, and the run that began last counts: t::a"
    rows = [run(1, "failed" if number == 6 else "passed", f"t::{number}", "hang")[1] for number in range(8)]
    passed = [row | {"outcome": "passed"} for row in rows]
    what = "8 tests ran in several runs, and the run that began last counts"
    names = "t::6 [hang] (failed in another), t::0 [hang], t::1 [hang], t::2 [hang], t::3 [hang]"
    assert chosen(rows, passed).note == f"{what}: {names}, 3 more"
