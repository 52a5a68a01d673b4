"""The lines of a run, summed up: what people want to know first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_langfuse.report.run_totals import RunTotals

#: Lines that are not read: there are many of them, and their sums are in the lines of tests.
_LEFT_OUT: Final = ('{"kind": "observation"', '{"kind": "score"')
#: The outcome of a test that has passed, but uses more than it may.
EXCEEDED: Final = "exceeded"
#: How pytest begins to say that trees differ.
_MISMATCH: Final = "pytest_langfuse.TreeMismatch: "
#: Outcomes of tests that are not well.
FAILED: Final = ("failed", "error", EXCEEDED)


@dataclass(slots=True)
class RuleRow:
    """The findings of one rule that the baseline does not have."""

    code: str
    rule: str
    severity: str
    text: str
    times: int = 0


@dataclass(slots=True)
class RunSummary:
    """Sums over a run, its failed and degraded tests, and its findings by rule."""

    totals: RunTotals = field(default_factory=RunTotals)
    failed: list[dict[str, Any]] = field(default_factory=list)
    degraded: list[dict[str, Any]] = field(default_factory=list)
    rules: dict[str, RuleRow] = field(default_factory=dict)
    incomplete: list[str] = field(default_factory=list)
    #: Why the run fails besides its tests.
    errors: list[str] = field(default_factory=list)
    exit_status: int = 0
    #: Tests of which attempts have failed.
    rerun: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Iterable[str]) -> RunSummary:
        """Return the summary of the lines of a run."""
        found = cls()
        for line in lines:
            if not line.startswith(_LEFT_OUT):
                found.add(json.loads(line))
        return found

    def add(self, row: dict[str, Any]) -> None:
        """Add a line."""
        match row["kind"]:
            case "run":
                self.incomplete = row["incomplete"]
                self.errors = row.get("errors", [])
                self.exit_status = row["exit_status"]
            case "test":
                self._add_test(row)
            case "finding" if not row["known"]:
                first = RuleRow(row["code"], row["rule"], row["severity"], row["text"])
                self.rules.setdefault(row["code"], first).times += 1

    def _add_test(self, row: dict[str, Any]) -> None:
        self.totals.add(row)
        if row["outcome"] in FAILED:
            self.failed.append(row)
        if row["degraded"]:
            self.degraded.append(row)
        if row.get("attempts"):
            self.rerun.append(row)


def first_difference(test: Mapping[str, Any]) -> str:
    """Return in one sentence why a test has failed: the first difference of its trees, else what pytest says."""
    difference, message = test.get("difference"), str(test.get("message") or "")
    if not isinstance(difference, dict) or not difference.get("sentences") or not message.startswith(_MISMATCH):
        return message
    first, *others = difference["sentences"]
    return f"{first} (and {len(others)} more)" if others else str(first)


def name_of(test: dict[str, Any]) -> str:
    """Return the id of a test, with the fault of the suite behind it."""
    return str(test["test"]) if test["fault"] is None else f"{test['test']} [{test['fault']}]"
