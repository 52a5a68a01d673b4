"""Processes that end without running exit handlers: children of `multiprocessing`, and Celery's.

The former leave through `os._exit` after running the finalizers of `multiprocessing.util`; the latter after sending
Celery's signal `worker_process_shutdown`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

#: Before the finalizers that multiprocessing registers itself.
_PRIORITY = 1000
_UID = "pytest_langfuse.tracing"


class ChildExit:
    """Runs `at_exit` when such a process ends. What the application has not imported is not imported for it."""

    def __init__(self, at_exit: Callable[[], None]) -> None:
        self._at_exit = at_exit
        self._finalizers: list[Any] = []
        self._active = True
        self._registered = False
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:
            # Set up in a child that runs already.
            self._finalize()
        self._register()
        self._connect()

    def after_fork(self) -> None:
        """In a forked child, which may be one of these."""
        self._finalizers.clear()
        self._register()
        self._connect()

    def _register(self) -> None:
        """Have the finalizer made when a child starts: that clears those which are there, in every start method.

        A child of a fork server has imported the main module by then, with all that this sets up.
        """
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._registered:
            self._registered = True
            util.register_after_fork(self, ChildExit._finalize)

    def _finalize(self) -> None:
        from multiprocessing.util import Finalize  # not imported for those who do not use it

        if self._active:
            self._finalizers.append(Finalize(None, self._at_exit, exitpriority=_PRIORITY))

    def _connect(self) -> None:
        celery = sys.modules.get("celery.signals")
        if celery is not None:
            celery.worker_process_shutdown.connect(self._celery, weak=False, dispatch_uid=_UID)

    def _celery(self, **_: Any) -> None:
        self._at_exit()

    def stop(self) -> None:
        """Undo it."""
        self._active = False
        for finalizer in self._finalizers:
            finalizer.cancel()
        self._finalizers.clear()
        if (celery := sys.modules.get("celery.signals")) is not None:
            celery.worker_process_shutdown.disconnect(dispatch_uid=_UID)
