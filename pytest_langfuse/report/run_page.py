"""The page of `--langfuse-report`, written at the end of a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_langfuse.recording.calling_code import shown_path

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.report.run_lines import RunLines
    from pytest_langfuse.report.run_outputs import RunOutputs


class RunPage:
    """Writes the page, and prints its path. A plugin of its run, registered where results are printed."""

    def __init__(self, path: str, lines: RunLines, outputs: RunOutputs) -> None:
        self._path, self._lines, self._outputs = path, lines, outputs
        self._is_written = False

    def write(self) -> None:
        """Write the page of the run as it is now."""
        if not self._lines.has_begun:
            # With --collect-only, say: the page of the last run stays.
            return
        # Imported here: it loads Jinja.
        from pytest_langfuse.report.page.html_page import html_of

        self._is_written = self._outputs.write("report", html_of(map(json.loads, self._lines.lines())))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Print where the page is."""
        if self._is_written:
            # The path alone: a terminal makes a link of it.
            terminalreporter.write_line(f"langfuse: report in {shown_path(self._path)}")
