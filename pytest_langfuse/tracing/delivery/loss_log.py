"""The log lines about failures and losses: each event once, and none in silence."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from pytest_langfuse.tracing.failures import logger
from pytest_langfuse.tracing.monotonic import now

_QUIET = 60.0

#: Reasons that somebody wants, and those that the end of tracing logs itself.
_SILENT = frozenset({"sampled_out", "discarded", "shutdown", "after_shutdown"})
#: The reasons of the ledger in words; the others are answers of Langfuse.
_MEANINGS = {
    "buffer_full": "the buffer was full, see max_buffer_spans and max_buffer_bytes",
    "queue_full": "there was no room for them before they were encoded, see max_buffer_spans and max_buffer_bytes",
    "encode_failed": "they have values that can't be encoded",
    "mask_failed": "the application's mask failed",
    "filter_failed": "the application's should_export_span failed",
    "spool_damaged": "their rows in the spool can't be read",
}


def count_of_spans(spans: int) -> str:
    """Return so many spans in words."""
    return f"{spans} span" if spans == 1 else f"{spans} spans"


def said(what: str, detail: str) -> str:
    """Return a sentence with the other side's words behind it, if there are any."""
    return f"{what}: {detail}" if detail else what


class OutageLog:
    """Logs an outage: its start, each new kind of failure in it, its end. Thread-safe."""

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self._clear()

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._logged: dict[str, float] = {}
        #: Something of the current outage was logged.
        self._told = False

    def failed(self, kind: str, message: str) -> None:
        """Log that sending fails: the first failure of each kind at once, then once a minute."""
        with self._lock:
            quiet = now() - self._logged.get(kind, -_QUIET) < _QUIET
            if not quiet:
                self._logged[kind], self._told = now(), True
        if not quiet:
            logger.warning("%s", message)

    def paused(self, message: str) -> None:
        """Log that nothing is sent for a while."""
        with self._lock:
            self._told = True
        logger.warning("%s", message)

    def recovered(self) -> None:
        """Log the end of an outage of which something was logged."""
        with self._lock:
            told, self._told = self._told, False
        if told:
            logger.warning("%s is reachable again: sending the buffered spans.", self._destination)

    def after_fork(self) -> None:
        """In a forked child: the parent logs its own outage; and another thread may have held the lock."""
        self._clear()


class LossLog:
    """Logs what was dropped, with count and reason: the first of each reason at once, then once a minute.

    For one thread, and for another one when that has ended.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._told: dict[str, int] = {}
        self._logged: dict[str, float] = {}

    def tell(self, dropped: Mapping[str, int], *, last: bool = False) -> None:
        """Log what was dropped since it was logged last; if it is the `last` time, however short ago that was."""
        for reason, spans in dropped.items():
            new = spans - self._told.get(reason, 0)
            quiet = not last and now() - self._logged.get(reason, -_QUIET) < _QUIET
            if new > 0 and not quiet and reason not in _SILENT:
                self._told[reason], self._logged[reason] = spans, now()
                meaning = _MEANINGS.get(reason, "they were refused")
                logger.warning("%s dropped (%s): %s.", count_of_spans(new), reason, meaning)

    def told(self, reason: str, spans: int) -> bool:
        """Take note of a drop that the caller logs in its own words. Return whether to do that now."""
        if now() - self._logged.get(reason, -_QUIET) < _QUIET:
            return False
        self._told[reason], self._logged[reason] = self._told.get(reason, 0) + spans, now()
        return True

    def after_fork(self) -> None:
        """In a forked child: counts start from zero."""
        self._clear()
