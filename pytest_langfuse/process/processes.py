"""`langfuse_process`: starts applications for one test."""

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

from pytest_langfuse.lazy import exported_by
from pytest_langfuse.process import launch
from pytest_langfuse.process.app import App
from pytest_langfuse.process.arrivals import Arrivals
from pytest_langfuse.process.launch import PORT, Environment
from pytest_langfuse.process.process_source import ProcessSource, Stage
from pytest_langfuse.process.watchdog import Watchdog
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.standin.http.listener import free_port

#: Seconds in which processes that still run at the end of a test may end by themselves, all together.
GRACE = 3.0
#: Seconds within which what was sent to the stand-in has arrived, unless a fault holds it up.
_SETTLING = 1.0

Argument = str | os.PathLike[str]


@exported_by("pytest_langfuse")
class Processes:
    """Starts processes whose observations belong to the test, and takes them away again.

    `url` is where their Langfuse is, asked for when one is started; what arrives there is in `arrivals`. `settle` waits
    until all that was sent there has arrived, `wait` until more has, both at most so many seconds.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        *,
        url: Callable[[], str],
        settle: Callable[[float], object],
        wait: Callable[[float], None],
        scores: Callable[[], Sequence[Score]],
    ) -> None:
        self.apps: list[App] = []
        self._stage = Stage(arrivals, settle=lambda: settle(_SETTLING), wait=wait, scores=scores)
        self.source = ProcessSource(self._stage, lambda: self.apps, everything=True)
        self._url = url
        self._folder: Path | None = None
        self._watchdog: Watchdog | None = None

    def start(self, *python_args: Argument, env: Environment | None = None, cwd: Argument | None = None) -> App:
        """Start this Python with arguments: `start("-m", "uvicorn", "shop:app", "--port", "{port}")`.

        `{port}`, in arguments and in `env`, stands for a free port: `App.port`. `env` is merged over the variables of
        this process and those that name the stand-in Langfuse; `None` takes a variable away. Raises `TypeError` for
        what is no text, `NotADirectoryError` for `cwd`.
        """
        __tracebackhide__ = True
        if not python_args:
            raise TypeError('langfuse_process.start() needs arguments for Python: a script, or "-m" and a module')
        return self._start([sys.executable, *launch.checked(python_args)], env, cwd)

    def start_command(self, *argv: Argument, env: Environment | None = None, cwd: Argument | None = None) -> App:
        """Start any program: `start_command("node", "server.js")`. As `start`; no program: `FileNotFoundError`."""
        __tracebackhide__ = True
        if not argv:
            raise TypeError("langfuse_process.start_command() needs the name of a program")
        return self._start(launch.checked(argv), env, cwd)

    def free_port(self) -> int:
        """A port of this machine that nobody listens on, and that was given to nobody else of this test run."""
        return free_port()

    def close(self) -> None:
        """Terminate what still runs, kill what does not end by that, and leave nothing behind."""
        end = time.monotonic() + GRACE
        # A stack: an interrupt while one of them is waited for must not spare the others.
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
        prefix, ledger = f"/process-{number}", self._folder / str(number)
        ledger.mkdir(exist_ok=True)
        own = launch.checked_environment(env)
        label = self._label(argv)
        port = free_port() if any(text and PORT in text for text in (*argv, *own.values())) else None
        if port is not None:
            argv = [text.replace(PORT, str(port)) for text in argv]
            own = {name: text and text.replace(PORT, str(port)) for name, text in own.items()}
        variables = launch.environment(self._url() + prefix, str(ledger), own)
        launch.check_program(argv, variables, cwd)
        with _interruptible():
            process = subprocess.Popen(  # noqa: S603 - what the test asks for
                argv,
                env=variables,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                # A group of its own, so that all of it can be killed, and Ctrl-C in the terminal is pytest's alone.
                start_new_session=True,
            )
        app = App(process, label=label, prefix=prefix, port=port, ledger=ledger, stage=self._stage)
        self.apps.append(app)
        self._watchdog.watch(app.pid)
        return app

    def _label(self, argv: Sequence[str]) -> str:
        label = launch.label(argv)
        same = sum(app.label == label or app.label.startswith(f"{label} #") for app in self.apps)
        return f"{label} #{same + 1}" if same else label


@contextmanager
def _interruptible() -> Iterator[None]:
    """A process that is started inside the block can be interrupted.

    A shell starts its background jobs with SIGINT ignored, and what is ignored stays so over `exec`.
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
