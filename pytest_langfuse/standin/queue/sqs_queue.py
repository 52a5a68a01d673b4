"""A queue of the stand-in SQS: what was sent, who is holding it, and when it is visible again."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Seconds for which a received message is hidden from others, unless the receiver says otherwise (SQS's default).
VISIBILITY: Final = 30.0


@dataclass(eq=False)
class SqsEntry:
    """A message in a queue. `attributes` are as they were sent, `group` and `deduplication` of a FIFO queue."""

    body: str
    attributes: Mapping[str, Any]
    group: str = ""
    deduplication: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    sent: float = field(default_factory=time.time)
    receipt: str = ""
    visible: float = 0.0
    received: int = 0


class SqsQueue:
    """Messages in order of arrival. `now` is a clock in seconds. Thread-safe."""

    def __init__(self, name: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._now = now
        self._changed = threading.Condition()
        self._entries: list[SqsEntry] = []
        #: Of a FIFO queue: what was sent, by its id for deduplication.
        self._known: dict[str, SqsEntry] = {}

    @property
    def fifo(self) -> bool:
        """True if messages of a group are received in order, and each once."""
        return self.name.endswith(".fifo")

    def send(self, entry: SqsEntry) -> tuple[SqsEntry, bool]:
        """Add a message, and return it and `True`; of one that was sent already, that one and `False`."""
        with self._changed:
            known = self._known.get(entry.deduplication) if entry.deduplication else None
            if known is not None:
                return known, False
            if entry.deduplication:
                self._known[entry.deduplication] = entry
            self._entries.append(entry)
            self._changed.notify_all()
            return entry, True

    def receive(self, most: int, *, visibility: float, wait: float) -> list[SqsEntry]:
        """Return at most `most` visible messages, and hide them; wait so many seconds for the first."""
        end = self._now() + wait
        with self._changed:
            while not (found := self._visible(most)):
                left = end - self._now()
                if left <= 0:
                    return []
                # A hidden message becomes visible without a notice.
                self._changed.wait(min(left, 0.1))
            for entry in found:
                entry.receipt, entry.visible = str(uuid.uuid4()), self._now() + visibility
                entry.received += 1
            return found

    def _visible(self, most: int) -> list[SqsEntry]:
        now, held, found = self._now(), set[str](), []
        for entry in self._entries:
            if entry.visible > now:
                held.add(entry.group)
            elif not (self.fifo and entry.group in held):
                found.append(entry)
            if len(found) == most:
                break
        return found

    def delete(self, receipt: str) -> None:
        """Delete the message that was received with this receipt; one that is gone is not missed."""
        with self._changed:
            self._entries = [entry for entry in self._entries if not receipt or entry.receipt != receipt]
            self._changed.notify_all()

    def hide(self, receipt: str, seconds: float) -> bool:
        """Hide a received message for so long from now; return `False` if there is none."""
        with self._changed:
            for entry in self._entries:
                if receipt and entry.receipt == receipt:
                    entry.visible = self._now() + seconds
                    self._changed.notify_all()
                    return True
            return False

    def counts(self) -> tuple[int, int]:
        """Return how many messages are visible, and how many are hidden."""
        with self._changed:
            hidden = sum(entry.visible > self._now() for entry in self._entries)
            return len(self._entries) - hidden, hidden

    def clear(self) -> None:
        """Delete all messages."""
        with self._changed:
            self._entries.clear()
            self._known.clear()
