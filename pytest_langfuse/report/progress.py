"""The progress of `--langfuse-outage` with several faults, a run that takes minutes: a line as each fault begins."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_langfuse.outage.suite import FAULT
from pytest_langfuse.report.degradation import fault_of

#: With `-qq` there is no report to go with it.
_QUIETEST = -1


class Progress:
    """Prints each fault as it begins; with xdist, where tests of two faults overlap, when its first result arrives."""

    def __init__(self, config: pytest.Config, faults: Sequence[str]) -> None:
        self._config = config
        self._faults = list(faults)
        self._begun: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Announce the fault of a test before pytest writes anything about the test."""
        self._announce(item.stash.get(FAULT, None))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Announce the fault of a test that ran in a worker."""
        self._announce(fault_of(report, self._faults))

    def _announce(self, fault: str | None) -> None:
        if fault is None or fault in self._begun:
            return
        self._begun.add(fault)
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and self._config.get_verbosity() >= _QUIETEST:
            if (writer := self._config.get_terminal_writer()).width_of_current_line and not terminal.currentfspath:
                # With xdist, pytest's own `write_line` would continue the line of dots.
                writer.line()
            terminal.write_line(f"Langfuse outage {self._faults.index(fault) + 1} of {len(self._faults)}: {fault}")
