"""Waits for what tracing does in threads of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_langfuse.tracing import tracing_health


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return when the condition holds.

    Raises:
        AssertionError: It does not within `seconds`; the message has the health of tracing.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in time: {tracing_health()}"
        time.sleep(0.005)
