"""The function that a thread, a pool or a task is to run, found in what the application handed over."""

from __future__ import annotations

import functools
from threading import Thread, Timer
from typing import Any


def function_of(work: Any) -> Any:
    """Return the function that `work` runs: a thread, a callable or a coroutine."""
    if isinstance(work, Thread):
        work = _of_thread(work)
    while isinstance(work, functools.partial):
        work = work.func
    code = getattr(work, "cr_code", None)
    return _Named(work.__name__, code) if code is not None else getattr(work, "__func__", work)


class _Named:
    """A coroutine, with the names that its function has."""

    def __init__(self, name: str, code: Any) -> None:
        self.__name__ = name
        self.__code__ = code


def _of_thread(thread: Thread) -> Any:
    run = type(thread).run
    if run is Thread.run:
        # Read from Python 3.11 to 3.14. Without it, nothing is known of the thread's function.
        return getattr(thread, "_target", None)
    return thread.function if run is Timer.run and isinstance(thread, Timer) else run
