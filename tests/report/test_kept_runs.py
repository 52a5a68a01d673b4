"""What is kept of healthy runs, what is compared with them, and how much of an output is shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_langfuse.options import Options
from pytest_langfuse.report.healthy_runs import healthy_runs, remember
from pytest_langfuse.report.process_sections import add_process_sections
from pytest_langfuse.report.test_run import HealthyRun
from pytest_langfuse.report.test_run import TestRun as Run

LIMITS = cast("Options", SimpleNamespace(max_block=2.0, max_slowdown=1.0))


class Cache(dict[str, Any]):
    """The part of pytest's cache that is used."""

    def set(self, key: str, value: object) -> None:
        self[key] = {test: list(entry) for test, entry in cast("dict[str, tuple[str, float]]", value).items()}


def test_tests_that_did_not_run_this_time_stay() -> None:
    cache = cast("pytest.Cache", Cache())
    remember(cache, [Run("one", duration=1.0), Run("two", duration=2.0)])
    remember(cache, [Run("two", outcome="failed", duration=3.0)])
    remember(cache, [])
    assert healthy_runs(cache) == {"one": HealthyRun("passed", 1.0), "two": HealthyRun("failed", 3.0)}
    assert healthy_runs(None) == {}


@pytest.mark.parametrize(
    ("run", "healthy", "why"),
    [
        (Run("t", blocked_seconds=2.0), None, None),
        (Run("t", blocked_seconds=2.1), None, "waited 2.1 s for Langfuse, 2 s is allowed"),
        (Run("t", outcome="failed"), None, "failed, not compared"),
        (Run("t", outcome="skipped"), None, None),
        (Run("t", outcome="skipped"), ("passed", 0.0), "passed -> skipped"),
        (Run("t", outcome="failed"), ("skipped", 0.0), "skipped -> failed"),
        (Run("t", outcome="failed"), ("failed", 0.0), None),
        (Run("t", outcome="passed"), ("failed", 0.0), None),
        (Run("t", duration=9.0, blocked_seconds=1.0), ("passed", 0.0), None),
        (Run("t", duration=9.0, blocked_seconds=1.1), ("passed", 0.5), "0.50 s -> 9.00 s"),
        (Run("t", duration=1.4, blocked_seconds=1.1), ("passed", 0.5), None),
    ],
)
def test_why_a_test_is_degraded(run: Run, healthy: tuple[str, float] | None, why: str | None) -> None:
    run.compare_with(None if healthy is None else HealthyRun(*healthy))
    assert run.why_degraded(LIMITS) == why


@pytest.mark.parametrize(("whole", "first", "count"), [(False, "line 20", 100), (True, "line 0", 120)])
def test_the_output_of_a_process_is_shortened(whole: bool, first: str, count: int) -> None:
    output = "\n".join(f"line {number}" for number in range(120))
    app = SimpleNamespace(output=output, label="shop", how_it_ended="ended with 1")
    silent = SimpleNamespace(output="", label="other", how_it_ended="runs")
    report = SimpleNamespace(sections=[])
    add_process_sections(cast("Any", report), cast("Any", [app, silent]), whole=whole)
    (title, text), other = report.sections
    assert title == "Langfuse process `shop` ended with 1"
    shown = [line for line in text.splitlines() if line.startswith("line ")]
    assert (shown[0], shown[-1], len(shown)) == (first, "line 119", count)
    assert other == ("Langfuse process `other` runs", "(it printed nothing)")
