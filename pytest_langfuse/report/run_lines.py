"""A run as lines of JSON: what `--langfuse-json` writes, and what is made of it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_langfuse.arguments import shown
from pytest_langfuse.outage.suite import without_fault
from pytest_langfuse.recording.calling_code import shown_path
from pytest_langfuse.report.captured_lines import CapturedLines, CapturedPart
from pytest_langfuse.report.compared_run import BadComparison, ComparedRun
from pytest_langfuse.report.compared_test import TestKey
from pytest_langfuse.report.comparison_lines import compared_field, comparison_rows
from pytest_langfuse.report.comparison_report import markdown_of, write
from pytest_langfuse.report.degradation import Degradation, fault_of
from pytest_langfuse.report.packed_lines import packed, unpacked
from pytest_langfuse.report.rules_of_run import redaction_of, rule_set_of
from pytest_langfuse.report.run_comparison import RunComparison
from pytest_langfuse.report.run_summary import EXCEEDED, RunSummary
from pytest_langfuse.report.run_totals import RunTotals
from pytest_langfuse.report.sent_images import DistinctImages
from pytest_langfuse.report.step_summary import escaped, markdown
from pytest_langfuse.report.test_result import TestResult
from pytest_langfuse.rules.checked import root_of

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.options import Options
    from pytest_langfuse.report.kept_test import KeptTests
    from pytest_langfuse.report.run_outputs import RunOutputs

#: The version of the schema of lines; readers of one version ignore kinds and fields that they don't know.
SCHEMA: Final = 1
_MORE: Final = "more than in the run that it is compared with"
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
}


#: The attribute of the last report of a test that holds its lines, compressed: what a worker of xdist hands on at once.
_LINES: Final = "pytest_langfuse_lines"


def pack(kept: KeptTests, config: pytest.Config, options: Options) -> list[bytes]:
    """Write the lines of the tests that are kept. Return those of all that were not handed on, compressed."""
    lines = CapturedLines(redaction_of(config, options), root_of(config.rootpath), kept.images)
    kept.pack(lambda tests: packed((test.id, lines.of(test)) for test in tests))
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
        self._results: dict[str, TestResult] = {}
        self._blocks: list[bytes] = []
        #: By the ids of tests, what workers have sent along with their reports.
        self._handed_on: dict[str, list[bytes]] = {}
        self._has_crashed = False
        #: Why tests or observations are missing.
        self._incomplete: list[str] = []
        self._started, self._began = datetime.now(UTC), time.perf_counter()
        self._duration = 0.0
        self._exit_status = 0
        self._redaction = redaction_of(config, options)
        #: Whether the first test was about to run.
        self._begun = False
        #: A sentence, if there is nothing to compare with.
        self._not_compared = ""
        self._compared = self._compared_run()
        self._comparison: RunComparison | None = None
        #: Why tests fail that use more than they may, by their ids.
        self._exceeded: dict[str, str] = {}
        #: Of tests that have changed, by what their lines call them.
        self._changes: dict[TestKey, dict[str, Any]] = {}
        #: Of the lines that were written.
        self.totals: RunTotals | None = None

    # -- the tests -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Note that the first test is about to run: the files hold this run at its end."""
        self._begun = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the report of a phase."""
        result = self._results.get(report.nodeid)
        if result is None:
            fault = fault_of(report, self._faults)
            test = report.nodeid if fault is None else without_fault(report.nodeid, [fault])[0]
            result = self._results[report.nodeid] = TestResult(report.nodeid, test, fault)
        result.add(report)
        if (blocks := getattr(report, _LINES, None)) is not None:
            # Of a repeated test, the last attempt.
            self._handed_on[report.nodeid] = blocks

    def take(self, blocks: Iterable[bytes]) -> None:
        """Take what a process has captured, and has not sent along with reports."""
        self._blocks += blocks

    def miss(self, worker: str) -> None:
        """Take note that a worker has crashed."""
        self._has_crashed = True
        self._incomplete.append(f"the worker {worker} has crashed: what the test that it ran has recorded is missing")

    @property
    def has_begun(self) -> bool:
        """True once the first test was about to run."""
        return self._begun

    @property
    def exceeded(self) -> Iterable[tuple[str, str]]:
        """The ids of tests that use more than they may, each with a sentence."""
        return self._exceeded.items()

    def _find_exceeded(self, comparison: RunComparison) -> Iterator[tuple[str, str]]:
        ids = {(self._redaction.text(result.test), result.fault): id_ for id_, result in self._results.items()}
        for test, limits in groupby(comparison.exceeded, key=lambda one: one.test):
            yield ids[test], f"{_MORE}: {'; '.join(map(str, limits))}"

    # -- the end of the run --------------------------------------------------------------------------------------

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note why a run ends early: it was interrupted, or a test called `pytest.exit`."""
        error = excinfo.value
        if isinstance(error, pytest.exit.Exception):
            self._end_early(f"pytest.exit has ended the run{f': {error.msg}' if error.msg else ''}")
        elif type(error) is KeyboardInterrupt:
            place = excinfo.traceback[-1]
            self._end_early(f"the run was interrupted at {shown_path(str(place.path))}:{place.lineno + 1}")
        else:
            # As xdist and `-x` say it.
            self._end_early(str(error))

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that pytest, or a plugin, has failed."""
        self._end_early(f"the run has ended by an internal error: {excinfo.exconly()}")

    def _end_early(self, why: str) -> None:
        if why not in self._incomplete:
            self._incomplete.append(why)

    def finish(self, session: pytest.Session) -> None:
        """Complete the run, and compare it; fail it if it uses more than it may."""
        self._duration = time.perf_counter() - self._began
        if stopped := session.shouldstop or session.shouldfail:
            self._end_early(str(stopped))
        for result in self._results.values():
            result.close()
        if self._begun:
            self._exit_status = int(session.exitstatus)
            self._compare()
            self.fail(session)

    def write(self, session: pytest.Session) -> None:
        """Write the summary of the step, then the file, which has the exit status; fail the run if it can't be done."""
        if not self._begun:
            return
        if self._outputs.has("step_summary"):
            compared: Iterable[str] = [escaped(self._not_compared), ""] if self._not_compared else ()
            if self._comparison is not None:
                compared = markdown_of(self._comparison, self._compared_name)
            self._outputs.add_to_summary(markdown(RunSummary.of(self.lines()), compared))
        self.fail(session)
        if self._outputs.has("json"):
            self._outputs.write("json", (f"{line}\n" for line in self.lines()), "ascii")
            self.fail(session)

    def fail(self, session: pytest.Session) -> None:
        """Set the exit status of a run that fails for more than its tests."""
        if self._why_red() is not None and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._exit_status = int(session.exitstatus)

    def _why_red(self) -> str | None:
        """Return why the run fails, or `None` if it does not."""
        reasons = []
        if self._comparison is not None and (exceeded := len(self._comparison.exceeded)):
            limits = "1 limit" if exceeded == 1 else f"{exceeded} limits"
            reasons.append(f"{_MORE}: {limits} exceeded")
        reasons += self._outputs.problems
        return "; ".join(reasons) or None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Say in the last line why the run fails."""
        yield
        terminal: TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        if (why := self._why_red()) is not None and terminal is not None:
            # After pytest's own last line, which is green if all tests have passed.
            terminal.write_line(f"langfuse: {why} (exit status {int(session.exitstatus)})", red=True, bold=True)

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
            if self._outputs.has("json") or self._outputs.has("report"):
                self._changes = dict(comparison_rows(self._comparison))
            self._exceeded = dict(self._find_exceeded(self._comparison))

    @property
    def _compared_name(self) -> str:
        given = self._options.compare
        return "" if given is None else shown_path(given.value)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the run: its own, then each test with what belongs to it."""
        yield self._redaction.line({"kind": "run", "schema": SCHEMA}, self._run())
        totals, images = RunTotals(), DistinctImages()
        left = dict(self._results)
        for id_, part in unpacked(block for blocks in (*self._handed_on.values(), self._blocks) for block in blocks):
            if (result := left.pop(id_, None)) is not None:
                totals.add(part.fields)
                yield from images.among(self._of_test(result, part))
        missing = "what it has recorded is missing, since its worker has crashed" if self._has_crashed else None
        self.totals = totals
        for result in left.values():
            yield from self._of_test(result, CapturedPart({**_NOTHING, "missing": missing}, []))

    def _run(self) -> dict[str, Any]:
        return {
            "version": version("pytest-langfuse"),
            "started": self._started.isoformat(timespec="milliseconds"),
            "duration": round(self._duration, 6),
            "faults": list(self._faults),
            "command": shlex.join(map(str, self._config.invocation_params.args)),
            "exit_status": self._exit_status,
            "rules": self._codes(),
            "incomplete": self._incomplete,
            "compared": None if self._comparison is None else compared_field(self._comparison, self._compared_name),
        }

    def _codes(self) -> list[str]:
        if not self._options.rules_select:
            return []
        return [rule.code for rule in rule_set_of(self._options).rules]

    def _of_test(self, result: TestResult, part: CapturedPart) -> Iterator[str]:
        test = self._redaction.text(result.test)
        ids = {"kind": "test", "test": test, "fault": result.fault}
        outage = self._degradation.outage_row(result.id)
        exceeded = self._exceeded.get(result.id) if result.outcome == "passed" else None
        row = {
            "outcome": result.outcome if exceeded is None else EXCEEDED,
            "duration": round(result.duration, 6),
            "message": result.message if exceeded is None else exceeded,
            "failure": result.failure,
            **part.fields,
            "degraded": None if outage is None else outage["degraded"],
            "blocked": None if outage is None else outage["blocked"],
            "blocked_seconds": 0.0 if outage is None else round(outage["blocked_seconds"], 6),
        }
        yield self._redaction.line(ids, row)
        yield from part.lines
        for finding in result.findings:
            others = {key: value for key, value in finding.items() if key not in {"kind", "test", "trace", "id"}}
            trace = {key: finding.get(key, "") for key in ("trace", "id")}
            yield self._redaction.line({"kind": "finding", "test": test, "fault": result.fault, **trace}, others)
        if outage is not None:
            yield self._redaction.line({"kind": "outage", "test": test}, outage)
        if (change := self._changes.get((test, result.fault))) is not None:
            yield self._redaction.line({"kind": "comparison", "test": test, "fault": result.fault}, change)

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
