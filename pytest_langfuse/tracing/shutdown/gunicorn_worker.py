"""Workers of gunicorn, which set all their signal handlers anew after the fork: with `--preload`, after ours."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable
from typing import Any


class GunicornWorker:
    """Calls `started` in a worker once its signal handlers are there, and `aborted` when gunicorn aborts it.

    Read from gunicorn 20.1 to 27: `Worker.init_process` calls `init_signals`, then `load_wsgi`, also in subclasses.
    Nothing is imported for who does not use gunicorn.
    """

    def __init__(self, *, started: Callable[[], object], aborted: Callable[[], object]) -> None:
        self._started, self._aborted = started, aborted
        self._active = True
        self._class: Any = getattr(sys.modules.get("gunicorn.workers.base"), "Worker", None)
        if self._class is None:
            return
        self._load_wsgi = load_wsgi = self._class.load_wsgi

        @functools.wraps(load_wsgi)
        def wrapped(worker: Any) -> None:
            if self._active:
                self._started()
                self._watch(worker)
            load_wsgi(worker)

        self._wrapped = wrapped
        self._class.load_wsgi = wrapped
        # Without --preload, this worker is loading the application at the moment.
        worker = getattr(_handler_of("SIGUSR1"), "__self__", None)
        if isinstance(worker, self._class):
            self._watch(worker)

    def _watch(self, worker: Any) -> None:
        """Have `aborted` called by the server hook `worker_abort`, before the hook of gunicorn's configuration."""
        configured = worker.cfg.worker_abort

        def worker_abort(worker: Any) -> None:
            if self._active:
                self._aborted()
            configured(worker)

        worker.cfg.set("worker_abort", worker_abort)
        if _handler_of("SIGABRT") is signal.SIG_DFL:
            # uvicorn's workers take gunicorn's handler away, and the hook with it.
            signal.signal(signal.SIGABRT, worker.handle_abort)

    def stop(self) -> None:
        """Undo it; if somebody else has wrapped the method since, ours stays and only calls the original."""
        self._active = False
        if self._class is not None and self._class.load_wsgi is self._wrapped:
            self._class.load_wsgi = self._load_wsgi


def _handler_of(name: str) -> Any:
    return signal.getsignal(getattr(signal, name)) if hasattr(signal, name) else None
