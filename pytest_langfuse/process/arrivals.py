"""What processes sent to the stand-in, and from which of them it came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_langfuse.recording.otlp.decode import decode_records
from pytest_langfuse.recording.span_record import SpanRecord


@dataclass(frozen=True)
class Arrival:
    """An export body that was accepted. `prefix` is the path of the base URL that it was sent to."""

    prefix: str
    body: bytes

    @cached_property
    def records(self) -> Sequence[SpanRecord]:
        """Its spans."""
        return decode_records(self.body)


class Arrivals:
    """Grows with each export that the stand-in accepts. Thread-safe."""

    def __init__(self, announce: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._all: list[Arrival] = []
        self._announce = announce

    def __len__(self) -> int:
        return len(self._all)

    def take(self, prefix: str, body: bytes) -> None:
        """An export has arrived. Called before its sender has the answer."""
        with self._lock:
            self._all.append(Arrival(prefix, body))
        self._announce()

    def since(self, first: int) -> list[Arrival]:
        """Those that have arrived, without the first ones."""
        with self._lock:
            return self._all[first:]

    def keys(self) -> set[tuple[str, str]]:
        """All spans that have arrived, by trace id and span id."""
        return {(record.trace_id, record.span_id) for arrival in self.since(0) for record in arrival.records}
