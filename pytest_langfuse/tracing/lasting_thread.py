"""Threads that have to live as long as tracing does, whatever is raised in them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from pytest_langfuse.tracing.failures import failures

#: Before the work goes on: what has failed at once may do so again.
_PAUSE: Final = 0.1


def lasting_thread(work: Callable[[], object], *, name: str, doing: str) -> threading.Thread:
    """Return a daemon thread, not started yet, that ends when `work` returns.

    What `work` raises is counted and logged as a failure while `doing`, and `work` is called again.
    """
    return threading.Thread(target=_repeat, args=(work, doing), name=name, daemon=True)


def _repeat(work: Callable[[], object], doing: str) -> None:
    while True:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - nobody else looks after this thread
            failures.report(doing, error)
            time.sleep(_PAUSE)
        else:
            return
