"""The end of a run: why a part of it is missing, and why it fails for more than its tests."""

from __future__ import annotations

from typing import Final, Protocol

import pytest

from pytest_langfuse.recording.calling_code import shown_path

#: Plugins of ours that may fail a run, by their names.
_JUDGES: Final = ("langfuse_degradation", "langfuse_refused_connections")


class _Judge(Protocol):
    def why_red(self) -> str | None: ...


class RunEnd:
    """Takes note of how a run ends. A plugin of its run, registered where results are printed.

    `incomplete` are sentences on why tests or observations are missing.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.incomplete: list[str] = []
        #: Whether pytest itself or a plugin has failed.
        self.is_internal_error: bool = False
        #: Why `pytest_sessionfinish` has failed.
        self._failed_finish: str | None = None

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note why a run ends early: it was interrupted, or a test called `pytest.exit`."""
        error = excinfo.value
        if isinstance(error, pytest.exit.Exception):
            self.miss(f"pytest.exit has ended the run{f': {error.msg}' if error.msg else ''}")
        elif type(error) is KeyboardInterrupt:
            place = excinfo.traceback[-1]
            self.miss(f"the run was interrupted at {shown_path(str(place.path))}:{place.lineno + 1}")
        else:
            # As xdist and `-x` say it.
            self.miss(str(error))

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that pytest, or a plugin, has failed."""
        self.is_internal_error = True
        self.miss(f"the run has ended by an internal error: {excinfo.exconly()}")

    def miss(self, why: str) -> None:
        """Take note of why tests or observations are missing."""
        if why not in self.incomplete:
            self.incomplete.append(why)

    def finish_has_failed(self, error: BaseException, session: pytest.Session) -> int:
        """Take note that a plugin fails when the run ends. Return the exit status that comes of it."""
        if isinstance(error, pytest.exit.Exception):
            self._failed_finish = f"pytest.exit has ended the run after its tests: {error.msg}"
            return int(session.exitstatus if error.returncode is None else error.returncode)
        self._failed_finish = f"a plugin has failed after the tests: {type(error).__name__}: {error}"
        # Of Python, for an error that nobody catches.
        return 1

    def why_red(self) -> list[str]:
        """Return why the run fails besides its tests, as far as others know, a sentence each."""
        plugins = map(self._config.pluginmanager.get_plugin, _JUDGES)
        judges: list[_Judge] = [plugin for plugin in plugins if plugin is not None]
        return [why for why in (*(judge.why_red() for judge in judges), self._failed_finish) if why]

    @staticmethod
    def why(exit_status: int) -> str:
        """Return a sentence on an exit status for which there is no other reason."""
        if exit_status == pytest.ExitCode.NO_TESTS_COLLECTED:
            return "no test ran (exit status 5)"
        return f"pytest has ended with exit status {exit_status}, and no test has failed: a plugin has set it"
