"""The clock of waits and deadlines."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds of a clock that never goes back, and that tests which freeze time leave alone.

    A wait that is measured with a frozen clock never ends. `time.monotonic` is what such tests replace.
    """
    return time.clock_gettime(time.CLOCK_MONOTONIC) if _HAS_CLOCK else time.monotonic()


_HAS_CLOCK = hasattr(time, "clock_gettime")
