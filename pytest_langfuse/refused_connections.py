"""Report refused connections: the test that tried one fails, or the session if no test was to blame."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING

import pytest

from pytest_langfuse.refusals_of_children import RefusalsOfChildren

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
        self._in_test = False
        self._children = RefusalsOfChildren()
        self._of_test: list[str] = []
        self._late: list[str] = []
        self._said: Counter[str] = Counter()
        self._session: pytest.Session | None = None
        self._finished = False
        self._process = os.getpid()

    def add(self, refusal: RefusedConnection) -> None:
        """Take note of an attempt; say it at once if nothing else will."""
        text = str(refusal)
        forked = os.getpid() != self._process
        if forked:
            # Its copy of the list is of no use to the test.
            self._children.add(text, in_test=self._in_test)
        if self._finished or forked:
            self._fail_session()
            self._said[text] += 1
            # An exporter tries again and again.
            if self._said[text] == 1 and sys.stderr is not None:
                print(f"pytest-langfuse: refused: {text}", file=sys.stderr)  # noqa: T201 - pytest has ended
        elif self._in_test:
            self._of_test.append(text)
        else:
            self._late.append(text)

    def begin_test(self) -> None:
        """Attribute what is tried from now on to a captured test."""
        self._in_test = True
        self._children.begin_test()

    def end_test(self) -> None:
        """Attribute what is tried from now on to no test."""
        self._in_test = False

    def file_for_children(self) -> str:
        """Return the file to which a process that is started now appends the refusals in it, one a line."""
        return self._children.path(in_test=self._in_test)

    def close(self) -> None:
        """Remove the files of child processes."""
        self._children.remove()

    def fail(self, report: pytest.TestReport) -> None:
        """Fail the phase of a test in which a connection was tried, whatever the test made of the error."""
        self._of_test += self._children.of_test()
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

    def why_red(self) -> str | None:
        """Return why the run fails: attempts that no captured test has made; `None` if there were none."""
        if not self._late:
            return None
        first, *others = _counted(self._late)
        more = f"; and {len(others)} other{'s' * (len(others) > 1)}" if others else ""
        return f"{_HEADING} outside of captured tests: {first}{more}"

    # -- hooks ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Fail the session for attempts that no captured test made, and say so in its last line."""
        self._in_test = False
        self._late += self._children.others()
        self._session = session
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            # The list itself: xdist sends it once all other hooks of the worker have run.
            output[self._key] = self._late
        try:
            yield
        finally:
            self._finished = True
            if (line := self.why_red()) is not None and not hasattr(session.config, "workerinput"):
                self._fail_session()
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
