"""The end of the process, however it comes: one shutdown, in threads of ours, within a deadline."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.shutdown.children import ChildExit
from pytest_langfuse.tracing.shutdown.gunicorn_worker import GunicornWorker
from pytest_langfuse.tracing.shutdown.prestarted_thread import PrestartedThread
from pytest_langfuse.tracing.shutdown.signals import INSISTS, Signals

#: Part of the time for an exit that is left to the interpreter (seconds).
_INTERPRETER = 0.15
#: Whoever waits, waits so much longer than the deadline: for the log, whose handlers are the application's.
_LOGGING = 0.1
#: gunicorn kills a worker about a second after it has aborted it.
_ABORTED = 0.8


class ProcessEnd:
    """Calls `shut_down(deadline)` once: at exit, at a signal, at the end of a child, or when `run` is called.

    It is called in a thread that was started before, so no signal and no exception interrupts it, and no lock that the
    interrupted code holds stops it. The others only wait.
    """

    def __init__(
        self,
        *,
        shut_down: Callable[[float], object],
        start_flushing: Callable[[], object],
        timeout: float,
        handle_signals: bool,
    ) -> None:
        self._shut_down = shut_down
        self._timeout = timeout - min(_INTERPRETER, timeout / 10)
        #: Set when the shutdown has ended; `None` before it began.
        self._ended: threading.Event | None = None
        self._thread = PrestartedThread("langfuse-tracing-shutdown")
        # Exit handlers run last in, first out: whoever is made before this is shut down by its handlers later.
        atexit.register(self.at_exit)
        self._child_exit = ChildExit(self.at_exit)
        self._signals = Signals(shut_down=self._at_signal, start_flushing=start_flushing)
        self._gunicorn_worker: GunicornWorker | None = None
        if handle_signals:
            self._signals.install()
            self._gunicorn_worker = GunicornWorker(started=self._signals.install, aborted=self._at_abort)

    def run(self, timeout: float) -> None:
        """Shut down, or wait for the shutdown that is under way, for `timeout` seconds."""
        if self._begin(timeout).wait(max(timeout, 0.0) + _LOGGING):
            self._thread.join(_LOGGING)
        self._signals.uninstall()

    def at_exit(self) -> None:
        """Shut down and wait for it, whatever signals raise in this thread meanwhile."""
        started = now()
        ended: threading.Event | None = None
        raised: BaseException | None = None
        while ended is None or not ended.is_set():
            try:
                ended = ended or self._begin(self._timeout)
                if not ended.wait(max(started + self._timeout + _LOGGING - now(), 0.0)):
                    break
            except KeyboardInterrupt:
                if now() - started > INSISTS:
                    raise
            except BaseException as error:  # noqa: BLE001 - a signal handler of the application raises what it likes
                raised = raised or error
        # Otherwise the process would end by itself, with another status.
        self._signals.wait_for_the_end(_LOGGING)
        if raised is not None:
            raise raised

    def _begin(self, timeout: float) -> threading.Event:
        """Begin a shutdown, or join the one that is under way. Takes no lock and does not wait."""
        if (ended := self._ended) is None:
            ended = self._ended = threading.Event()
            deadline = now() + timeout
            self._thread.submit(lambda: self._run(deadline, ended))
        return ended

    def _run(self, deadline: float, ended: threading.Event) -> None:
        try:
            self._shut_down(deadline)
        finally:
            if not self._signals.ending:
                self._stop()
            ended.set()

    def _stop(self) -> None:
        atexit.unregister(self.at_exit)
        self._child_exit.stop()
        if self._gunicorn_worker is not None:
            self._gunicorn_worker.stop()
        self._signals.stop()
        self._thread.stop()

    def _at_signal(self) -> None:
        """The process ends when this returns. It logs nothing: a log may be what the application is blocked in."""
        self._begin(self._timeout).wait(self._timeout + _LOGGING)

    def _at_abort(self) -> None:
        """Gunicorn aborts this worker, then its exit handlers run. In a signal handler, so nothing is waited for."""
        self._begin(min(self._timeout, _ABORTED))

    def before_fork(self) -> None:
        """See `Signals`."""
        self._signals.before_fork()

    def after_fork_in_parent(self) -> None:
        """See `Signals`."""
        self._signals.after_fork_in_parent()

    def after_fork(self) -> None:
        """In a forked child: what the parent has begun is the parent's, and what it has ended stays ended."""
        if self._ended is None or not self._ended.is_set():
            self._ended = None
            self._thread.after_fork()
            self._child_exit.after_fork()
        self._signals.after_fork()
