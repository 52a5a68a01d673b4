"""The degradation report: the tests that did worse under an outage than in the last healthy run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.options import Options

_CACHE = "langfuse/healthy"

#: The attribute with which a test's report carries the fault, `lost` and `blocked` to the process that prints.
_ATTRIBUTE = "pytest_langfuse_outage"


def add_degradation(report: pytest.TestReport, fault: str, *, lost: int, blocked: object | None) -> None:
    """Note on the report of a test under `fault` how many observations were lost, and where the test was blocked."""
    details = {"fault": fault, "lost": lost, "blocked": str(blocked) if blocked is not None else None}
    setattr(report, _ATTRIBUTE, details)


def outage_details(report: pytest.TestReport) -> Mapping[str, Any]:
    """Return what `add_degradation` noted; empty for a test that ran without an outage of the suite."""
    return getattr(report, _ATTRIBUTE, None) or {}


@dataclass(slots=True)
class TestRun:
    """One test of the run, under one fault.

    `duration` is in seconds, `lost` counts the observations that Langfuse did not accept.
    """

    test: str
    fault: str | None = None
    outcome: str = "passed"
    duration: float = 0.0
    lost: int = 0
    blocked: str | None = None
    healthy_outcome: str | None = None
    healthy_duration: float | None = None

    def changed(self, max_slowdown: float) -> str | None:
        """Return how the test did worse than in the healthy run, or `None` if it did not."""
        before = self.healthy_outcome
        if self.outcome != (before or "passed"):
            return f"{before or 'no healthy run'} -> {self.outcome}"
        if self.healthy_duration is not None and self.duration - self.healthy_duration > max_slowdown:
            return f"{self.healthy_duration:.2f} s -> {self.duration:.2f} s"
        return None


class Degradation:
    """Collects the reports of a run and compares them with the last healthy run in pytest's cache.

    A plugin of its run, registered where results are printed: with xdist, in the controller only.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._runs: dict[str, TestRun] = {}
        self._cached = True
        #: Why the JSON lines that were asked for are missing.
        self._not_written: str | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add one phase of a test to its run; name the runs of one test apart, such as `test_it[hang]`."""
        details = outage_details(report)
        test, fault = report.nodeid, details.get("fault")
        if fault is not None:
            # Not where the report is made: xdist's worker insists on the id of the item.
            path, line, domain = report.location
            report.nodeid, report.location = f"{test}[{fault}]", (path, line, f"{domain}[{fault}]")
        run = self._runs.setdefault(report.nodeid, TestRun(test, fault))
        run.duration += report.duration
        if report.outcome == "failed" or (report.outcome == "skipped" and run.outcome == "passed"):
            run.outcome = report.outcome
        run.lost += details.get("lost", 0)
        run.blocked = details.get("blocked") or run.blocked

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Keep a healthy run for comparison; fail a run in an outage in which a test did worse."""
        cache = getattr(session.config, "cache", None)
        if self._options.outage is None:
            self._remember(cache)
        elif not self._settle(cache) and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _remember(self, cache: pytest.Cache | None) -> None:
        if cache is not None and self._runs:
            now = {run.test: (run.outcome, run.duration) for run in self._runs.values()}
            cache.set(_CACHE, {**_healthy(cache), **now})

    def _settle(self, cache: pytest.Cache | None) -> bool:
        """Compare with the last healthy run and append the JSON lines.

        Returns whether no test did worse and the lines were written.
        """
        self._cached = cache is not None
        healthy = _healthy(cache) if cache is not None else {}
        for run in self._runs.values():
            if run.test in healthy:
                run.healthy_outcome, run.healthy_duration = healthy[run.test]
        if (path := self._options.json) is not None:
            try:
                self._write_json(path)
            except OSError as error:
                self._not_written = f"{path} could not be written: {error.strerror or error}"
        degraded = any(run.changed(self._options.max_slowdown) is not None for run in self._under_outage())
        return not degraded and self._not_written is None

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Print the report."""
        terminal = terminalreporter
        if self._not_written is not None:
            terminal.write_line(self._not_written, red=True)
        runs = list(self._under_outage())
        if not runs:
            return
        terminal.write_sep("=", "Langfuse degradation")
        if all(run.healthy_outcome is None for run in runs):
            how = "record one with pytest --langfuse-capture" if self._cached else "pytest's cache is switched off"
            terminal.write_line(f"no healthy run to compare with: {how}")
        for fault in dict.fromkeys(run.fault for run in runs):
            self._write_fault(terminal, str(fault), [run for run in runs if run.fault == fault])

    def _write_json(self, path: Path) -> None:
        with path.open("a", encoding="utf-8") as file:
            for run in self._under_outage():
                line = {"kind": "outage", **asdict(run), "degraded": run.changed(self._options.max_slowdown)}
                file.write(json.dumps(line) + "\n")

    def _write_fault(self, terminal: TerminalReporter, fault: str, runs: list[TestRun]) -> None:
        worse = [(run, change) for run in runs if (change := run.changed(self._options.max_slowdown)) is not None]
        lost = sum(run.lost for run in runs)
        count = f"{len(worse)} of {len(runs)}" if worse else f"none of {len(runs)}"
        tests = "test" if len(runs) == 1 else "tests"
        observations = "observation" if lost == 1 else "observations"
        terminal.write_line(f"{fault}: {count} {tests} degraded, {lost} {observations} lost")
        for run, change in worse:
            terminal.write_line(f"  {run.test}: {change}")
            if run.blocked is not None:
                terminal.write_line(f"    {run.blocked}")

    def _under_outage(self) -> Iterator[TestRun]:
        return (run for run in self._runs.values() if run.fault is not None)


def _healthy(cache: pytest.Cache) -> dict[str, tuple[str, float]]:
    """Return outcome and duration by test, without entries in the format of another version."""
    cached = cache.get(_CACHE, {})
    entries = cached.items() if isinstance(cached, dict) else ()
    return {test: (entry[0], entry[1]) for test, entry in entries if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2  # noqa: PLR2004 - outcome and duration
        and isinstance(entry[0], str)
        and isinstance(entry[1], int | float)
    )
