"""The lines of a run about what has changed since an earlier one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_langfuse.report.captured_lines import difference_of
from pytest_langfuse.report.compared_test import ComparedTest, TestKey
from pytest_langfuse.report.run_comparison import RunComparison, TestChange, shown_key


def compared_field(comparison: RunComparison, name: str) -> dict[str, Any]:
    """Return what the line of the run says; `name` is that of the file of the earlier one."""
    return {
        "with": name,
        "sentence": comparison.counts(),
        "exceeded": len(comparison.exceeded),
        "not_judged": comparison.not_judged,
        "added": [list(key) for key in comparison.added],
        "missing": [shown_key(key) for key in comparison.missing],
    }


def comparison_rows(comparison: RunComparison) -> Iterator[tuple[TestKey, dict[str, Any]]]:
    """Yield the tests that have changed, each with the fields of a line about it."""
    exceeded: dict[TestKey, list[str]] = {}
    for one in comparison.exceeded:
        exceeded.setdefault(one.test, []).append(str(one))
    for change in comparison.changes:
        key = change.after.key
        yield key, _fields(change, exceeded.get(key, []))


def _fields(change: TestChange, exceeded: list[str]) -> dict[str, Any]:
    key = change.before.key
    trees = change.trees
    return {
        "was": None if key == change.after.key else shown_key(key),
        "before": _figures(change.before),
        "after": _figures(change.after),
        "changes": list(change.values),
        "sentences": list(change.sentences),
        "exceeded": exceeded,
        "worse": change.is_worse,
        "difference": None if trees is None or not trees.pairs else difference_of(trees),
    }


def _figures(test: ComparedTest) -> dict[str, Any]:
    return {
        "tokens": test.tokens,
        "cost": test.cost,
        "cost_estimated": test.cost_estimated,
        "duration": test.duration,
        "models": list(test.models),
        "observations": len(test.nodes),
        "outcome": test.outcome,
        "errors": test.with_level("ERROR"),
    }
