"""The thread that sends what waits in the buffer."""

from __future__ import annotations

import random
import sqlite3
import threading

from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker
from pytest_langfuse.tracing.delivery.buffer import Batch, Buffer
from pytest_langfuse.tracing.delivery.export_body import LARGEST_BODY, halves
from pytest_langfuse.tracing.delivery.http_sink import Outcome, Sink, Verdict
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.delivery.spool import Spool
from pytest_langfuse.tracing.failures import failures, logger
from pytest_langfuse.tracing.monotonic import now

#: So many spans at most in one request, however small they are.
MOST_SPANS = 2048

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
#: While the breaker is open: its clock may be moved by a test, so it is looked at again and again.
_LOOK_AGAIN = 0.2
#: During a shutdown: so many failures in a row, with so short pauses, and the rest is left.
_LAST_TRIES = 3
_LAST_PAUSE = 0.1
_QUIET = 60.0
#: Answers of 5xx to one batch after which it is sent without others, and after which it is given up, provided that
#: others were accepted in the meantime.
_SUSPECT, _HOPELESS = 3, 20


class Sender:
    """Takes batches from `buffer` to `sink` in a daemon thread, as the breaker permits, and keeps the ledger."""

    def __init__(self, *, buffer: Buffer, sink: Sink, breaker: CircuitBreaker, ledger: SpanLedger) -> None:
        self._buffer, self._sink, self._breaker, self._ledger = buffer, sink, breaker, ledger
        self._largest = LARGEST_BODY
        self._not_before = self._retry_at = 0.0
        self._failed = self._accepted = 0
        self._said: dict[str, float] = {}
        self._prepare()

    def _prepare(self) -> None:
        self._changed = threading.Condition()
        self._work = self._discarding = False
        self._idle = True
        self._begun = self._ended = 0
        self._stopping = self._given_up = False
        self._thread = threading.Thread(target=self._run, name="langfuse-tracing-sender", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def notify(self) -> None:
        """Something was put into the buffer."""
        with self._changed:
            self._work, self._idle = True, False
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all that is in the buffer was sent; less long if the breaker does not let it. Whether it was."""
        deadline = now() + timeout
        with self._changed:
            while not self._idle and self._breaker.state != "open":
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
        """Send the rest without long pauses, give up after a few failures, and end the thread.

        `timeout` is how long the caller is going to wait: if the server asked for more patience, nothing is tried.
        """
        with self._changed:
            self._stopping = True
            self._failed = 0
            # It may have been abandoned already, by a caller that did not wait for this.
            self._given_up = self._given_up or self._retry_at > now() + timeout
            self._not_before = self._retry_at
            self._changed.notify_all()

    def abandon(self) -> None:
        """Send nothing more: what is left was counted as lost, or is the spool's. A request under way may still end."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread after `stop`."""
        self._thread.join(timeout)

    def after_fork(self) -> None:
        """In a forked child: a thread of its own; the buffer is empty."""
        self._not_before, self._retry_at, self._failed = 0.0, 0.0, 0
        self._prepare()
        self.start()

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._adopt()
        while self._wait():
            try:
                self._send_some()
            except Exception as error:  # noqa: BLE001 - the thread must live: spans would pile up behind it unseen
                failures.report("sending spans", error)
                self._pause(None)

    def _adopt(self) -> None:
        if isinstance(self._buffer, Spool):
            try:
                self._ledger.ended(self._buffer.found)
                self._ledger.ended(self._buffer.adopt())
            except (sqlite3.Error, OSError) as error:
                failures.report("taking over spools", error)
            self.notify()

    def _wait(self) -> bool:
        """Wait for work that may be done now. Whether there is any: otherwise the thread is to end."""
        with self._changed:
            while not self._given_up:
                if self._discarding:
                    return True
                if self._work:
                    pause = self._not_before - now()
                    if pause <= 0:
                        return True
                    self._changed.wait(pause)
                    continue
                if not self._idle:
                    self._idle = True
                    self._changed.notify_all()
                if self._stopping:
                    return False
                self._changed.wait()
            return False

    def _send_some(self) -> None:
        if self._discarding:
            self._drop_all()
            return
        permit = self._breaker.try_acquire()
        if permit is None:
            self._given_up = self._given_up or self._stopping
            self._not_before = now() + min(max(self._breaker.retry_after, 0.01), _LOOK_AGAIN)
            with self._changed:
                # Whoever waits for a flush has to look at the breaker.
                self._changed.notify_all()
            return
        with self._changed:
            self._work = False
        try:
            batches = self._buffer.take(MOST_SPANS, self._largest)
        except BaseException:
            self._breaker.release(permit)
            raise
        if not batches:
            self._breaker.release(permit)
            return
        self._begun += 1
        outcome = self._sink.send(b"".join(batch.body.data for batch in batches))
        if outcome.verdict is Verdict.FAILED:
            self._breaker.failure(permit)
            self._keep(batches, outcome)
            self._pause(outcome)
        else:
            self._breaker.success(permit)
            self._failed = 0
            self._settle(batches, outcome)
        with self._changed:
            self._work = True
            self._ended = self._begun
            self._changed.notify_all()

    def _drop_all(self) -> None:
        with self._changed:
            self._discarding = self._work = False
        while batches := self._buffer.take(MOST_SPANS, LARGEST_BODY):
            self._buffer.remove(batches)
            self._ledger.dropped("discarded", sum(batch.body.spans for batch in batches))

    def _keep(self, batches: list[Batch], outcome: Outcome) -> None:
        """Try them again later. One that the server alone can't digest must not stop all others for ever."""
        if not outcome.reason.startswith("http_5"):
            self._buffer.give_back(batches)
            return
        for batch in batches:
            batch.since = batch.since if batch.tries else self._accepted
            batch.tries += 1
            batch.alone = batch.alone or batch.tries >= _SUSPECT
        hopeless = [batch for batch in batches if batch.tries >= _HOPELESS and batch.since < self._accepted]
        kept = [batch for batch in batches if batch not in hopeless]
        self._buffer.give_back(kept, last=True)
        self._buffer.remove(hopeless)
        self._ledger.dropped(outcome.reason, sum(batch.body.spans for batch in hopeless))

    def _settle(self, batches: list[Batch], outcome: Outcome) -> None:
        spans = sum(batch.body.spans for batch in batches)
        if outcome.verdict is Verdict.ACCEPTED:
            self._accepted += 1
            rejected = min(max(outcome.rejected, 0), spans)
            # First out of the buffer: a crash in between must not make the ledger promise what is sent again.
            self._buffer.remove(batches)
            self._ledger.exported(spans - rejected)
            self._ledger.dropped("rejected", rejected)
            if rejected or outcome.detail:
                self._say("rejected", f"Langfuse took {spans - rejected} of {spans} spans and said: {outcome.detail}")
        elif len(batches) > 1:
            # Joined by us: each batch gets a chance of its own before any is given up.
            for batch in batches:
                batch.alone = True
            self._buffer.give_back(batches)
        elif outcome.verdict is Verdict.TOO_LARGE and spans > 1:
            self._largest = max(len(batches[0].body.data) // 2, 1)
            self._buffer.replace(batches[0], halves(batches[0].body))
        else:
            self._buffer.remove(batches)
            self._ledger.dropped(outcome.reason, spans)
            self._say(outcome.reason, f"Langfuse refused {spans} spans ({outcome.reason}): {outcome.detail}")

    def _pause(self, outcome: Outcome | None) -> None:
        self._failed += 1
        if outcome is not None:
            self._say("failed", f"Langfuse can't be reached ({outcome.reason}); spans are kept. {outcome.detail}")
        if self._stopping:
            self._given_up = self._given_up or self._failed >= _LAST_TRIES
            pause = _LAST_PAUSE * self._failed
        else:
            pause = min(_FIRST_PAUSE * 2 ** min(self._failed - 1, 10), _LONGEST_PAUSE) * random.uniform(0.75, 1.0)  # noqa: S311 - to spread, not to hide
        if outcome is not None and outcome.retry_after is not None:
            pause = outcome.retry_after
            self._retry_at = now() + pause
        self._not_before = now() + pause

    def _say(self, kind: str, message: str) -> None:
        """Log once a minute per kind: an outage is one event."""
        if now() - self._said.get(kind, -_QUIET) >= _QUIET:
            self._said[kind] = now()
            logger.warning("%s", message.rstrip())
