"""The result of one test, from the reports of its phases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, Literal

import pytest

from pytest_langfuse.report.repeated_tests import is_rerun
from pytest_langfuse.report.rule_findings import FINDING_ROWS

#: "error": it failed before or after the test itself.
Outcome = Literal["passed", "failed", "skipped", "error"]
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_PHASES: Final = ("setup", "call", "teardown")
_SKIPPED: Final = "Skipped: "

Report = pytest.TestReport | pytest.CollectReport


@dataclass(slots=True)
class TestResult:
    """The result of a test, or of a module that could not be collected; `duration` is in seconds.

    `id` is the one of its reports, in an outage of the suite with the fault behind it, `node_id` the one without.
    `number` counts those with the same id, from 1. `worker` is the one of xdist that runs it.
    """

    id: str
    node_id: str
    fault: str | None
    outcome: Outcome = "passed"
    duration: float = 0.0
    finished: bool = False
    failures: list[Report] = field(default_factory=list)
    findings: list[dict[str, object]] = field(default_factory=list)
    #: The attempts that have failed, after which the test was run again.
    attempts: list[dict[str, Any]] = field(default_factory=list)
    #: The reason of an expected failure; `None` if none was expected.
    xfail: str | None = None
    is_collection: bool = False
    worker: str = ""
    number: int = 1
    #: Why it was skipped, or its expected failure.
    _skipped: Report | None = None
    #: Why the attempt is not the last one: its call has failed, say, and its teardown, too.
    _reruns: list[pytest.TestReport] = field(default_factory=list)

    @property
    def is_first(self) -> bool:
        """True if no test before it in the run has the same id."""
        return self.number == 1

    @property
    def test(self) -> str:
        """The name of the test in lines: its node id, of one that repeats an id with its number."""
        return self.node_id if self.is_first else f"{self.node_id} ({self.number})"

    def add(self, report: pytest.TestReport) -> None:
        """Take the report of a phase; the first one of a repeated test begins anew."""
        if report.when == "setup":
            self.outcome, self.duration, self.finished, self.failures = "passed", 0.0, False, []
            self.findings, self.xfail, self._skipped, self._reruns = [], None, None, []
        is_whole = type(report) is pytest.TestReport
        if is_whole:  # the time of a subtest is part of that of its test
            self.duration += report.duration
        if is_rerun(report):
            self._end_attempt(report)
        elif report.failed:
            self.failures.append(report)
            if report.when == "call" or report.when not in _PHASES:
                self.outcome = "failed"
            elif self.outcome != "failed":
                self.outcome = "error"
        elif is_whole and (report.skipped or hasattr(report, "wasxfail")):
            # A subtest that was skipped does not skip its test.
            self._skip(report)
        self.findings += getattr(report, FINDING_ROWS, ())
        # Of a test whose worker has crashed there is one report, which xdist has made.
        self.finished = self.finished or report.when == "teardown" or report.when not in _PHASES

    def _end_attempt(self, report: pytest.TestReport) -> None:
        if self._reruns:
            self.attempts.pop()
        self._reruns.append(report)
        failures = [*self.failures, *self._reruns]
        first = self._reruns[0]
        self.attempts.append(
            {
                "outcome": "failed" if first.when == "call" or first.when not in _PHASES else "error",
                "duration": round(self.duration, 6),
                "message": _message(failures),
                "failure": _text(failures),
            }
        )

    def _skip(self, report: pytest.TestReport) -> None:
        if (reason := getattr(report, "wasxfail", None)) is not None:
            self.xfail = _plain(str(reason))
        if report.skipped and self.outcome == "passed":
            self.outcome, self._skipped = "skipped", report

    def add_collection(self, report: pytest.CollectReport) -> None:
        """Take the report of what could not be collected, or was skipped."""
        self.is_collection = self.finished = True
        if report.skipped:
            self.outcome, self._skipped = "skipped", report
        else:
            self.outcome = "error"
            self.failures.append(report)

    def close(self) -> None:
        """Take note that no report will come: a test that was cut short has not passed."""
        if not self.finished and self.outcome == "passed":
            self.outcome = "error"

    @property
    def message(self) -> str:
        """The first line of the failure, or the reason of a skip or an expected failure; empty if there is none."""
        if self.failures:
            return _message(self.failures)
        if self.outcome == "error" and not self.finished:
            return "the run ended before the test did"
        if self._skipped is not None and not self.xfail:
            return _message([self._skipped]).removeprefix(_SKIPPED)
        return self.xfail or ""

    @property
    def failure(self) -> str:
        """The text that pytest shows for the failure, an expected one too, without colour; empty if there was none."""
        expected = [self._skipped] if self._skipped is not None and self.xfail is not None else []
        return _text([*self.failures, *expected])


def _message(reports: Sequence[Report]) -> str:
    longrepr = reports[0].longrepr
    if isinstance(longrepr, (tuple, list)):
        # Of a skip: file, line, reason.
        return _first_line(str(longrepr[-1]))
    crash = getattr(longrepr, "reprcrash", None)
    # In the whole text of pytest, a worker of xdist comes first.
    shown = longrepr if isinstance(longrepr, str) else reports[0].longreprtext
    if crash is None and isinstance(reports[0], pytest.CollectReport):
        return _error_of(shown)
    return _first_line(shown if crash is None else str(crash.message))


def _error_of(text: str) -> str:
    """Return the line with the error that kept a module from being collected: pytest marks its lines, the last ones."""
    marked = [list(lines) for is_error, lines in groupby(_plain(text).splitlines(), _is_error) if is_error]
    if not marked:
        return _first_line(text)
    # Of a syntax error, the line of code comes first, which is indented.
    lines = [line[1:] for line in marked[-1]]
    return next((line.strip() for line in lines if line[3:4].strip()), lines[0].strip())


def _is_error(line: str) -> bool:
    return line.startswith("E ")


def _first_line(text: str) -> str:
    return next(filter(None, map(str.strip, _plain(text).splitlines())), "")


def _text(reports: Sequence[Report]) -> str:
    return "\n\n".join(_plain(report.longreprtext) for report in reports)


def _plain(text: str) -> str:
    return _COLOUR.sub("", text)
