"""Writes the files of a run at its end: the page, the summary of the step, and the lines."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pytest_langfuse.report.run_outputs import fates_of_files

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.options import Options
    from pytest_langfuse.report.run_lines import RunLines
    from pytest_langfuse.report.run_outputs import RunOutputs


class RunFiles:
    """Writes files when the plugins of others have set the exit status, and again if one of them changes it later.

    A plugin of its run, registered where results are printed.
    """

    def __init__(self, config: pytest.Config, options: Options, lines: RunLines, outputs: RunOutputs) -> None:
        self._config, self._options, self._lines, self._outputs = config, options, lines, outputs
        self._session: pytest.Session | None = None
        #: Exit status and errors as they are in the files.
        self._written: tuple[int, list[str]] | None = None
        self._has_page = False
        #: The exit status of a run whose end has failed.
        self._failed_status: int | None = None

    def write(self, session: pytest.Session) -> None:
        """Write the files; fail the run if that can't be done."""
        self._session = session
        self._update()
        if not self._is_written:
            return
        if self._lines.has_contents and self._outputs.has("report"):
            # Imported here: it loads Jinja.
            from pytest_langfuse.report.page.html_page import html_of

            self._has_page = self._outputs.write("report", html_of(map(json.loads, self._lines.lines())))
            self._update()
        if self._outputs.has("step_summary"):
            self._outputs.add_to_summary(self._lines.summary())
            self._update()
        if self._lines.has_contents and self._outputs.has("json"):
            self._outputs.write("json", (f"{line}\n" for line in self._lines.lines()), "ascii")
            self._update()
        self._written = self._state

    def finish_has_failed(self, error: BaseException, session: pytest.Session) -> None:
        """Take note that a plugin fails when the run ends."""
        self._failed_status = self._lines.end.finish_has_failed(error, session)

    @property
    def _is_written(self) -> bool:
        # A summary belongs to one step: that of a run without tests loses no other.
        return self._lines.has_contents or (self._lines.exit_status != 0 and not self._config.getoption("collectonly"))

    @property
    def _state(self) -> tuple[int, list[str]]:
        return self._lines.exit_status, self._lines.errors

    def _update(self) -> None:
        """Set the exit status of a run that fails for more than its tests; take over what others have set."""
        session, lines = self._session, self._lines
        if session is None:
            return
        # What needs no reason has none: of a status that others have set.
        lines.exit_status = 0
        if lines.errors and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        lines.exit_status = int(session.exitstatus if self._failed_status is None else self._failed_status)

    def _write_again(self) -> None:
        """Write the files again if the exit status, or why the run fails, is another than in them."""
        self._update()
        if self._session is not None and self._written is not None and self._written != self._state:
            self.write(self._session)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Say in the last line why the run fails."""
        try:
            yield
        except BaseException as error:
            self.finish_has_failed(error, session)
            raise
        finally:
            self._write_again()
            terminal: TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
            if (own := self._lines.own_errors) and terminal is not None:
                # After pytest's own last line, which is green if all tests have passed.
                why = f"langfuse: {'; '.join(own)} (exit status {int(session.exitstatus)})"
                terminal.write_line(why, red=True, bold=True)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Take over an exit status that another plugin has set last."""
        self._write_again()

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Say that files are of an earlier run, and where the page is."""
        if not self._lines.has_contents:
            for sentence in fates_of_files(self._options):
                terminalreporter.write_line(sentence, yellow=True)
        if self._has_page:
            # The path alone: a terminal makes a link of it.
            terminalreporter.write_line(f"langfuse: report in {self._outputs.path('report')}")
