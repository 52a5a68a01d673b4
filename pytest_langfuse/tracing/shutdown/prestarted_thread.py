"""A thread for one job at interpreter exit, when no thread can be started any more (Python 3.12)."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pytest_langfuse.tracing.failures import failures


class PrestartedThread:
    """Runs one job in a daemon thread that was started beforehand, so that the caller waits no longer than it wants."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._job: Callable[[], None] | None = None
        self._start()

    def _start(self) -> None:
        self._called = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._called.wait()
        if self._job is not None:
            try:
                self._job()
            except Exception as error:  # noqa: BLE001 - counted and logged; the caller only waits
                failures.report("shutting down", error)
        self._done.set()

    def run(self, job: Callable[[], None], timeout: float) -> bool:
        """Start the job and wait for it, at most `timeout` seconds. Return whether it ended in time."""
        self._job = job
        self._called.set()
        return self._done.wait(max(timeout, 0.0))

    def after_fork(self) -> None:
        """Start the thread again in a forked child."""
        self._start()
