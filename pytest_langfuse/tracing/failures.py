"""Failures of tracing itself: counted and logged, never passed on to the application."""

from __future__ import annotations

import logging
import threading
import time

from pytest_langfuse.tracing.log_text import readable

logger = logging.getLogger("pytest_langfuse.tracing")

_QUIET_SECONDS = 60.0
_LONGEST_ERROR = 1_000


class Failures:
    """Counts failures by where they happened; logs the first of each place, then at most one a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._logged: dict[str, float] = {}
        self._said: set[str] = set()

    def say_once(self, sentence: str) -> None:
        """Log a sentence unless it was logged before."""
        with self._lock:
            new = sentence not in self._said
            self._said.add(sentence)
        if new:
            logger.warning("%s", sentence)

    def report(self, where: str, error: BaseException) -> None:
        """Count `error`. Call it from the `except` block, so that the log has the traceback."""
        now = time.monotonic()
        with self._lock:
            count = self._counts[where] = self._counts.get(where, 0) + 1
            quiet = where in self._logged and now - self._logged[where] < _QUIET_SECONDS
            if not quiet:
                self._logged[where] = now
        if not quiet:
            logger.warning(
                "Tracing failed while %s (%d times so far); the application is not affected: %s",
                where,
                count,
                _shown(error),
                exc_info=logger.isEnabledFor(logging.DEBUG),
            )

    @property
    def total(self) -> int:
        """Failures so far, of all places."""
        return sum(self._counts.values())

    def forget(self) -> None:
        """Start from zero, with a new lock: another thread may have held the old one when this process forked."""
        self._lock = threading.Lock()
        self._counts.clear()
        self._logged.clear()
        self._said.clear()


def _shown(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {readable(str(error), _LONGEST_ERROR)}"
    except Exception:  # noqa: BLE001 - the error may be one of the application, whose text may raise
        return type(error).__name__


failures = Failures()
