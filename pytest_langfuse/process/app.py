"""One application in a process of its own, with the processes that it starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pytest_langfuse.expect.observations import Observations
from pytest_langfuse.lazy import exported_by
from pytest_langfuse.process.exceptions import ProcessFailed, ProcessTimeout
from pytest_langfuse.process.launch import PORT
from pytest_langfuse.process.ledger_reader import Ledger
from pytest_langfuse.process.output import Output, last_lines
from pytest_langfuse.process.process_source import ProcessSource, Stage
from pytest_langfuse.process.readiness import check_url, why_not_ready
from pytest_langfuse.recording.observation import Observation

#: Seconds between two looks at a process.
_LOOK = 0.02
#: Seconds for a line that has begun to be printed to its end.
_REST_OF_LINE = 0.5
#: Lines of output in a failure's text.
_LINES = 40

_Found = TypeVar("_Found")


@exported_by("pytest_langfuse")
class App:
    """A process that `langfuse_process` has started. Times are seconds.

    What it prints, on standard output and standard error, is read all the time. At the end of the test it is
    terminated if it still runs, and killed if that is not enough, with all processes of its group.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], *, label: str, prefix: str, port: int | None, ledger: Path, stage: Stage
    ) -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        self.label = label
        self.prefix = prefix
        self.ledger = Ledger(ledger)
        self.closed = False
        self._process = process
        self._port = port
        self._output = Output(process.stdout, f"langfuse-process-{process.pid}")
        self._source = ProcessSource(stage, lambda: [self], everything=False)

    # -- what it is --------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Its number; also that of its process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; `None` while it runs."""
        return self._process.poll()

    @property
    def port(self) -> int:
        """The free port that `{port}` in its arguments or variables stands for."""
        if self._port is None:
            raise AttributeError(
                f"`{self.label}` was given no port: write {PORT} where it belongs in its arguments or env"
            )
        return self._port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:` and its port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """What it has printed so far; of more than a million characters, the beginning and the end."""
        if self.returncode is not None:
            self._output.catch_up()
        return self._output.text

    # -- waiting -----------------------------------------------------------------------------------------------

    def wait_for_output(self, text: str | re.Pattern[str], timeout: float = 10.0) -> str:
        """Wait until it has printed `text`, or what the pattern matches; returns the line in which that is.

        Raises `ProcessTimeout`, and at once `ProcessFailed` if it ended without.
        """
        __tracebackhide__ = True
        pattern = re.compile(re.escape(text)) if isinstance(text, str) else text

        def found(_left: float) -> re.Match[str] | None:
            return pattern.search(self.output)

        what = repr(text) if isinstance(text, str) else f"what matches {pattern.pattern!r}"
        match = self._wait(found, f"to print {what}", timeout)
        # The rest of the line may be on its way; of a question, there is none.
        end = time.monotonic() + _REST_OF_LINE
        while match.string.find("\n", match.start()) < 0 and time.monotonic() < end and self.returncode is None:
            self._output.wait_for_news(_LOOK)
            match = found(0) or match
        printed = match.string
        start, stop = printed.rfind("\n", 0, match.start()) + 1, printed.find("\n", match.start())
        return printed[start : None if stop < 0 else stop].rstrip("\r")

    def wait_ready(self, url: str, timeout: float = 10.0) -> None:
        """Wait until a GET of `url` is answered with a status below 500.

        `{port}` in the URL is the process's own; a path is enough then (`"/health"`). Raises `ProcessTimeout`, and at
        once `ProcessFailed` if the process ended.
        """
        __tracebackhide__ = True
        url = (self.url if url.startswith("/") else "") + url
        url = url.replace(PORT, str(self._port if self._port is not None else PORT))
        check_url(url)
        why = ""

        def ready(left: float) -> bool:
            nonlocal why
            why = why_not_ready(url, left) or ""
            return not why

        self._wait(ready, f"to answer at {url}", timeout, lambda: f" ({why})")

    def wait(self, timeout: float = 10.0) -> int:
        """Wait until it ends; returns its exit status, negative for a signal. Raises `ProcessTimeout`."""
        __tracebackhide__ = True
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessTimeout(self._text(f"waited {timeout:g} s for `{self.label}` to end")) from None
        self._output.catch_up()
        return status

    def _wait(
        self, look: Callable[[float], _Found | None], what: str, timeout: float, note: Callable[[], str] = str
    ) -> _Found:
        """Look until something is found. `look` is told how many seconds are left, of which it may use some."""
        __tracebackhide__ = True
        end = time.monotonic() + timeout
        while True:
            # Asked before the look: one that has ended will do nothing more after it.
            gone = self.returncode is not None
            if found := look(end - time.monotonic()):
                return found
            if gone:
                raise ProcessFailed(self._text(f"`{self.label}` {self.how_it_ended}, and was waited for {what}"))
            if (left := end - time.monotonic()) <= 0:
                raise ProcessTimeout(self._text(f"waited {timeout:g} s for `{self.label}` {what}{note()}"))
            self._output.wait_for_news(min(left, _LOOK))

    @property
    def how_it_ended(self) -> str:
        """`ended with status 3`, `was ended by SIGTERM`, or `runs`."""
        status = self.returncode
        if status is None:
            return "runs"
        return f"ended with status {status}" if status >= 0 else f"was ended by {_signal_name(-status)}"

    @property
    def why_lost(self) -> str:
        """Completes "`NAME`: …" for an observation that ended and has not arrived."""
        if self.returncode is None:
            return f"it has not arrived from `{self.label}`, which still runs"
        return f"`{self.label}` {self.how_it_ended} before it had arrived"

    def _text(self, summary: str) -> str:
        output = last_lines(self.output, _LINES)
        return f"{summary}. Its output:\n{output}" if output.strip() else f"{summary}. It printed nothing."

    # -- ending ------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """SIGTERM to the process, as at a deployment. What it does to those below it is its own affair."""
        self.send_signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """SIGINT to the process."""
        self.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the process and all of its group, as when a container is killed."""
        # No such group: all of it is gone. Not permitted: there are only zombies in it (macOS).
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """A signal to the process alone; nothing happens if it has ended."""
        self._process.send_signal(number)

    def close(self, grace: float) -> None:
        """Have it and its group gone, with `grace` seconds for it to do so by itself, and release everything."""
        self.closed = True
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        finally:
            self.kill()
            self._process.wait()
            self._output.close()
            self.ledger.read()

    # -- its observations --------------------------------------------------------------------------------------

    @property
    def spans(self) -> Observations:
        """What has arrived from it and the processes below it, with all assertions."""
        return Observations(self._source)

    @property
    def lost(self) -> list[Observation]:
        """The observations that ended and have not arrived: lost, once the process has ended; so far, while it runs.

        Those that had not ended are in `spans.unended`. Name, type and times are known of each. Raises
        `LedgerMissing` for a process that keeps no ledger: it is no Python.
        """
        return [item.observation for item in self._source.undelivered()]

    @property
    def has_ledger(self) -> bool:
        """Whether it is known what it lost."""
        self.ledger.read()
        return self.ledger.complete

    def __repr__(self) -> str:
        return f"<App {self.label!r} (pid {self.pid}): {self.how_it_ended}>"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
