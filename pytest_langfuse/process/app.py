"""An application that runs in a subprocess, together with the processes that it starts."""

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

from pytest_langfuse import arguments
from pytest_langfuse.expect.observations import Observations
from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.lazy import exported_by
from pytest_langfuse.process.exceptions import ProcessFailed, ProcessTimeout
from pytest_langfuse.process.launch import PORT
from pytest_langfuse.process.ledger_reader import LedgerReader
from pytest_langfuse.process.output import Output, last_lines
from pytest_langfuse.process.process_source import ProcessSource
from pytest_langfuse.process.readiness import check_url, why_not_ready
from pytest_langfuse.process.stand_in_view import StandInView
from pytest_langfuse.recording.observation import Observation

#: Seconds between two checks of a process.
_POLL_INTERVAL = 0.02
#: Seconds to wait for the end of a line that is only partly printed.
_REST_OF_LINE = 0.5
#: Signals with which deployments and terminals end a process, which may handle them.
_ENDINGS = {signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)}
#: Lines of output that a failure message shows.
_LINES = 40

_Found = TypeVar("_Found")


@exported_by("pytest_langfuse")
class App:
    """A process that `langfuse_process` started. All times are in seconds.

    A thread reads what the process prints to standard output and standard error. At the end of the test, a process that
    still runs gets SIGTERM, and SIGKILL with its whole process group if it does not exit in time.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        label: str,
        base_path: str,
        port: int | None,
        ledger_folder: Path,
        stand_in: StandInView,
    ) -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        self.label = label
        self.base_path = base_path
        self.ledger = LedgerReader(ledger_folder)
        self.closed = False
        self._process = process
        self._port = port
        self._output = Output(process.stdout, f"langfuse-process-{process.pid}")
        self._source = ProcessSource(stand_in, lambda: [self], everything=False)

    # -- state -------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process id, which is also the id of the process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative if a signal terminated the process; `None` while it runs."""
        return self._process.poll()

    @property
    def port(self) -> int:
        """The free port that replaced `{port}` in the arguments and variables.

        Raises:
            AttributeError: Neither the arguments nor `env` contain `{port}`.
        """
        if self._port is None:
            raise AttributeError(f"`{self.label}` has no port: write {PORT} in its arguments or env to get a free one")
        return self._port

    @property
    def url(self) -> str:
        """The base URL of the process: `http://127.0.0.1:` and `port`.

        Raises:
            AttributeError: The process has no `port`.
        """
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """Everything printed so far; if that exceeds a million characters, its beginning and its end."""
        if self.returncode is not None:
            self._output.catch_up()
        return self._output.text

    # -- waiting -----------------------------------------------------------------------------------------------

    def wait_for_output(self, text: str | re.Pattern[str], timeout: float = 10.0) -> str:
        """Wait until the process prints `text`, or a match of the pattern, and return the line that contains it.

        Raises:
            ProcessFailed: The process exited without printing it. Raised at once.
            ProcessTimeout: It was not printed within `timeout` seconds.
            TypeError: `text` is neither a text nor a pattern of one, or `timeout` not a number.
            ValueError: `timeout` is out of range.
        """
        __tracebackhide__ = True
        expected = "a text, or re.compile(…) of one"
        arguments.instance("wait_for_output", "text", text, (str, re.Pattern), expected)
        pattern = re.compile(re.escape(text)) if isinstance(text, str) else text
        arguments.instance("wait_for_output", "text", pattern.pattern, str, expected)
        arguments.number("wait_for_output", "timeout", timeout)

        def found(_left: float) -> re.Match[str] | None:
            return pattern.search(self.output)

        what = repr(text) if isinstance(text, str) else f"a match of {pattern.pattern!r}"
        match = self._wait(found, f"print {what}", f"printed {what}", timeout)
        # The rest of the line may still come. A prompt that waits for input has no end of line.
        end = time.monotonic() + _REST_OF_LINE
        while match.string.find("\n", match.start()) < 0 and time.monotonic() < end and self.returncode is None:
            self._output.wait_for_news(_POLL_INTERVAL)
            match = found(0) or match
        printed = match.string
        start, stop = printed.rfind("\n", 0, match.start()) + 1, printed.find("\n", match.start())
        return printed[start : None if stop < 0 else stop].rstrip("\r")

    def wait_ready(self, url: str, timeout: float = 10.0) -> None:
        """Wait until a GET of `url` is answered with a status below 500.

        `{port}` in the URL stands for `App.port`. For a process that has one, a path such as `"/health"` is enough.

        Raises:
            ProcessFailed: The process exited before it answered. Raised at once.
            ProcessTimeout: It did not answer within `timeout` seconds.
            ValueError: `url` is neither an HTTP URL nor a path, or `timeout` is out of range.
            TypeError: `url` is not a text, or `timeout` not a number.
            AttributeError: `url` is a path and the process has no `port`.
        """
        __tracebackhide__ = True
        arguments.text("wait_ready", "url", url, expected="a URL or a path")
        arguments.number("wait_ready", "timeout", timeout)
        url = (self.url if url.startswith("/") else "") + url
        url = url.replace(PORT, str(self._port if self._port is not None else PORT))
        check_url(url)
        why = ""

        def ready(left: float) -> bool:
            nonlocal why
            why = why_not_ready(url, left) or ""
            return not why

        shown = arguments.masked(url)
        self._wait(ready, f"answer at {shown}", f"answered at {shown}", timeout, lambda: f" ({why})")

    def wait(self, timeout: float = 10.0) -> int:
        """Wait until the process exits and return its status, negative if a signal terminated it.

        Raises:
            ProcessTimeout: The process still runs after `timeout` seconds.
            TypeError: `timeout` is not a number.
            ValueError: `timeout` is out of range.
        """
        __tracebackhide__ = True
        arguments.number("wait", "timeout", timeout)
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessTimeout(self._with_output(_timed_out(timeout, self.label, "exit"))) from None
        self._output.catch_up()
        return status

    def _wait(
        self,
        look: Callable[[float], _Found | None],
        do: str,
        done: str,
        timeout: float,
        note: Callable[[], str] = str,
    ) -> _Found:
        """Call `look` with the seconds left until it finds something. `do` and `done` name it in messages."""
        __tracebackhide__ = True
        end = time.monotonic() + timeout
        while True:
            # Checked before the look: a process that has exited does nothing more after it.
            exited = self.returncode is not None
            if found := look(end - time.monotonic()):
                return found
            if exited:
                raise ProcessFailed(self._with_output(f"`{self.label}` {self.how_it_ended} before it {done}"))
            if (left := end - time.monotonic()) <= 0:
                raise ProcessTimeout(self._with_output(f"{_timed_out(timeout, self.label, do)}{note()}"))
            self._output.wait_for_news(min(left, _POLL_INTERVAL))

    @property
    def how_it_ended(self) -> str:
        """The predicate of a sentence: `exited with status 3`, `was terminated by SIGTERM` or `is still running`."""
        status = self.returncode
        if status is None:
            return "is still running"
        return f"exited with status {status}" if status >= 0 else f"was terminated by {_signal_name(-status)}"

    @property
    def has_ended(self) -> bool:
        """True if it runs no more."""
        return self.returncode is not None

    @property
    def was_killed(self) -> bool:
        """True if it ended without a chance to send anything: it was killed, or crashed."""
        status = self.returncode
        # A shell has 128 and the signal's number for its command's status.
        return status == 128 + signal.SIGKILL or (status is not None and status < 0 and -status not in _ENDINGS)

    @property
    def why_lost(self) -> str:
        """The reason why an ended observation has not arrived, for a message "`NAME`: REASON"."""
        if self.returncode is None:
            return f"it has not arrived from `{self.label}`, which is still running"
        return f"`{self.label}` {self.how_it_ended} before the observation arrived"

    def _with_output(self, summary: str) -> str:
        output = last_lines(self.output, _LINES)
        return hidden(f"{summary}. Its output:\n{output}" if output.strip() else f"{summary}. It printed nothing.")

    # -- ending ------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """Send SIGTERM to the process alone, as a deployment does; child processes get no signal from here."""
        self.send_signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """Send SIGINT to the process alone."""
        self.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Send SIGKILL to the process and its whole group, as when a container is killed."""
        # ProcessLookupError: the group is gone. PermissionError: it has only zombies left (macOS).
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone; does nothing if it has exited.

        Raises:
            TypeError: `number` is not a signal or its number.
            ValueError: there is no signal of that number.
        """
        __tracebackhide__ = True
        arguments.instance("send_signal", "number", number, int, "a signal, such as signal.SIGTERM")
        if isinstance(number, bool) or number not in signal.valid_signals():
            arguments.refuse("send_signal", "number", number, "a signal of this system", ValueError)
        self._process.send_signal(number)

    def close(self, grace: float) -> None:
        """Wait `grace` seconds for the process to exit, kill what is left of its group, and release all resources."""
        self.closed = True
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        finally:
            self.kill()
            self._process.wait()
            self._output.close()
            self.ledger.read()

    # -- observations ------------------------------------------------------------------------------------------

    @property
    def spans(self) -> Observations:
        """The observations that arrived from the process and its child processes, with all assertions."""
        return Observations(self._source)

    @property
    def lost(self) -> list[Observation]:
        """The observations that ended and have not arrived: so far while the process runs, for good once it has exited.

        Each has its name, type and times only. Observations that never ended are in `spans.unended`.

        Raises:
            LedgerMissing: The losses are unknown, because the process keeps no complete ledger. Only Python processes
                keep one.
        """
        return [item.observation for item in self._source.undelivered()]

    @property
    def has_ledger(self) -> bool:
        """True if the ledger of the process is complete, so that its losses are known."""
        self.ledger.read()
        return self.ledger.complete

    def __repr__(self) -> str:
        return f"<App {self.label!r} (pid {self.pid}): {self.how_it_ended}>"


def _timed_out(timeout: float, label: str, do: str) -> str:
    return f"timed out after {timeout:g} s waiting for `{label}` to {do}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
