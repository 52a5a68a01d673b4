"""The account of all spans: `ended == exported + buffered + sum(dropped.values()) + unaccounted`."""

from __future__ import annotations

import threading
from typing import NamedTuple


class Balance(NamedTuple):
    """The ledger at one instant."""

    ended: int
    exported: int
    buffered: int
    dropped: dict[str, int]
    sampled: int = 0
    reparented: int = 0


class SpanLedger:
    """Counts each span once when it ends, and once more when it is exported or dropped. Thread-safe."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._ended = self._exported = self._sampled = self._reparented = 0
        self._dropped: dict[str, int] = {}
        self._closed = False

    def ended(self, spans: int = 1) -> None:
        """Count spans that ended and are for Langfuse."""
        with self._lock:
            if not self._closed:
                self._ended += spans

    def sampled(self, spans: int = 1) -> None:
        """Count spans that ended, are for Langfuse and were kept by sampling."""
        with self._lock:
            if not self._closed:
                self._ended += spans
                self._sampled += spans

    def reparented(self, spans: int = 1) -> None:
        """Count spans that are sent with another parent than they were made with."""
        with self._lock:
            if not self._closed:
                self._reparented += spans

    def exported(self, spans: int) -> None:
        """Count spans that Langfuse accepted."""
        with self._lock:
            if not self._closed:
                self._exported += spans

    def dropped(self, reason: str, spans: int = 1) -> None:
        """Count spans that will never be sent."""
        if spans:
            with self._lock:
                if not self._closed:
                    self._drop(reason, spans)

    def balance(self) -> Balance:
        """Return all counts, taken at one instant."""
        with self._lock:
            return self._balance()

    def close(self, *, kept: int) -> Balance:
        """Return the final balance: what is neither exported nor `kept` is dropped. Later counts are ignored."""
        with self._lock:
            left = self._balance().buffered - kept
            if left > 0 and not self._closed:
                self._drop("shutdown", left)
            self._closed = True
            return self._balance()

    def after_fork(self) -> None:
        """In a forked child: start from zero, what the parent counted stays the parent's."""
        self._clear()

    def _drop(self, reason: str, spans: int) -> None:
        self._dropped[reason] = self._dropped.get(reason, 0) + spans

    def _balance(self) -> Balance:
        dropped = dict(self._dropped)
        buffered = self._ended - self._exported - sum(dropped.values())
        return Balance(self._ended, self._exported, buffered, dropped, self._sampled, self._reparented)
