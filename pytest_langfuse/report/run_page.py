"""The page of `--langfuse-report`, written at the end of a run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.report.run_lines import RunLines


class RunPage:
    """Writes the page, and prints its path. A plugin of its run, registered where results are printed."""

    def __init__(self, path: Path, lines: RunLines) -> None:
        self._path, self._lines = path, lines
        #: Why the page is missing.
        self._not_written: str | None = None
        self._is_written = False

    def finish(self, session: pytest.Session) -> None:
        """Write the page of the run as it is now; fail the run if that can't be done."""
        if not self._lines.has_begun:
            # With --collect-only, say: the page of the last run stays.
            return
        # Imported here: it loads Jinja.
        from pytest_langfuse.report.page.html_page import write_page

        try:
            write_page(map(json.loads, self._lines.lines()), self._path)
            self._is_written = True
        except OSError as error:
            self._not_written = f"{self._path} could not be written: {error.strerror or error}"
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter, config: pytest.Config) -> None:
        """Print where the page is."""
        if self._not_written is not None:
            terminalreporter.write_line(self._not_written, red=True)
        elif self._is_written:
            # The path alone: a terminal makes a link of it.
            folder = config.invocation_params.dir
            path = self._path.relative_to(folder) if self._path.is_relative_to(folder) else self._path
            terminalreporter.write_line(f"langfuse: report in {os.fspath(path)}")
