"""The thread that sends what waits in the buffer."""

from __future__ import annotations

import functools
import random
import threading
from collections import deque
from dataclasses import dataclass

from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker, Permit
from pytest_langfuse.tracing.delivery.buffer import Batch, BufferFailed, MemoryBuffer
from pytest_langfuse.tracing.delivery.export_body import LARGEST_BODY
from pytest_langfuse.tracing.delivery.settlement import Settlement
from pytest_langfuse.tracing.delivery.sink import Outcome, Sink, Verdict
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.untraced import untraced

#: So many spans at most in one request, however small they are.
MOST_SPANS = 2048

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
#: While the breaker is open: its clock may be moved by a test, so it is looked at again and again.
_LOOK_AGAIN = 0.2
#: While files of dead processes hold more than there was room for.
_RECOVER_AGAIN = 5.0
#: During a shutdown, which goes on until its deadline or until the breaker opens.
_LAST_PAUSE, _LONGEST_LAST_PAUSE = 0.1, 1.0

#: Of the operating system: the application's own random numbers stay as they would be.
_spread = random.SystemRandom()


@dataclass(slots=True, eq=False)
class _InFlight:
    """Batches that were handed to the sink as one body and are not settled yet."""

    batches: list[Batch]
    permit: Permit
    #: How many pauses there had been when it was sent.
    pauses: int
    since: float
    outcome: Outcome | None = None
    #: To be dropped rather than sent again.
    discarded: bool = False


