"""`--langfuse-outage` with several faults: a line as each of them begins, since a run of all of them takes minutes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_langfuse.outage.suite import FAULT
from pytest_langfuse.report.degradation import ATTRIBUTE


class Progress:
    """Says which fault is in force; under xdist, where tests of two faults overlap, as the first result comes in."""

    def __init__(self, config: pytest.Config, faults: Sequence[str]) -> None:
        self._config = config
        self._faults = list(faults)
        self._begun: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Before pytest writes anything of the test."""
        self._announce(item.stash.get(FAULT, None))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A worker's test."""
        self._announce((getattr(report, ATTRIBUTE, None) or {}).get("fault"))

    def _announce(self, fault: str | None) -> None:
        if fault is None or fault in self._begun:
            return
        self._begun.add(fault)
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and self._config.get_verbosity() >= 0:
            if (writer := self._config.get_terminal_writer()).width_of_current_line and not terminal.currentfspath:
                # Behind the dots of a run with xdist, which pytest's own `write_line` goes on from.
                writer.line()
            terminal.write_line(f"Langfuse outage {self._faults.index(fault) + 1} of {len(self._faults)}: {fault}")
