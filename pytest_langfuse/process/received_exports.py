"""The exports that the stand-in received from the processes of a test."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pytest_langfuse.standin.received_export import ReceivedExport


class ReceivedExports:
    """A growing list of the exports that the stand-in accepted. Thread-safe.

    `pull` adds what has to be asked for, and is called before each look; it must not look itself.
    """

    def __init__(self, announce: Callable[[], None], pull: Callable[[], None] = lambda: None) -> None:
        self._pull = pull
        self._lock = threading.Lock()
        self._all: list[ReceivedExport] = []
        self._announce = announce

    def __len__(self) -> int:
        self._pull()
        return len(self._all)

    def add(self, export: ReceivedExport) -> None:
        """Add an export. The stand-in calls this before it answers the sender."""
        with self._lock:
            self._all.append(export)
        self._announce()

    def since(self, first: int) -> list[ReceivedExport]:
        """Return the exports from number `first` on, counted from 0."""
        self._pull()
        with self._lock:
            return self._all[first:]

    def span_keys(self) -> set[tuple[str, str]]:
        """Return the trace id and span id of every span that arrived."""
        return {(record.trace_id, record.span_id) for export in self.since(0) for record in export.arrived}
