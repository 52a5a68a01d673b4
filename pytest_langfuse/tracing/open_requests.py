"""The requests that the middlewares are serving, which a shutdown lets come to their end."""

from __future__ import annotations

import asyncio
import time
import weakref

from pytest_langfuse.tracing.monotonic import now

#: How often to look, and how long a request that is being cancelled may take to end (seconds).
_STEP, _LONGEST = 0.005, 1.0

#: A request that is never ended and no longer referred to does not count.
open_requests: weakref.WeakSet[object] = weakref.WeakSet()


def wait_for_open_requests(timeout: float) -> None:
    """Wait until no request is open, for half of `timeout` and a second at most.

    A server that ends cancels the requests that take too long, then shuts the application down; their tasks run later.
    In the thread of an event loop, where they could not run meanwhile, it does not wait.
    """
    if not open_requests or _in_event_loop():
        return
    until = now() + min(timeout / 2, _LONGEST)
    while open_requests and now() < until:
        time.sleep(_STEP)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
