"""Report refused connections: the test that tried one fails, or the session if no test was to blame."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.recording.network_guard import RefusedConnection

_HEADING = "Langfuse: refused connections"


class RefusedConnections:
    """Collects the refusals of one run, as a plugin of it. Thread-safe.

    `key` is that of xdist's `workeroutput` under which a worker hands late attempts to the controller.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        #: Whether a captured test runs, to which the next attempt belongs.
        self.in_test = False
        self._of_test: list[str] = []
        self._late: list[str] = []
        self._said: Counter[str] = Counter()
        self._session: pytest.Session | None = None
        self._finished = False
        self._process = os.getpid()

    def add(self, refusal: RefusedConnection) -> None:
        """Take note of an attempt; say it at once if nothing else will."""
        text = str(refusal)
        if self._finished or os.getpid() != self._process:
            self._fail_session()
            self._said[text] += 1
            # An exporter tries again and again.
            if self._said[text] == 1 and sys.stderr is not None:
                print(f"pytest-langfuse: refused: {text}", file=sys.stderr)  # noqa: T201 - pytest has ended
        elif self.in_test:
            self._of_test.append(text)
        else:
            self._late.append(text)

    def fail(self, report: pytest.TestReport) -> None:
        """Fail the phase of a test in which a connection was tried, whatever the test made of the error."""
        if not self._of_test:
            return
        texts, self._of_test = self._of_test, []
        text = "\n".join(_counted(texts))
        if report.outcome != "failed":
            report.outcome = "failed"
            report.longrepr = text
            # An expected failure is another one.
            report.__dict__.pop("wasxfail", None)
        else:
            report.sections.append((_HEADING, text))

    def add_late(self, texts: Iterable[str]) -> None:
        """Take over the late attempts of a worker of xdist."""
        self._late += texts

    # -- hooks ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Fail the session for attempts that no captured test made, and say so in its last line."""
        self.in_test = False
        self._session = session
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            # The list itself: xdist sends it once all other hooks of the worker have run.
            output[self._key] = self._late
        try:
            yield
        finally:
            self._finished = True
            if self._late and not hasattr(session.config, "workerinput"):
                self._fail_session()
                first, *others = _counted(self._late)
                more = f"; and {len(others)} other{'s' * (len(others) > 1)}" if others else ""
                line = f"{_HEADING} outside of captured tests: {first}{more}"
                terminal: TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
                if terminal is not None:
                    terminal.write_line(line, red=True, bold=True)
                else:
                    print(line, file=sys.stderr)  # noqa: T201 - there is no terminal reporter

    def _fail_session(self) -> None:
        session = self._session
        if session is not None and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _counted(texts: list[str]) -> list[str]:
    return [text if count == 1 else f"{text} ({count} times)" for text, count in Counter(texts).items()]
