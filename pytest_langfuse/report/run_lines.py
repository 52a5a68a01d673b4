"""A run as lines of JSON: what `--langfuse-json` writes, and what is made of it."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_langfuse.arguments import shown
from pytest_langfuse.recording.calling_code import shown_path
from pytest_langfuse.recording.sources.json_lines import EXCEEDED, FAILED, TestKey
from pytest_langfuse.report.captured_lines import USED, CapturedLines, CapturedPart
from pytest_langfuse.report.compared_run import BadComparison, ComparedRun
from pytest_langfuse.report.comparison_lines import (
    compared_field,
    comparison_rows,
    exceeded_messages,
    why_exceeded,
)
from pytest_langfuse.report.comparison_report import write
from pytest_langfuse.report.degradation import Degradation
from pytest_langfuse.report.packed_lines import packed, unpacked
from pytest_langfuse.report.redaction import encoded
from pytest_langfuse.report.repeated_tests import run_key
from pytest_langfuse.report.rules_of_run import redaction_of, rule_set_of
from pytest_langfuse.report.run_comparison import RunComparison
from pytest_langfuse.report.run_end import RunEnd
from pytest_langfuse.report.run_results import RunResults
from pytest_langfuse.report.run_summary import RunSummary, first_difference
from pytest_langfuse.report.run_totals import RunTotals
from pytest_langfuse.report.sent_images import DistinctImages
from pytest_langfuse.report.step_summary import escaped, markdown
from pytest_langfuse.report.test_result import TestResult
from pytest_langfuse.rules.checked import root_of

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.options import Options
    from pytest_langfuse.report.kept_test import KeptTests
    from pytest_langfuse.report.run_outputs import Name, RunOutputs

#: The version of the schema of lines; readers of one version ignore kinds and fields that they don't know.
SCHEMA: Final = 1
#: The files that are made of the lines.
_OF_LINES: Final[Sequence[Name]] = ("json", "report", "step_summary")
#: Of a test of which nothing is known but its reports.
_NOTHING: Final[dict[str, Any]] = {
    "observations": 0,
    "generations": 0,
    "errors": 0,
    "tokens": None,
    "cost": None,
    "cost_estimated": False,
    "models": [],
    "fixtures_duration": 0.0,
    "unended": 0,
    "lost": 0,
    "traces": [],
    "difference": None,
    "outage": None,
    "health": None,
    "missing": None,
    "attempts": [],
}


#: The attribute of the last report of a test that holds its lines, compressed: what a worker of xdist hands on at once.
_LINES: Final = "pytest_langfuse_lines"


def pack(kept: KeptTests, config: pytest.Config, options: Options) -> list[bytes]:
    """Write the lines of the tests that are kept. Return those of all that were not handed on, compressed."""
    lines = CapturedLines(redaction_of(config, options), root_of(config.rootpath), kept.images)
    kept.pack(lambda tests: packed(((test.id, test.repeat), lines.of(test)) for test in tests))
    return kept.blocks


def hand_on(kept: KeptTests, config: pytest.Config, options: Options, report: pytest.TestReport) -> None:
    """Send what is kept, the test that has ended, along with its last report."""
    setattr(report, _LINES, pack(kept, config, options))
    kept.blocks = []


class RunLines:
    """Collects the results of a run, and what its tests have recorded; then gives its lines, and writes them.

    A plugin of its run, registered where results are printed: with xdist, in the controller only. `rules` are the codes
    of the rules that the run evaluates.
    """

    def __init__(
        self,
        config: pytest.Config,
        options: Options,
        faults: Sequence[str],
        degradation: Degradation,
        outputs: RunOutputs,
    ) -> None:
        self._config, self._options, self._faults, self._degradation = config, options, faults, degradation
        self._outputs = outputs
        self._results = RunResults(faults)
        self._blocks: list[bytes] = []
        #: By the keys of tests, what workers have sent along with their reports: of a repeated test, the last attempt.
        self._handed_on: dict[Hashable, tuple[TestResult, list[bytes]]] = {}
        self._has_crashed = False
        self._started, self._began = datetime.now(UTC), time.perf_counter()
        self._duration = 0.0
        self.exit_status: int = 0
        self.end: Final = RunEnd(config)
        config.pluginmanager.register(self.end, "langfuse_run_end")
        self._redaction = redaction_of(config, options)
        #: Whether the first test was about to run.
        self.has_begun: bool = False
        #: A sentence, if there is nothing to compare with.
        self._not_compared = ""
        self._compared = self._compared_run()
        self._comparison: RunComparison | None = None
        #: Why tests fail that use more than they may, by what their lines call them.
        self._exceeded: dict[TestKey, str] = {}
        #: Of tests that have changed, by what their lines call them.
        self._changes: dict[TestKey, dict[str, Any]] = {}
        #: Of the lines that were written.
        self.totals: RunTotals | None = None

    # -- the tests -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Note that the first test is about to run."""
        self.has_begun = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the report of a phase."""
        result = self._results.add(report)
        if (blocks := getattr(report, _LINES, None)) is not None:
            self._handed_on[run_key(report)] = result, blocks

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take the report of a module that pytest can't collect, or skips as a whole. It counts it like a test."""
        if not report.passed:
            self._results.add_collection(report)
            if report.failed:
                self.end.miss(f"{report.nodeid or 'a part of the tests'} could not be collected: its tests are missing")

    def take(self, blocks: Iterable[bytes]) -> None:
        """Take what a process has captured, and has not sent along with reports."""
        self._blocks += blocks

    def miss(self, worker: str) -> None:
        """Take note that a worker has crashed."""
        self._has_crashed = True
        self.end.miss(f"the worker {worker} has crashed: what the test that it ran has recorded is missing")

    @property
    def has_contents(self) -> bool:
        """True if there is something to write: a test has begun, or an error kept all of them from it."""
        failed = any(result.outcome == "error" for result in self._results) or self.end.is_internal_error
        return self.has_begun or (failed and not self._config.getoption("collectonly"))

    @property
    def exceeded(self) -> Iterable[tuple[Hashable, str]]:
        """The keys of tests that use more than they may, as of their reports, each with a sentence."""
        names = self._names()
        for key, result in self._results.items():
            if (why := self._exceeded.get(names[id(result)])) is not None:
                yield key, why

    def _names(self) -> dict[int, TestKey]:
        """Return what lines call the tests, by the identities of their results. No two of them are called the same.

        Parameters that are secrets are all alike where they are left out: these are numbered in the order of the ids,
        so that they have the same numbers in the next run.
        """
        found: dict[int, TestKey] = {}
        taken: Counter[TestKey] = Counter()
        for result in sorted(self._results, key=lambda one: (one.node_id, one.fault or "", one.number)):
            text = shown_name = self._redaction.text(result.test)
            while taken[shown_name, result.fault]:
                taken[text, result.fault] += 1
                shown_name = f"{text} ({taken[text, result.fault]})"
            taken[shown_name, result.fault] = 1
            found[id(result)] = shown_name, result.fault
        return found

    # -- the end of the run --------------------------------------------------------------------------------------

    def finish(self, session: pytest.Session) -> None:
        """Complete the run, and compare it."""
        self._duration = time.perf_counter() - self._began
        if stopped := session.shouldstop or session.shouldfail:
            self.end.miss(str(stopped))
        for result in self._results:
            result.close()
        self.exit_status = int(session.exitstatus)
        if self.has_begun:
            self._compare()

    @property
    def own_errors(self) -> list[str]:
        """Limits that are exceeded, and files that could not be written: a sentence each."""
        found = [*self._outputs.problems]
        if self._comparison is not None and (exceeded := why_exceeded(self._comparison)) is not None:
            found.insert(0, exceeded)
        return found

    @property
    def errors(self) -> list[str]:
        """The reasons why the run fails besides its tests, a sentence each."""
        found = [*self.own_errors, *self.end.why_red()]
        is_explained = found or self.end.incomplete or any(result.outcome in FAILED for result in self._results)
        return found if is_explained or not self.exit_status else [self.end.why(self.exit_status)]

    def summary(self) -> str:
        """Return the summary of the step."""
        more = [escaped(self._not_compared), ""] if self._not_compared else []
        return markdown(RunSummary.of(self.lines()), more)

    def _compared_run(self) -> ComparedRun | None:
        """Return the run to compare with. The ini file may name one that the first run has yet to write.

        Raises:
            pytest.UsageError: the file is not one of a run.
        """
        if (given := self._options.compare) is None:
            self._not_compared = self._options.not_compared or ""
            return None
        if given.source.startswith("ini") and not os.path.lexists(given.value):
            idle = "" if self._options.idle_limits is None else f", so {self._options.idle_limits}"
            self._not_compared = f"not compared: {given.source}: {shown(self._compared_name)} does not exist yet{idle}"
            return None
        try:
            return ComparedRun.of_file(Path(given.value))
        except BadComparison as error:
            raise pytest.UsageError(f"{given.source}: {shown(self._compared_name)} {error}") from None

    def _compare(self) -> None:
        if self._compared is not None:
            options, run = self._options, ComparedRun.of(self.lines())
            self._comparison = RunComparison(self._compared, run, options.max_cost_increase, options.max_token_increase)
            if any(map(self._outputs.has, _OF_LINES)):
                self._changes = dict(comparison_rows(self._comparison))
            self._exceeded = exceeded_messages(self._comparison)

    @property
    def _compared_name(self) -> str:
        given = self._options.compare
        return "" if given is None else shown_path(given.value)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the run: its own, then each test with what belongs to it."""
        yield self._redaction.line({"kind": "run", "schema": SCHEMA}, self._run())
        totals, images, names = RunTotals(), DistinctImages(), self._names()
        left = {id(result): result for result in self._results}
        for result, part in self._parts():
            if left.pop(id(result), None) is not None:
                totals.add(part.fields)
                yield from images.among(self._of_test(result, names[id(result)], part))
        missing = "what it has recorded is missing, since its worker has crashed" if self._has_crashed else None
        self.totals = totals
        for result in left.values():
            why = None if result.is_collection else missing
            yield from self._of_test(result, names[id(result)], CapturedPart({**_NOTHING, "missing": why}, []))

    def _parts(self) -> Iterator[tuple[TestResult, CapturedPart]]:
        """Yield what was captured of each test."""
        for result, blocks in self._handed_on.values():
            for key, part in unpacked(blocks):
                found = result if key[0] == result.id else self._results.find(key)
                if found is not None:
                    yield found, part
        for key, part in unpacked(self._blocks):
            if (found := self._results.find(key)) is not None:
                yield found, part

    def _run(self) -> dict[str, Any]:
        return {
            "version": version("pytest-langfuse"),
            "started": self._started.isoformat(timespec="milliseconds"),
            "duration": round(self._duration, 6),
            "faults": list(self._faults),
            "command": shlex.join(map(str, self._config.invocation_params.args)),
            "exit_status": self.exit_status,
            "rules": self._codes(),
            "incomplete": self.end.incomplete,
            "errors": self.errors,
            "compared": None if self._comparison is None else compared_field(self._comparison, self._compared_name),
        }

    def _codes(self) -> list[str]:
        if not self._options.rules_select:
            return []
        return [rule.code for rule in rule_set_of(self._options).rules]

    def _of_test(self, result: TestResult, key: TestKey, part: CapturedPart) -> Iterator[str]:
        test, fault = key
        ids = {"kind": "test", "test": test, "fault": fault}
        outage = self._degradation.outage_row(result.id)
        exceeded = self._exceeded.get(key) if result.outcome == "passed" else None
        row = {
            "outcome": result.outcome if exceeded is None else EXCEEDED,
            "duration": round(result.duration, 6),
            "message": result.message if exceeded is None else exceeded,
            "failure": result.failure,
            "xfail": result.xfail,
            "collection": result.is_collection,
            **part.fields,
            "attempts": _attempts(result.attempts, part.fields["attempts"]),
            "degraded": None if outage is None else outage["degraded"],
            "blocked": None if outage is None else outage["blocked"],
            "blocked_seconds": 0.0 if outage is None else round(outage["blocked_seconds"], 6),
        }
        row["message"] = first_difference(row)
        yield self._redaction.line(ids, row)
        yield from self._named(test, result, part.lines)
        for finding in result.findings:
            others = {key: value for key, value in finding.items() if key not in {"kind", "test", "trace", "id"}}
            trace = {key: finding.get(key, "") for key in ("trace", "id")}
            yield self._redaction.line({"kind": "finding", "test": test, "fault": result.fault, **trace}, others)
        if outage is not None:
            yield self._redaction.line({"kind": "outage", "test": test}, outage)
        if (change := self._changes.get(key)) is not None:
            yield self._redaction.line({"kind": "comparison", "test": test, "fault": result.fault}, change)

    def _named(self, test: str, result: TestResult, lines: Iterable[str]) -> Iterator[str]:
        """Yield lines of a test under its name: the process that wrote them does not know of others that are alike."""
        before = self._redaction.text(result.node_id)
        if test == before:
            yield from lines
            return
        old, new = (f'"test": {encoded(one)}' for one in (before, test))
        for line in lines:
            yield line.replace(old, new, 1)

    # -- the report ----------------------------------------------------------------------------------------------

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Say that a file is missing, and print the comparison."""
        for problem in self._outputs.problems:
            terminalreporter.write_line(problem, red=True)
        if self._not_compared:
            terminalreporter.write_line(f"langfuse: {self._not_compared}")
        if self._comparison is not None:
            whole = self._config.get_verbosity() > 0
            write(terminalreporter, self._comparison, self._compared_name, whole=whole)


def _attempts(reported: Sequence[dict[str, Any]], used: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is known of attempts that have failed: from their reports, and of what they have recorded."""
    nothing = {name: _NOTHING[name] for name in USED}
    missing = [nothing] * (len(reported) - len(used))
    return [{**one, **other} for one, other in zip(reported, [*used, *missing], strict=False)]
