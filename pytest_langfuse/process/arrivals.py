"""What processes sent to the stand-in, and from which of them it came."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pytest_langfuse.standin.received_export import ReceivedExport


class Arrivals:
    """Grows with each export that the stand-in accepts. Thread-safe."""

    def __init__(self, announce: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._all: list[ReceivedExport] = []
        self._announce = announce

    def __len__(self) -> int:
        return len(self._all)

    def take(self, export: ReceivedExport) -> None:
        """An export has arrived. Called before its sender has the answer."""
        with self._lock:
            self._all.append(export)
        self._announce()

    def since(self, first: int) -> list[ReceivedExport]:
        """Those that have arrived, without the first ones."""
        with self._lock:
            return self._all[first:]

    def keys(self) -> set[tuple[str, str]]:
        """All spans that have arrived, by trace id and span id."""
        return {(record.trace_id, record.span_id) for arrival in self.since(0) for record in arrival.records}
