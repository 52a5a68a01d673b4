"""The line that says how far a run under several faults is, in terminals of any width."""

from __future__ import annotations

import pytest

from pytest_langfuse.report.progress import progress_line

WHOLE = "Langfuse outage 12 of 18: http_503, 1,200 of 3,500 tests, 31 failed"


@pytest.mark.parametrize(
    ("room", "line"),
    [
        (120, WHOLE),
        (len(WHOLE), WHOLE),
        (len(WHOLE) - 1, "Langfuse outage 12 of 18: http..., 1,200 of 3,500 tests, 31 failed"),
        (len(WHOLE) - 4, "Langfuse outage 12 of 18: h..., 1,200 of 3,500 tests, 31 failed"),
        (len(WHOLE) - 5, "Langfuse outage 12 of 18, 1,200 of 3,500 tests, 31 failed"),
        (48, "outage 12 of 18, 1,200 of 3,500 tests, 31 failed"),
        (47, "outage 12/18, 1,200 of 3,500 tests, 31 failed"),
        (39, "1,200 of 3,500 tests, 31 failed"),
        (30, "1,200/3,500 tests, 31 failed"),
    ],
)
def test_the_name_of_the_fault_gives_way_before_any_figure(room: int, line: str) -> None:
    assert progress_line("12 of 18", "http_503", "1,200 of 3,500 tests", "31 failed", room) == line


@pytest.mark.parametrize("room", range(28, 90))
def test_figures_are_never_cut(room: int) -> None:
    line = progress_line("12 of 18", "http_503", "1,200 of 3,500 tests", "31 failed", room)
    assert len(line) <= room
    assert line.replace("/", " of ").endswith("1,200 of 3,500 tests, 31 failed")


def test_nothing_has_failed_yet() -> None:
    assert progress_line("1 of 2", "hang", "0 of 4 tests", "", 39) == "Langfuse outage 1 of 2, 0 of 4 tests"
    assert progress_line("1 of 2", "hang", "0 of 4 tests", "", 12) == "0 of 4 tests"
    assert progress_line("1 of 2", "hang", "0 of 4 tests", "", 5) == "0/4 t"