class Sender:
    """Takes batches from `buffer` to `sink` in a daemon thread, as the breaker permits, and keeps the ledger.

    Up to `sink.max_in_flight` bodies are under way at once. The sink may confirm them from any thread and in any order;
    the sender's thread settles them.
    """

    def __init__(self, *, buffer: MemoryBuffer, sink: Sink, breaker: CircuitBreaker, ledger: SpanLedger) -> None:
        self._buffer, self._sink, self._breaker, self._ledger = buffer, sink, breaker, ledger
        self.settlement = Settlement(buffer=buffer, ledger=ledger)
        ledger.watch(self._held)
        self._not_before = self._retry_at = self._recover_at = 0.0
        self._failed = 0
        self._prepare()

    def _prepare(self) -> None:
        self._changed = threading.Condition()
        self._work = self._discarding = False
        self._idle = True
        self._begun = self._ended = self._pauses = 0
        self._in_flight: set[_InFlight] = set()
        self._confirmed: deque[_InFlight] = deque()
        self._stopping = self._given_up = self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="langfuse-tracing-sender", daemon=True)

    def _held(self) -> int:
        return sum(batch.body.spans for sent in self._in_flight for batch in sent.batches)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while the thread is running."""
        return self._thread.is_alive()

    def notify(self) -> None:
        """Tell the thread that something was put into the buffer."""
        with self._changed:
            self._work, self._idle = True, False
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until the buffer is empty, for `timeout` seconds, unless Langfuse fails. Return whether it is."""
        deadline = now() + timeout
        with self._changed:
            while not self._idle and not self._breaker.failing:
                left = deadline - now()
                if left <= 0:
                    break
                self._changed.wait(min(left, _LOOK_AGAIN))
            return self._idle

    def settle(self, timeout: float) -> None:
        """Wait until what is in the buffer was sent, or was tried once more, or may not be tried now."""
        deadline = now() + timeout
        with self._changed:
            enough = self._begun + 1
            while not self._idle and self._ended < enough and self._breaker.state != "open":
                left = deadline - now()
                if left <= 0:
                    return
                self._changed.wait(min(left, _LOOK_AGAIN))

    def discard(self) -> None:
        """Drop what is in the buffer, what is being sent included if that fails; counted as "discarded"."""
        with self._changed:
            self._discarding, self._idle = True, False
            self._changed.notify_all()

    def stop(self, timeout: float) -> None:
        """Send the rest without long pauses, and end the thread; whoever gives up waiting calls `abandon`.

        `timeout` is how long the caller is going to wait, in seconds: if the server asked for a longer pause, nothing
        is tried.
        """
        with self._changed:
            self._stopping = True
            self._failed = 0
            # It may have been abandoned already, by a caller that did not wait for this.
            self._given_up = self._given_up or self._retry_at > now() + timeout
            self._not_before = self._retry_at
            self._changed.notify_all()

    def abandon(self) -> None:
        """Send nothing more: the rest was counted as lost, or stays in the spool. What is in flight may arrive."""
        with self._changed:
            self._given_up = self._abandoned = True
            unanswered = [sent.since for sent in self._in_flight if sent.outcome is None]
            self._changed.notify_all()
        if unanswered:
            self.settlement.unanswered(now() - min(unanswered))

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread after `stop`."""
        self._thread.join(timeout)

    def after_fork(self) -> None:
        """Start a thread in a forked child; the buffer is empty, and what is in flight is the parent's."""
        self._not_before, self._retry_at, self._failed = 0.0, 0.0, 0
        self.settlement.after_fork()
        self._prepare()
        self.start()

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with untraced():
            self._send_all()

    def _send_all(self) -> None:
        self._recover()
        while self._wait():
            try:
                if self._confirmed:
                    self._settle_one()
                elif self._discarding:
                    self._drop_all()
                elif self._recover_more:
                    self._recover()
                else:
                    self._send_some()
                self.settlement.losses.tell(self._ledger.losses())
            except Exception as error:  # noqa: BLE001 - the thread must live: without it no span is sent
                failures.report("sending spans", error)
                self._pause(None)
                self._work = True

    @property
    def _recover_more(self) -> bool:
        """There is room again for what dead processes left: all that was here has gone."""
        return (
            self._buffer.more_to_recover
            and now() >= self._recover_at
            and not self._stopping
            and not self._buffer.counts()[0]
        )

    def _recover(self) -> None:
        self._recover_at = now() + _RECOVER_AGAIN
        try:
            for _ in self._buffer.recover():
                self.notify()
        except BufferFailed as error:
            failures.report("taking over spools", error)
        if self._buffer.damage is not None:
            self.settlement.lost_uncounted(self._buffer.damage)
            self._buffer.damage = None
        self.notify()

    def _wait(self) -> bool:
        """Wait for something that may be done now. Return `False` if the thread is to end."""
        with self._changed:
            while not self._confirmed:
                if self._given_up:
                    if not self._in_flight:
                        return False
                    self._changed.wait()
                elif self._discarding:
                    return True
                elif self._work and len(self._in_flight) < self._sink.max_in_flight:
                    pause = self._not_before - now()
                    if pause <= 0:
                        return True
                    self._changed.wait(pause)
                elif self._work or self._in_flight:
                    self._changed.wait()
                else:
                    if not self._idle:
                        self._idle = True
                        self._changed.notify_all()
                    if self._stopping or self._recover_more:
                        return not self._stopping
                    self._changed.wait(_RECOVER_AGAIN if self._buffer.more_to_recover else None)
            return True

    def _send_some(self) -> None:
        permit = self._breaker.try_acquire()
        if permit is None:
            # A trial in flight decides whether the rest can be sent.
            self._given_up = self._given_up or (self._stopping and not self._in_flight)
            self._not_before = now() + min(max(self._breaker.retry_after, 0.01), _LOOK_AGAIN)
            with self._changed:
                # Whoever waits for a flush has to look at the breaker.
                self._changed.notify_all()
            return
        with self._changed:
            self._work = False
        sent = _InFlight([], permit, self._pauses, now())
        try:
            self._buffer.take(MOST_SPANS, self.settlement.largest, moved=functools.partial(self._fly, sent))
        except BaseException:
            self._breaker.release(permit)
            raise
        if not sent.batches:
            self._breaker.release(permit)
            return
        with self._changed:
            self._begun += 1
            # There may be more.
            self._work = True
        try:
            data = b"".join(batch.body.data for batch in sent.batches)
            self._sink.send(data, functools.partial(self._confirm, sent))
        except Exception as error:  # noqa: BLE001 - a sink that breaks its promise must not lose the batches
            failures.report("sending spans", error)
            self._confirm(sent, Outcome(Verdict.FAILED, type(error).__name__, detail=str(error)))

    def _fly(self, sent: _InFlight, batches: list[Batch]) -> None:
        if batches:
            sent.batches = batches
            self._in_flight.add(sent)

    def _confirm(self, sent: _InFlight, outcome: Outcome) -> None:
        with self._changed:
            if sent.outcome is None and sent in self._in_flight:
                sent.outcome = outcome
                self._confirmed.append(sent)
                self._changed.notify_all()

    def _settle_one(self) -> None:
        sent = self._confirmed.popleft()
        outcome = sent.outcome
        try:
            # First: when the breaker opens, whoever waits for a flush looks at the health.
            if outcome is not None and outcome.verdict is Verdict.FAILED and sent.discarded:
                self.settlement.discard(sent.batches)
            elif outcome is not None and not self._was_cut(outcome):
                self.settlement.settle(sent.batches, outcome)
        finally:
            self._tell_breaker(sent, outcome)
            with self._ledger.lock:
                if sent.batches:
                    # The settlement has failed half-way.
                    self._buffer.give_back(sent.batches)
                self._in_flight.discard(sent)
            with self._changed:
                self._work = True
                self._ended += 1
                self._changed.notify_all()

    def _was_cut(self, outcome: Outcome) -> bool:
        """Return whether a request failed after `abandon`: tracing itself has cut the connection."""
        return self._abandoned and outcome.verdict is Verdict.FAILED

    def _tell_breaker(self, sent: _InFlight, outcome: Outcome | None) -> None:
        if outcome is not None and self._was_cut(outcome):
            self._breaker.release(sent.permit)
        elif outcome is None or outcome.verdict is not Verdict.FAILED:
            self._breaker.success(sent.permit)
            self._failed = 0
        elif sent.pauses == self._pauses:
            self._breaker.failure(sent.permit)
            self._pause(outcome)
        else:
            # Sent before the last failure: the same event, which counts once.
            self._breaker.release(sent.permit)
            if outcome.retry_after is not None:
                self._retry_at = max(self._retry_at, now() + self._obeyed(outcome.retry_after))
                self._not_before = max(self._not_before, self._retry_at)

    def _drop_all(self) -> None:
        with self._changed:
            self._discarding = self._work = False
            for sent in self._in_flight:
                sent.discarded = True
        while batches := self._buffer.take(MOST_SPANS, LARGEST_BODY, moved=self.settlement.discarded):
            self._buffer.remove(batches)

    def _pause(self, outcome: Outcome | None) -> None:
        self._failed += 1
        self._pauses += 1
        if self._stopping:
            pause = min(_LAST_PAUSE * 2 ** min(self._failed - 1, 10), _LONGEST_LAST_PAUSE)
        else:
            pause = min(_FIRST_PAUSE * 2 ** min(self._failed - 1, 10), _LONGEST_PAUSE) * _spread.uniform(0.75, 1.0)
        if outcome is not None and outcome.retry_after is not None:
            pause = max(pause, self._obeyed(outcome.retry_after))
            self._retry_at = now() + pause
        self._not_before = now() + pause

    def _obeyed(self, retry_after: float) -> float:
        """Return the pause that the other side may ask for, in seconds: none is longer than the breaker's."""
        return min(retry_after, self._breaker.recovery_timeout)
