"""The lines of a run, summed up: what people want to know first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_langfuse.recording.sources.json_lines import FAILED, LINES_OF_TRACES
from pytest_langfuse.report.recorded_rows import noun_of
from pytest_langfuse.report.run_totals import RunTotals

#: Lines that are not read: there are many of them, and their sums are in the lines of tests.
_LEFT_OUT: Final = tuple(line.decode() for line in LINES_OF_TRACES)
#: How pytest begins to say that trees differ.
_MISMATCH: Final = "pytest_langfuse.TreeMismatch: "


@dataclass(slots=True)
class RuleRow:
    """The findings of one rule that the baseline does not have."""

    code: str
    rule: str
    severity: str
    text: str
    times: int = 0


@dataclass(frozen=True, slots=True)
class ChangedTest:
    """A test that has changed since an earlier run; `was` is the id that it had there, if that was another one."""

    name: str
    was: str | None
    changes: list[str]
    sentences: list[str]
    exceeded: list[str]
    is_worse: bool


@dataclass(slots=True)
class RunSummary:
    """Sums over a run, its failed and degraded tests, its findings by rule, and what has changed since an earlier run.

    The lines may be of any version, and of recorded traces, which `noun` says.
    """

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
    #: What the line of the run says of an earlier one that it was compared with.
    compared: dict[str, Any] | None = None
    changed: list[ChangedTest] = field(default_factory=list)
    noun: str = "test"
    _runs: int = 0

    @classmethod
    def of(cls, lines: Iterable[str]) -> RunSummary:
        """Return the summary of the lines of a run."""
        found = cls()
        for line in lines:
            if not line.startswith(_LEFT_OUT):
                found.add(json.loads(line))
        return found

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a line."""
        match row["kind"]:
            case "run":
                self.noun = noun_of(row, self.noun if self._runs else None)
                self._runs += 1
                self.incomplete += row.get("incomplete") or ()
                self.errors += row.get("errors") or ()
                self.exit_status = self.exit_status or row.get("exit_status") or 0
                self.compared = self.compared or row.get("compared")
            case "test":
                self._add_test(dict(row))
            case "finding" if not row.get("known"):
                code, rule, severity, text = (str(row.get(name, "")) for name in ("code", "rule", "severity", "text"))
                self.rules.setdefault(code, RuleRow(code, rule, severity, text)).times += 1
            case "comparison":
                lists = {name: [*map(str, row.get(name) or ())] for name in ("changes", "sentences", "exceeded")}
                self.changed.append(
                    ChangedTest(name_of(row), row.get("was"), **lists, is_worse=row.get("worse") is True)
                )

    def _add_test(self, row: dict[str, Any]) -> None:
        self.totals.add(row)
        if row.get("outcome") in FAILED:
            self.failed.append(row)
        if row.get("degraded"):
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


def name_of(row: Mapping[str, Any]) -> str:
    """Return the id of the test of a line, with the fault of the suite behind it."""
    test, fault = row.get("test"), row.get("fault")
    return str(test) if fault is None else f"{test} [{fault}]"
