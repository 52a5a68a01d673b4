"""The account of all spans: `ended == exported + buffered + sum(dropped.values()) + unaccounted`.

A span ends once, and is exported or dropped once. In between it is held by one stage after another: the sampler, the
SDK's queue, an export, the buffer, a request. `buffered` is what the stages find when they look at what they hold; it
is never computed as the rest. What is missing then is `unaccounted`: spans that a stage has lost without counting them.

Each hand-over from one stage to the next is made with `lock` held, and so is each look, so that no span is seen twice
or not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan


class Balance(NamedTuple):
    """The ledger at one instant."""

    ended: int
    exported: int
    buffered: int
    dropped: dict[str, int]
    unaccounted: int = 0
    sampled: int = 0
    reparented: int = 0


class SpanLedger:
    """Counts each span once when it ends, and once more when it is exported or dropped. Thread-safe."""

    def __init__(self) -> None:
        self._stages: list[Callable[[], int]] = []
        self._clear()

    def _clear(self) -> None:
        #: Held for hand-overs, never for longer: no call to the disk, the network or the application. It is reentrant,
        #: because the garbage collector may end a span of the application at any moment, in any thread.
        self.lock = threading.RLock()
        #: Spans that a thread takes from the sampler to the SDK's queue, by `id`.
        self.in_hand: dict[int, ReadableSpan] = {}
        self._ended = self._exported = self._sampled = self._reparented = 0
        self._dropped: dict[str, int] = {}
        self._final: Balance | None = None

    def watch(self, held: Callable[[], int]) -> None:
        """Add a stage. `held()` returns how many spans it holds now; it is called with `lock` held."""
        self._stages.append(held)

    def ended(self, spans: int = 1) -> None:
        """Count spans that ended and are for Langfuse."""
        with self.lock:
            if self._final is None:
                self._ended += spans

    def handed_over(self, spans: int) -> None:
        """Count spans no longer: another process has them now, for which they have ended."""
        with self.lock:
            if self._final is None:
                self._ended -= spans

    def queued(self, span: ReadableSpan) -> None:
        """Count a span that sampling has kept, and that ended now unless it was held. `lock` is held by the caller."""
        if self._final is None:
            if not self.in_hand or self.in_hand.pop(id(span), None) is None:
                self._ended += 1
            self._sampled += 1

    def reparented(self, spans: int = 1) -> None:
        """Count spans that are sent with another parent than they were made with."""
        with self.lock:
            if self._final is None:
                self._reparented += spans

    def exported(self, spans: int) -> None:
        """Count spans that Langfuse accepted."""
        with self.lock:
            if self._final is None:
                self._exported += spans

    def dropped(self, reason: str, spans: int = 1) -> None:
        """Count spans that will never be sent."""
        if spans:
            with self.lock:
                if self._final is None:
                    self._dropped[reason] = self._dropped.get(reason, 0) + spans

    def after_shutdown(self) -> None:
        """Count a span that ended after the shutdown, also after `close`."""
        with self.lock:
            if (final := self._final) is None:
                self.ended()
                self.dropped("after_shutdown")
            else:
                dropped = {**final.dropped, "after_shutdown": final.dropped.get("after_shutdown", 0) + 1}
                self._final = final._replace(ended=final.ended + 1, dropped=dropped)

    def balance(self) -> Balance:
        """Return all counts, taken at one instant."""
        with self.lock:
            return self._final or self._balance(self._held())

    def losses(self) -> dict[str, int]:
        """Return what was dropped, by reason."""
        with self.lock:
            return dict(self._dropped)

    def close(self, *, kept: int) -> Balance:
        """Return the final balance: what is held and not `kept` is dropped ("shutdown"). Later counts are ignored."""
        with self.lock:
            if self._final is None:
                self.dropped("shutdown", max(self._held() - kept, 0))
                self._final = self._balance(kept)
            return self._final

    def after_fork(self) -> None:
        """In a forked child: start from zero, what the parent counted stays the parent's."""
        self._clear()

    def _held(self) -> int:
        return len(self.in_hand) + sum(held() for held in self._stages)

    def _balance(self, buffered: int) -> Balance:
        dropped = dict(self._dropped)
        unaccounted = self._ended - self._exported - buffered - sum(dropped.values())
        return Balance(self._ended, self._exported, buffered, dropped, unaccounted, self._sampled, self._reparented)
