"""The degradation report: the tests that waited for Langfuse or did worse than in the last healthy run."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from pytest_langfuse.outage.suite import without_fault
from pytest_langfuse.recording.blocking_sampler import Wait
from pytest_langfuse.report.healthy_runs import healthy_runs, remember
from pytest_langfuse.report.junit import add_failure
from pytest_langfuse.report.test_run import TestRun
from pytest_langfuse.rules.counted import counted

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.options import Options

#: The attribute with which a test's report carries what is known of it to the process that prints.
_ATTRIBUTE = "pytest_langfuse_outage"


def add_degradation(report: pytest.TestReport, fault: str | None, *, lost: int | None, wait: Wait | None) -> None:
    """Note on a report the fault of the suite, how many observations were lost, if known, and the wait so far."""
    waited = {} if wait is None else {"blocked": str(wait), "seconds": wait.seconds, "shortened": wait.shortened}
    setattr(report, _ATTRIBUTE, {"fault": fault, "lost": lost, **waited})


def fault_of(report: pytest.TestReport, faults: Sequence[str]) -> str | None:
    """Return the fault of the suite under which a test ran; `None` if it ran without, or under one of its own."""
    details = _details(report)
    # The report of a test whose worker has crashed is made by xdist: only its id tells.
    fault: str | None = details["fault"] if details else without_fault(report.nodeid, faults)[1]
    return fault


def _details(report: pytest.TestReport) -> Mapping[str, Any]:
    return getattr(report, _ATTRIBUTE, None) or {}


class Degradation:
    """Collects the reports of a run and compares them with the last healthy run in pytest's cache.

    Without an outage it keeps a captured run for later comparisons. A plugin of its run, registered where results are
    printed: with xdist, in the controller only.
    """

    def __init__(self, config: pytest.Config, options: Options, faults: Sequence[str]) -> None:
        self._config = config
        self._options = options
        self._faults = faults
        self._runs: dict[str, TestRun] = {}
        self._finished: set[str] = set()
        #: Not there with `-p no:cacheprovider`.
        self._cache: pytest.Cache | None = getattr(config, "cache", None)
        self._healthy = healthy_runs(self._cache) if faults else {}
        self._stopped: str | None = None

    # -- the tests -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add one phase of a test to its run; at its end, tell the JUnit file if it is degraded."""
        run = self._runs.get(report.nodeid)
        if run is None:
            fault = fault_of(report, self._faults)
            test = report.nodeid if fault is None else without_fault(report.nodeid, [fault])[0]
            run = self._runs[report.nodeid] = TestRun(test, fault)
        if report.when == "setup":
            run.begin_attempt()
        self._add(report, run)
        if report.when == "teardown":
            self._finished.add(report.nodeid)
            run.compare_with(self._healthy.get(run.test))
            if run.fault is not None and (why := run.why_degraded(self._options)) is not None:
                self._tell_junit(report, run, f"degraded under {run.fault}: {why}")

    def _add(self, report: pytest.TestReport, run: TestRun) -> None:
        details = _details(report)
        if type(report) is pytest.TestReport:  # the time of a subtest is part of that of its test
            run.duration += report.duration
        if report.outcome == "failed" or (report.outcome == "skipped" and run.outcome == "passed"):
            run.outcome = report.outcome
        if (lost := details.get("lost")) is not None:
            run.lost = lost
        seconds, shortened = details.get("seconds", 0.0), details.get("shortened", 0.0)
        if seconds + shortened > run.blocked_seconds + run.shortened_seconds:
            run.blocked, run.blocked_seconds, run.shortened_seconds = details["blocked"], seconds, shortened

    def _tell_junit(self, report: pytest.TestReport, run: TestRun, message: str) -> None:
        report.user_properties.append(("langfuse_degraded", message))
        if run.outcome == "passed":
            add_failure(self._config, report, f"{message}\n{run.blocked}" if run.blocked else message)

    # -- the end of the run --------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Keep a healthy run for comparison; fail a run in which a test is degraded, and say so in the last line."""
        self._stopped = str(session.shouldstop or session.shouldfail or "") or None
        if self._options.capture and not self._faults:
            remember(self._cache, (run for test, run in self._runs.items() if test in self._finished))
        for run in self._runs.values():
            run.compare_with(self._healthy.get(run.test))
        why = self.why_red()
        if why is not None and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield
        terminal: TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        if why is not None and terminal is not None:
            # After pytest's own last line, which is green if all tests have passed.
            terminal.write_line(f"langfuse: {why} (exit status {int(session.exitstatus)})", red=True, bold=True)

    def why_red(self) -> str | None:
        """Return why the run fails, or `None` if it does not."""
        degraded = {fault: sum(1 for _ in self._degraded(fault)) for fault in self._faults}
        total, runs = sum(degraded.values()), sum(len(self._under(fault)) for fault in self._faults)
        if not total:
            return None
        by_fault = ", ".join(f"{fault} {count}" for fault, count in degraded.items() if count)
        return f"{total} of {counted(runs, 'test')} degraded by an outage: {by_fault}"

    def outage_row(self, nodeid: str) -> dict[str, Any] | None:
        """Return how a test has done under a fault of the suite; `None` if it ran without."""
        run = self._runs.get(nodeid)
        if run is None or run.fault is None:
            return None
        return {**asdict(run), "degraded": run.why_degraded(self._options)}

    # -- the report ----------------------------------------------------------------------------------------------

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Print the report."""
        terminal = terminalreporter
        runs = [run for fault in self._faults for run in self._under(fault)]
        if not runs:
            return
        terminal.write_sep("=", "Langfuse degradation")
        if all(run.healthy_outcome is None for run in runs):
            how = "pytest's cache is switched off"
            if self._cache is not None:
                how = "record one with pytest --langfuse-capture"
            terminal.write_line(f"no healthy run to compare with: {how}")
        if self._stopped is not None:
            terminal.write_line(f"{self._stopped}: tests are missing here", yellow=True)
        for fault in self._faults:
            self._write_fault(terminal, fault)

    def _write_fault(self, terminal: TerminalReporter, fault: str) -> None:
        runs = self._under(fault)
        if not runs:
            terminal.write_line(f"{fault}: no test ran")
            return
        worse = list(self._degraded(fault))
        counts = [f"{len(worse) or 'none'} of {counted(len(runs), 'test')} degraded"]
        if not_compared := sum(run.healthy_outcome is None for run in runs):
            counts.append(f"{not_compared} not compared")
        if unfinished := sum(run.fault == fault and test not in self._finished for test, run in self._runs.items()):
            counts.append(f"{unfinished} not finished")
        counts.append(f"{counted(sum(run.lost for run in runs), 'observation')} lost")
        terminal.write_line(f"{fault}: {', '.join(counts)}")
        for run, why in worse:
            terminal.write_line(f"  {run.test}: {why}")
            if run.blocked is not None:
                terminal.write_line(f"    {run.blocked}")

    def _under(self, fault: str) -> list[TestRun]:
        return [run for run in self._runs.values() if run.fault == fault]

    def _degraded(self, fault: str) -> Iterator[tuple[TestRun, str]]:
        for run in self._under(fault):
            if (why := run.why_degraded(self._options)) is not None:
                yield run, why
