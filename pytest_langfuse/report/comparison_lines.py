"""The lines of a run about what has changed since an earlier one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from pytest_langfuse.recording.sources.json_lines import TestKey
from pytest_langfuse.report.captured_lines import difference_of
from pytest_langfuse.report.compared_test import ComparedTest
from pytest_langfuse.report.run_comparison import RunComparison, TestChange, shown_key

_MORE: Final = "more than in the run that it is compared with"


def exceeded_messages(comparison: RunComparison) -> dict[TestKey, str]:
    """Return why tests fail that use more than they may."""
    return {
        test: f"{_MORE}: {'; '.join(map(str, limits))}"
        for test, limits in groupby(comparison.exceeded, key=lambda one: one.test)
    }


def why_exceeded(comparison: RunComparison) -> str | None:
    """Return why the run fails, or `None` if it uses no more than it may."""
    if not (exceeded := len(comparison.exceeded)):
        return None
    return f"{_MORE}: {'1 limit' if exceeded == 1 else f'{exceeded} limits'} exceeded"


def is_why_exceeded(sentence: object) -> bool:
    """Return whether a sentence is one that `why_exceeded` has made, perhaps with the name of a file before it."""
    return _MORE in str(sentence)


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
