"""The result of one test, from the reports of its phases."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

import pytest

from pytest_langfuse.report.rule_findings import FINDING_ROWS

#: "error": it failed before or after the test itself.
Outcome = Literal["passed", "failed", "skipped", "error"]
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_PHASES: Final = ("setup", "call", "teardown")


@dataclass(slots=True)
class TestResult:
    """The result of a test; `duration` is in seconds.

    `id` is the one of its reports, in an outage of the suite with the fault behind it, `test` the one without.
    """

    id: str
    test: str
    fault: str | None
    outcome: Outcome = "passed"
    duration: float = 0.0
    finished: bool = False
    failures: list[pytest.TestReport] = field(default_factory=list)
    findings: list[dict[str, object]] = field(default_factory=list)

    def add(self, report: pytest.TestReport) -> None:
        """Take the report of a phase; the first one of a repeated test begins anew."""
        if report.when == "setup":
            self.outcome, self.duration, self.finished, self.failures = "passed", 0.0, False, []
            self.findings = []
        if type(report) is pytest.TestReport:  # the time of a subtest is part of that of its test
            self.duration += report.duration
        if report.failed:
            self.failures.append(report)
            if report.when == "call" or report.when not in _PHASES:
                self.outcome = "failed"
            elif self.outcome != "failed":
                self.outcome = "error"
        elif report.skipped and self.outcome == "passed":
            self.outcome = "skipped"
        self.findings += getattr(report, FINDING_ROWS, ())
        # Of a test whose worker has crashed there is one report, which xdist has made.
        self.finished = self.finished or report.when == "teardown" or report.when not in _PHASES

    def close(self) -> None:
        """Take note that no report will come: a test that was cut short has not passed."""
        if not self.finished and self.outcome == "passed":
            self.outcome = "error"

    @property
    def message(self) -> str:
        """The first line of the failure; empty if there was none."""
        if not self.failures:
            return "" if self.finished or self.outcome != "error" else "the run ended before the test did"
        longrepr = self.failures[0].longrepr
        crash = getattr(longrepr, "reprcrash", None)
        # In the whole text of pytest, a worker of xdist comes first.
        shown = longrepr if isinstance(longrepr, str) else self.failures[0].longreprtext
        text = shown if crash is None else str(crash.message)
        return next(filter(None, map(str.strip, _plain(text).splitlines())), "")

    @property
    def failure(self) -> str:
        """The text that pytest shows for the failure, without colour; empty if there was none."""
        return "\n\n".join(_plain(report.longreprtext) for report in self.failures)


def _plain(text: str) -> str:
    return _COLOUR.sub("", text)
