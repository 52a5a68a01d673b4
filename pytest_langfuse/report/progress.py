"""The progress of `--langfuse-outage` with several faults, a run that takes minutes."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import pytest
from _pytest.terminal import TerminalReporter

from pytest_langfuse.outage.suite import FAULT
from pytest_langfuse.report.degradation import fault_of
from pytest_langfuse.report.figures import amount

if TYPE_CHECKING:
    TestStatus = tuple[str, str, str | tuple[str, dict[str, bool]]]

#: With `-qq` there is no report to go with it.
_QUIETEST = -1
#: What pytest writes into `currentfspath` for a line that has begun, and is not the name of a file.
_LINE_BEGUN = -2
#: Stands for the end of a name.
_CUT = "..."


class Progress:
    """Says which fault is in force, and on a terminal how far the run is.

    A terminal shows one line, which is written again after each test, in place of a letter for each test. Elsewhere,
    and with `-v` and the like, each fault has a line. With xdist, where tests of two faults overlap, a fault begins
    when its first result arrives.
    """

    def __init__(self, config: pytest.Config, faults: Sequence[str]) -> None:
        self._config = config
        self._faults = list(faults)
        self._begun: list[str] = []
        self._done = 0
        self._failed: set[str] = set()
        self._written = ""
        self._session: pytest.Session | None = None
        #: The terminal, while one line of it is written again and again.
        self._rewritten: TerminalReporter | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Find out what the results are printed on."""
        self._session = session
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        # Another reporter, in the place of pytest's, writes in its own way.
        if type(terminal) is TerminalReporter and terminal.isatty and self._is_quiet():
            self._rewritten = terminal
            # The names of files would begin new lines.
            terminal.showfspath = False

    def _is_quiet(self) -> bool:
        """Return whether nothing else writes to the terminal while tests run."""
        option = self._config.getoption
        return (
            _QUIETEST <= self._config.get_verbosity() <= 0
            and os.environ.get("TERM") != "dumb"
            and option("capture", "fd") != "no"
            and not any(option(name, default=False) for name in ("usepdb", "trace", "setupshow", "setuponly"))
            and option("log_cli_level", None) is None
            and not (self._config.pluginmanager.has_plugin("logging") and self._config.getini("log_cli"))
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, TestStatus, TestStatus]:
        """Count a result, and print no letter for it, while there is the one line."""
        status = yield
        return status if self._rewritten is None else (status[0], "", "")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Announce the fault of a test before pytest writes anything about the test."""
        self._announce(item.stash.get(FAULT, None))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Announce the fault of a test that ran in a worker, and count the test."""
        self._announce(fault_of(report, self._faults))
        if report.failed:
            self._failed.add(report.nodeid)
        # Of a test whose worker has crashed there is one report, which xdist has made.
        if report.when not in {"setup", "call"}:
            self._done += 1
        self._rewrite()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Leave the line as it is; the summary names results as ever."""
        if self._rewritten is not None:
            self._rewritten.currentfspath = None
            self._rewritten = None

    def _announce(self, fault: str | None) -> None:
        if fault is None or fault in self._begun:
            return
        self._begun.append(fault)
        if self._rewritten is not None:
            self._rewrite()
            return
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and self._config.get_verbosity() >= _QUIETEST:
            if (writer := self._config.get_terminal_writer()).width_of_current_line and not terminal.currentfspath:
                # With xdist, pytest's own `write_line` would continue the line of dots.
                writer.line()
            terminal.write_line(self._fault())

    def _fault(self) -> str:
        return f"Langfuse outage {self._place()}: {self._begun[-1]}"

    def _place(self) -> str:
        return f"{self._faults.index(self._begun[-1]) + 1} of {len(self._faults)}"

    def _rewrite(self) -> None:
        if (terminal := self._rewritten) is None or not self._begun or self._session is None:
            return
        room = self._config.get_terminal_writer().fullwidth - 1
        tests = f"{amount(self._done)} of {amount(self._session.testscollected)} tests"
        failed = f"{amount(len(self._failed))} failed" if self._failed else ""
        text = progress_line(self._place(), self._begun[-1], tests, failed, room)
        if text != self._written:
            self._written = text
            terminal.rewrite(text, erase=True)
            # So that whatever else is written begins a new line.
            terminal.currentfspath = _LINE_BEGUN


def progress_line(place: str, fault: str, tests: str, failed: str, room: int) -> str:
    """Return the line in so many columns: the name of the fault gives way first, then words; figures are not cut.

    `place` is like `2 of 18`, `tests` like `40 of 120 tests`; `failed` is empty if no test has failed.
    """
    head = f"Langfuse outage {place}"
    left = room - len(", ".join(filter(None, (f"{head}: ", tests, failed)))) - len(_CUT)
    names = [fault, f"{fault[:left]}{_CUT}"] if left > 0 else [fault]
    short = place.replace(" of ", "/")
    heads = [*(f"{head}: {name}" for name in names), head, f"outage {place}", f"outage {short}", ""]
    lines = [", ".join(filter(None, (one, tests, failed))) for one in heads]
    lines += [", ".join(filter(None, (one, failed))) for one in (tests, tests.replace(" of ", "/"))]
    return next((line for line in lines if len(line) <= room), lines[-1][: max(room, 0)])
