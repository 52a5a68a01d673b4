"""The last healthy run of each test, in pytest's cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from pytest_langfuse.report.test_run import HealthyRun, TestRun

_CACHE = "langfuse/healthy"


def remember(cache: pytest.Cache | None, runs: Iterable[TestRun]) -> None:
    """Keep these runs; tests that did not run this time stay as they are."""
    now = {run.test: (run.outcome, run.duration) for run in runs}
    if cache is not None and now:
        cache.set(_CACHE, {**healthy_runs(cache), **now})


def healthy_runs(cache: pytest.Cache | None) -> Mapping[str, HealthyRun]:
    """Return the healthy runs by test, without entries in the format of another version."""
    cached = cache.get(_CACHE, {}) if cache is not None else {}
    entries = cached.items() if isinstance(cached, dict) else ()
    return {test: HealthyRun(*entry) for test, entry in entries if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == len(HealthyRun._fields)
        and entry[0] in ("passed", "skipped", "failed")
        and isinstance(entry[1], int | float)
    )
