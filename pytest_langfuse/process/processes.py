"""The `langfuse_process` fixture: starts applications in subprocesses for one test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pytest_langfuse.expect.shown_secrets import note_variables
from pytest_langfuse.lazy import exported_by
from pytest_langfuse.process import launch
from pytest_langfuse.process.app import App
from pytest_langfuse.process.launch import PORT, Environment
from pytest_langfuse.process.process_source import ProcessSource
from pytest_langfuse.process.received_exports import ReceivedExports
from pytest_langfuse.process.stand_in_view import StandInView
from pytest_langfuse.process.watchdog import Watchdog
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.standin.http.free_ports import free_port

#: Seconds in which all processes that still run at the end of a test may exit after SIGTERM.
GRACE = 3.0
#: Seconds to wait for the stand-in to process what was sent to it.
_SETTLE_TIMEOUT = 1.0

Argument = str | os.PathLike[str]


@exported_by("pytest_langfuse")
class Processes:
    """Starts processes whose observations belong to the test, and ends them with it.

    `url` returns the base URL of their Langfuse, and is called for each process; `received` has what arrives there.
    `settle` waits until everything sent there has been processed, `wait` until more arrives, both at most the given
    number of seconds. `was_failing` says whether Langfuse has failed meanwhile.
    """

    def __init__(
        self,
        received: ReceivedExports,
        *,
        url: Callable[[], str],
        settle: Callable[[float], object],
        wait: Callable[[float], None],
        scores: Callable[[], Sequence[Score]],
        was_failing: Callable[[], bool] = bool,
    ) -> None:
        self.apps: list[App] = []
        self._stand_in = StandInView(received, settle=lambda: settle(_SETTLE_TIMEOUT), wait=wait, scores=scores)
        self.source = ProcessSource(self._stand_in, lambda: self.apps, everything=True, was_failing=was_failing)
        self._url = url
        self._folder: Path | None = None
        self._watchdog: Watchdog | None = None

    def start(self, *python_args: Argument, env: Environment | None = None, cwd: Argument | None = None) -> App:
        """Start this Python with arguments: `start("-m", "uvicorn", "shop:app", "--port", "{port}")`.

        `{port}` in an argument or in `env` stands for a free port: `App.port`. The process inherits the environment of
        this one; the variables that name the stand-in Langfuse override it, and `env` overrides both. A value of `None`
        removes a variable.

        Raises:
            TypeError: There is no argument, or an argument, a variable or `cwd` is not a string or a path.
            ValueError: An argument or variable has a character that the system can't take.
            NotADirectoryError: `cwd` is not a directory.
        """
        __tracebackhide__ = True
        if not python_args:
            raise TypeError('langfuse_process.start() needs arguments for Python: a script, or "-m" and a module')
        return self._start([sys.executable, *launch.checked_arguments(python_args)], env, cwd)

    def start_command(self, *argv: Argument, env: Environment | None = None, cwd: Argument | None = None) -> App:
        """Start any program: `start_command("node", "server.js")`. `env`, `cwd` and `{port}` work as in `start`.

        Raises:
            TypeError: There is no argument, or an argument, a variable or `cwd` is not a string or a path.
            ValueError: An argument or variable has a character that the system can't take.
            NotADirectoryError: `cwd` is not a directory.
            FileNotFoundError: The program was not found or is not executable.
        """
        __tracebackhide__ = True
        if not argv:
            raise TypeError("langfuse_process.start_command() needs the name of a program")
        return self._start(launch.checked_arguments(argv), env, cwd)

    def free_port(self) -> int:
        """Return a port of this machine that nothing listens on and that this test run has not handed out before."""
        return free_port()

    def close(self) -> None:
        """Terminate what still runs, kill what does not exit in time, and release all resources."""
        end = time.monotonic() + GRACE
        # A stack: an interrupt during the wait for one process must not spare the others.
        with ExitStack() as stack:
            if self._folder is not None:
                stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            if self._watchdog is not None:
                stack.callback(self._watchdog.close)
            running = [app for app in self.apps if not app.closed]
            for app in running:
                stack.callback(self._close, app, end)
            for app in running:
                app.terminate()
        self._folder = self._watchdog = None

    def _close(self, app: App, end: float) -> None:
        app.close(max(0.0, end - time.monotonic()))
        if self._watchdog is not None:
            self._watchdog.forget(app.pid)

    def _start(self, argv: Sequence[str], env: Environment | None, cwd: Argument | None) -> App:
        __tracebackhide__ = True
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="langfuse-process-"))
        if self._watchdog is None:
            self._watchdog = Watchdog(self._folder)
        number = len(self.apps) + 1
        base_path, ledger_folder = f"/process-{number}", self._folder / str(number)
        ledger_folder.mkdir(exist_ok=True)
        overrides = launch.checked_environment(env)
        note_variables(overrides)
        label = self._label(argv)
        port = free_port() if any(text and PORT in text for text in (*argv, *overrides.values())) else None
        if port is not None:
            argv = [text.replace(PORT, str(port)) for text in argv]
            overrides = {name: text and text.replace(PORT, str(port)) for name, text in overrides.items()}
        variables = launch.environment(self._url() + base_path, str(ledger_folder), overrides)
        launch.check_program(argv, variables, cwd)
        with _default_sigint():
            process = subprocess.Popen(  # noqa: S603 - what the test asks for
                argv,
                env=variables,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                # A separate process group, so that all of it can be killed, and Ctrl-C in the terminal reaches only
                # pytest.
                start_new_session=True,
            )
        app = App(
            process,
            label=label,
            base_path=base_path,
            port=port,
            ledger_folder=ledger_folder,
            stand_in=self._stand_in,
        )
        self.apps.append(app)
        self._watchdog.watch(app.pid)
        return app

    def _label(self, argv: Sequence[str]) -> str:
        label = launch.label(argv)
        same = sum(app.label == label or app.label.startswith(f"{label} #") for app in self.apps)
        return f"{label} #{same + 1}" if same else label


@contextmanager
def _default_sigint() -> Iterator[None]:
    """Start processes inside the block with SIGINT not ignored.

    A shell starts its background jobs with SIGINT ignored, and `exec` keeps an ignored signal ignored.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
