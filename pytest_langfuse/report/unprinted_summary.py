"""Prints our part of the summary where pytest prints none."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_OURS = "pytest_langfuse."


class UnprintedSummary:
    """Prints it for an exit status of which pytest does not know the meaning, and after an internal error.

    A plugin of its run, registered where results are printed.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_printed = False

    def pytest_terminal_summary(self) -> None:
        """Take note that pytest prints the summary."""
        self._is_printed = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """Print the summary if that was not done."""
        try:
            yield
        finally:
            plugins = self._config.pluginmanager
            terminal: TerminalReporter | None = plugins.get_plugin("terminalreporter")
            if terminal is not None and not self._is_printed:
                others = [plugin for plugin in plugins.get_plugins() if not _is_ours(plugin)]
                terminal.ensure_newline()
                summary = plugins.subset_hook_caller("pytest_terminal_summary", others)
                summary(terminalreporter=terminal, exitstatus=pytest.ExitCode.OK, config=self._config)


def _is_ours(plugin: object) -> bool:
    return type(plugin).__module__.startswith(_OURS)
