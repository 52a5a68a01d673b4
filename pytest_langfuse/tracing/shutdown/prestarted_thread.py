"""A thread for the end of a process, when no thread can be started any more (Python 3.12)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from pytest_langfuse.tracing.failures import failures

Job = Callable[[], object]


class PrestartedThread:
    """Runs jobs, one after the other, in a daemon thread that was started beforehand."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._start()

    def _start(self) -> None:
        # Looked up here: gevent may have replaced them since this module was imported.
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True)
        # In a child that is forked off while the interpreter ends there are no new threads; what is left is lost.
        with suppress(RuntimeError):
            self._thread.start()

    def submit(self, job: Job) -> None:
        """Let the thread run a job. Takes no lock and does not wait: a signal handler may call it at any point."""
        self._jobs.put(job)

    def run(self, job: Job, timeout: float) -> bool:
        """Let the thread run a job and wait for it, at most `timeout` seconds. Return whether it ended in time."""
        done = threading.Event()

        def observed() -> None:
            try:
                job()
            finally:
                done.set()

        self.submit(observed)
        return done.wait(max(timeout, 0.0))

    def stop(self) -> None:
        """End the thread after the jobs that it has. Does not wait for it."""
        self._jobs.put(None)

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread after `stop`, at most `timeout` seconds."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def after_fork(self) -> None:
        """Start the thread again in a forked child, without the parent's jobs."""
        self._start()


def _work(jobs: queue.SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - counted and logged; the caller only waits
            failures.report("shutting down", error)
        # What the job holds is not held until the next one comes.
        del job
