"""The ways in which a process ends without running exit handlers: children of `multiprocessing` and of Celery's pool.

They leave through `os._exit` after running the finalizers of `multiprocessing.util` (`billiard.util` in Celery).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

#: Before the finalizers that multiprocessing registers itself.
_PRIORITY = 1000
_MODULES = ("multiprocessing", "billiard")


class ChildExit:
    """Runs `at_exit` when a child of `multiprocessing` ends."""

    def __init__(self, at_exit: Callable[[], None]) -> None:
        self._at_exit = at_exit
        self._finalizers: list[Any] = []
        for package in _MODULES:
            # Spawned children, and those of a fork server: set up in the child itself.
            process = sys.modules.get(f"{package}.process")
            if process is not None and getattr(process, "parent_process", lambda: None)() is not None:
                self._finalize(sys.modules.get(f"{package}.util"))

    def after_fork(self) -> None:
        """In a forked child, which may be one of these: its start clears the finalizers, then calls this."""
        for package in _MODULES:
            util = sys.modules.get(f"{package}.util")
            if util is not None:
                util.register_after_fork(self, lambda self, util=util: self._finalize(util))

    def _finalize(self, util: Any) -> None:
        if util is not None:
            self._finalizers.append(util.Finalize(None, self._at_exit, exitpriority=_PRIORITY))

    def stop(self) -> None:
        """Undo it."""
        for finalizer in self._finalizers:
            finalizer.cancel()
        self._finalizers.clear()
