"""The thread that sends what waits in the buffer."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pytest_langfuse.tracing.delivery.breaker import Permit
from pytest_langfuse.tracing.delivery.buffer import Batch, BufferFailed, MemoryBuffer
from pytest_langfuse.tracing.delivery.export_body import LARGEST_BODY
from pytest_langfuse.tracing.delivery.loss_log import LossLog
from pytest_langfuse.tracing.delivery.owner import Owner, sending_for
from pytest_langfuse.tracing.delivery.route import Route
from pytest_langfuse.tracing.delivery.settlement import Settlement
from pytest_langfuse.tracing.delivery.sink import Outcome, Verdict
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.lasting_thread import lasting_thread
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.untraced import untraced

#: So many spans at most in one group, however small they are.
MOST_SPANS = 2048

#: While a breaker is open: its clock may be moved by a test, so it is looked at again and again.
_LOOK_AGAIN = 0.2
#: While files of dead processes hold more than there was room for.
_RECOVER_AGAIN = 5.0


@dataclass(slots=True, eq=False)
class _InFlight:
    """Batches that were handed to a sink as one group and are not settled yet."""

    batches: list[Batch]
    route: Route
    permit: Permit
    #: How many pauses there had been when it was sent.
    pauses: int
    since: float
    outcome: Outcome | Sequence[Outcome] | None = None
    #: To be dropped rather than sent again.
    discarded: bool = False


class Sender:
    """Takes batches from `buffer` to the sinks of `routes` in a daemon thread, and keeps the ledger.

    A group goes to the first route whose breaker is not open. Up to `sink.max_in_flight` groups are under way at once;
    the sink may confirm them from any thread and in any order, and the sender's thread settles them.
    """

    def __init__(self, *, buffer: MemoryBuffer, routes: Sequence[Route], ledger: SpanLedger) -> None:
        self._buffer, self._ledger = buffer, ledger
        self.routes = tuple(routes)
        self._losses = LossLog()
        for route in self.routes:
            route.settlement = Settlement(
                buffer=buffer, ledger=ledger, sink=route.sink, losses=self._losses, name=route.name
            )
        ledger.watch(self._held)
        self._recover_at = 0.0
        self._prepare()

    def _prepare(self) -> None:
        self._changed = threading.Condition()
        self._work = False
        self._idle = True
        self._begun = self._ended = 0
        self._in_flight: set[_InFlight] = set()
        #: Batches that are looked at, to be discarded or given back.
        self._aside: list[Batch] = []
        self._confirmed: deque[_InFlight] = deque()
        self._stopping = self._given_up = self._abandoned = False
        self._thread = lasting_thread(self._run, name="langfuse-tracing-sender", doing="sending spans")

    def _held(self) -> int:
        in_flight = sum(batch.body.spans for sent in self._in_flight for batch in sent.batches)
        return in_flight + sum(batch.body.spans for batch in self._aside)

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

    def tell_losses(self, dropped: Mapping[str, int]) -> None:
        """Log what was dropped and not logged yet, for the last time."""
        self._losses.tell(dropped, last=True)

    def flush(self, timeout: float) -> bool:
        """Wait until the buffer is empty, for `timeout` seconds, unless all routes fail. Return whether it is."""
        deadline = now() + timeout
        with self._changed:
            while not self._idle and not all(route.breaker.failing for route in self.routes):
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
            while (
                not self._idle and self._ended < enough and any(route.breaker.state != "open" for route in self.routes)
            ):
                left = deadline - now()
                if left <= 0:
                    return
                self._changed.wait(min(left, _LOOK_AGAIN))

    def discard(self, belongs: Callable[[Owner | None], bool]) -> None:
        """Drop what is in the buffer of an owner that `belongs`, counted as "discarded".

        What is being sent is dropped if that fails. What is put into the buffer afterwards stays.
        """
        self._discard_in_flight(belongs)
        while self._buffer.take(MOST_SPANS, LARGEST_BODY, moved=self._aside.extend):
            pass
        self.routes[0].settlement.discard(self._aside, [batch for batch in self._aside if belongs(batch.owner)])
        with self._ledger.lock:
            self._buffer.give_back(self._aside)
            self._aside.clear()
        # The thread may have been faster.
        self._discard_in_flight(belongs)
        # It sees what is left, and tells whoever waits for that.
        self.notify()

    def _discard_in_flight(self, belongs: Callable[[Owner | None], bool]) -> None:
        with self._ledger.lock:
            for sent in self._in_flight:
                sent.discarded = sent.discarded or any(belongs(batch.owner) for batch in sent.batches)

    def stop(self, timeout: float) -> None:
        """Send the rest without long pauses, and end the thread; whoever gives up waiting calls `abandon`.

        `timeout` is how long the caller is going to wait, in seconds: if the server asked for a longer pause, nothing
        is tried.
        """
        with self._changed:
            self._stopping = True
            # It may have been abandoned already, by a caller that did not wait for this.
            self._given_up = self._given_up or all(route.retry_at > now() + timeout for route in self.routes)
            for route in self.routes:
                route.begin_last()
            self._changed.notify_all()

    def abandon(self) -> None:
        """Send nothing more: the rest was counted as lost, or stays in the spool. What is in flight may arrive."""
        with self._changed:
            self._given_up = self._abandoned = True
            unanswered = [sent for sent in self._in_flight if sent.outcome is None]
            self._changed.notify_all()
        if unanswered:
            oldest = min(unanswered, key=lambda sent: sent.since)
            oldest.route.settlement.unanswered(now() - oldest.since)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread after `stop`."""
        self._thread.join(timeout)

    def after_fork(self) -> None:
        """Start a thread in a forked child; the buffer is empty, and what is in flight is the parent's."""
        self._losses.after_fork()
        for route in self.routes:
            route.after_fork()
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
                elif self._recover_more:
                    self._recover()
                else:
                    self._send_some()
                self._losses.tell(self._ledger.losses())
            except Exception as error:  # noqa: BLE001 - the thread must live: without it no span is sent
                failures.report("sending spans", error)
                for route in self.routes:
                    route.pause(None, stopping=self._stopping)
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
            self.routes[0].settlement.lost_uncounted(self._buffer.damage)
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
                elif self._work:
                    route, pause = self._next_route()
                    if route is not None:
                        return True
                    self._changed.wait(pause)
                elif self._in_flight:
                    self._changed.wait()
                else:
                    if not self._idle:
                        self._idle = True
                        self._changed.notify_all()
                    if self._stopping or self._recover_more:
                        return not self._stopping
                    self._changed.wait(_RECOVER_AGAIN if self._buffer.more_to_recover else None)
            return True

    def _next_route(self) -> tuple[Route | None, float | None]:
        """Return the route to use, or for how many seconds to wait for one; `None` stands for a confirmation."""
        pauses: list[float] = []
        for route in self.routes:
            if route.full:
                return None, None
            pause = route.not_before - now()
            if pause <= 0:
                return route, None
            pauses.append(pause)
            # A failure is tried again, not elsewhere: until the breaker is open, or there is no time for that.
            if route.breaker.state == "closed" and not self._stopping:
                break
        return None, min(pauses)

    def _acquire(self) -> tuple[Route, Permit] | None:
        while (route := self._next_route()[0]) is not None:
            permit = route.breaker.try_acquire()
            if permit is not None:
                return route, permit
            route.not_before = now() + min(max(route.breaker.retry_after, 0.01), _LOOK_AGAIN)
        return None

    def _send_some(self) -> None:
        acquired = self._acquire()
        if acquired is None:
            # A trial in flight decides whether the rest can be sent.
            refused = all(route.breaker.state != "closed" for route in self.routes)
            self._given_up = self._given_up or (self._stopping and refused and not self._in_flight)
            with self._changed:
                # Whoever waits for a flush has to look at the breakers.
                self._changed.notify_all()
            return
        route, permit = acquired
        with self._changed:
            self._work = False
        sent = _InFlight([], route, permit, route.pauses, now())
        try:
            self._buffer.take(MOST_SPANS, route.settlement.largest, moved=functools.partial(self._fly, sent))
        except BaseException:
            route.breaker.release(permit)
            raise
        if not sent.batches:
            route.breaker.release(permit)
            return
        with self._changed:
            route.flying += 1
            self._begun += 1
            # There may be more.
            self._work = True
        try:
            with sending_for(sent.batches[0].owner):
                route.sink.send([batch.body for batch in sent.batches], functools.partial(self._confirm, sent))
        except Exception as error:  # noqa: BLE001 - a sink that breaks its promise must not lose the batches
            failures.report("sending spans", error)
            self._confirm(sent, Outcome(Verdict.FAILED, type(error).__name__, detail=str(error)))

    def _fly(self, sent: _InFlight, batches: list[Batch]) -> None:
        if batches:
            sent.batches = batches
            self._in_flight.add(sent)

    def _confirm(self, sent: _InFlight, outcome: Outcome | Sequence[Outcome]) -> None:
        with self._changed:
            if sent.outcome is None and sent in self._in_flight:
                sent.outcome = outcome
                self._confirmed.append(sent)
                self._changed.notify_all()

    def _settle_one(self) -> None:
        whole = self._confirmed.popleft()
        outcomes = _of_each(whole)
        try:
            # The newest first: what failed goes back to the front of the buffer.
            for sent, outcome in reversed(self._parts(whole, outcomes)):
                try:
                    # First: when the breaker opens, whoever waits for a flush looks at the health.
                    self._settle(sent, outcome)
                finally:
                    with self._ledger.lock:
                        if sent.batches:
                            # The settlement has failed half-way.
                            self._buffer.give_back(sent.batches)
                        self._in_flight.discard(sent)
        finally:
            self._tell_breaker(whole, outcomes)
            with self._changed:
                whole.route.flying -= 1
                self._work = True
                self._ended += 1
                self._changed.notify_all()

    def _parts(self, whole: _InFlight, outcomes: Sequence[Outcome]) -> list[tuple[_InFlight, Outcome]]:
        """Return what was sent by outcome; in flight are the parts from here on, not the whole."""
        if len(outcomes) == 1:
            return [(whole, outcomes[0])]
        parts = [
            (
                _InFlight(batches, whole.route, whole.permit, whole.pauses, whole.since, outcome, whole.discarded),
                outcome,
            )
            for batches, outcome in _by_outcome(whole.batches, outcomes)
        ]
        with self._ledger.lock:
            self._in_flight.discard(whole)
            self._in_flight.update(part for part, _ in parts)
        return parts

    def _settle(self, sent: _InFlight, outcome: Outcome) -> None:
        if outcome.verdict is Verdict.FAILED and sent.discarded:
            sent.route.settlement.discard(sent.batches, tuple(sent.batches))
        elif not self._was_cut(outcome):
            sent.route.settlement.settle(sent.batches, outcome)

    def _was_cut(self, outcome: Outcome) -> bool:
        """Return whether a request failed after `abandon`: tracing itself has cut the connection."""
        return self._abandoned and outcome.verdict is Verdict.FAILED

    def _tell_breaker(self, sent: _InFlight, outcomes: Sequence[Outcome]) -> None:
        route = sent.route
        failed = next((outcome for outcome in outcomes if outcome.verdict is Verdict.FAILED), None)
        if failed is None:
            route.breaker.success(sent.permit)
            route.failed = 0
        elif self._was_cut(failed):
            route.breaker.release(sent.permit)
        elif sent.pauses != route.pauses:
            # Sent before the last failure: the same event, which counts once.
            route.breaker.release(sent.permit)
            if failed.retry_after is not None:
                route.obey(failed.retry_after)
        elif any(outcome.verdict is not Verdict.FAILED for outcome in outcomes):
            # A part of the destination answers, for example all partitions but one.
            route.breaker.success(sent.permit)
            route.pause(failed, stopping=self._stopping)
        else:
            route.breaker.failure(sent.permit)
            route.pause(failed, stopping=self._stopping)


def _of_each(sent: _InFlight) -> Sequence[Outcome]:
    """Return the outcomes of a group: one for all of its batches, or one for each."""
    if isinstance(sent.outcome, Outcome):
        return [sent.outcome]
    outcomes = list(sent.outcome or ())
    if len(outcomes) == len(sent.batches):
        return outcomes
    return [Outcome(Verdict.FAILED, "sink_failed", detail=f"{len(outcomes)} outcomes for {len(sent.batches)} bodies")]


def _by_outcome(batches: Sequence[Batch], outcomes: Sequence[Outcome]) -> Iterator[tuple[list[Batch], Outcome]]:
    """Group neighbours with equal outcomes; what was refused stays alone, as each may be for a reason of its own."""
    for outcome, pairs in groupby(zip(outcomes, batches, strict=True), key=lambda pair: pair[0]):
        found = [batch for _, batch in pairs]
        if outcome.verdict in {Verdict.ACCEPTED, Verdict.FAILED} and not outcome.rejected:
            yield found, outcome
        else:
            for batch in found:
                yield [batch], outcome
