"""Log lines about what goes on and on: at once, then once a minute."""

from __future__ import annotations

import logging
import threading

from pytest_langfuse.tracing.failures import logger
from pytest_langfuse.tracing.monotonic import now

_QUIET = 60.0


class RepeatedLog:
    """Logs each kind of line at most once in `quiet` seconds. Thread-safe."""

    def __init__(self, quiet: float = _QUIET) -> None:
        self._quiet = quiet
        self._lock = threading.Lock()
        self._logged: dict[str, float] = {}
        #: For librdkafka's own lines: what is wrong comes through its callbacks, too, so these are for debugging.
        self.librdkafka = logging.getLogger("librdkafka")

    def warn(self, kind: str, message: str, *, level: int = logging.WARNING) -> None:
        """Log a line, unless one of this kind was logged in the last minute."""
        with self._lock:
            if now() - self._logged.get(kind, -self._quiet) < self._quiet:
                return
            self._logged[kind] = now()
        logger.log(level, "%s", message)

    def forget(self, kind: str) -> bool:
        """Log the next line of this kind at once again. Return whether one was logged since the last time."""
        with self._lock:
            return self._logged.pop(kind, None) is not None
