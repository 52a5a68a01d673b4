"""The degradation report: what a suite did under an outage that it does not do while Langfuse is well."""

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
ATTRIBUTE = "pytest_langfuse_outage"


def add_degradation(report: pytest.TestReport, fault: str, *, lost: int, blocked: object | None) -> None:
    """Note on the report of a test under `fault` how many observations were lost, and where the test was blocked."""
    details = {"fault": fault, "lost": lost, "blocked": str(blocked) if blocked is not None else None}
    setattr(report, ATTRIBUTE, details)


@dataclass(slots=True)
class Run:
    """One test of the run. `duration` is in seconds, `lost` counts observations that Langfuse did not accept."""

    test: str
    fault: str | None = None
    outcome: str = "passed"
    duration: float = 0.0
    lost: int = 0
    blocked: str | None = None
    healthy_outcome: str | None = None
    healthy_duration: float | None = None

    def changed(self, max_slowdown: float) -> str | None:
        """How the test is worse than while Langfuse is well; `None` if it is not."""
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
        self._runs: dict[str, Run] = {}
        self._cached = True
        #: Why there are no JSON lines although they were asked for.
        self._not_written: str | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one phase of one test into account, and tell the runs of one test apart: `test_it[hang]`."""
        details: Mapping[str, Any] = getattr(report, ATTRIBUTE, None) or {}
        test, fault = report.nodeid, details.get("fault")
        if fault is not None:
            # Here and not where the report is made: xdist's worker insists on the item's own id.
            path, line, domain = report.location
            report.nodeid, report.location = f"{test}[{fault}]", (path, line, f"{domain}[{fault}]")
        run = self._runs.setdefault(report.nodeid, Run(test, fault))
        run.duration += report.duration
        if report.outcome == "failed" or (report.outcome == "skipped" and run.outcome == "passed"):
            run.outcome = report.outcome
        run.lost += details.get("lost", 0)
        run.blocked = details.get("blocked") or run.blocked

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Keep a healthy run for later comparison; compare a run in an outage, which fails if a test is worse off."""
        cache = getattr(session.config, "cache", None)
        if self._options.outage is None:
            self._remember(cache)
        elif not self._settle(cache) and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Print the report."""
        self._write(terminalreporter)

    def _remember(self, cache: pytest.Cache | None) -> None:
        if cache is not None and self._runs:
            now = {run.test: (run.outcome, run.duration) for run in self._runs.values()}
            cache.set(_CACHE, {**_healthy(cache), **now})

    def _settle(self, cache: pytest.Cache | None) -> bool:
        """Compare with the last healthy run and append the JSON lines.

        Returns whether no test is worse off and the lines could be written.
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

    def _write(self, terminal: TerminalReporter) -> None:
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

    def _write_fault(self, terminal: TerminalReporter, fault: str, runs: list[Run]) -> None:
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

    def _under_outage(self) -> Iterator[Run]:
        return (run for run in self._runs.values() if run.fault is not None)


def _healthy(cache: pytest.Cache) -> dict[str, tuple[str, float]]:
    """Outcome and duration by test. What another version may have written there is left out."""
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
