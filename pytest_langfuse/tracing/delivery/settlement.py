"""The treatment of confirmed batches: they are removed and counted, sent again, or split."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_langfuse.tracing.delivery.buffer import Batch, MemoryBuffer
from pytest_langfuse.tracing.delivery.export_body import halves
from pytest_langfuse.tracing.delivery.loss_log import LossLog, OutageLog, count_of_spans, said
from pytest_langfuse.tracing.delivery.sink import DESTINATIONS, Outcome, Sink, Verdict, trouble_of
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.failures import logger
from pytest_langfuse.tracing.monotonic import now

#: Answers of 5xx to one batch after which it is sent without others, and after which it is given up, provided that
#: others were accepted in the meantime.
_SUSPECT, _HOPELESS = 3, 20


class Settlement:
    """Moves confirmed batches out of the buffer, or back into it, and keeps the ledger. For one thread."""

    def __init__(
        self, *, buffer: MemoryBuffer, ledger: SpanLedger, sink: Sink, losses: LossLog, name: str = "http"
    ) -> None:
        self._buffer, self._ledger = buffer, ledger
        self._sink, self._joins = sink, not sink.by_trace
        self.destination = DESTINATIONS.get(name, name)
        #: Bytes that a group may have: fewer after an answer that it was too large.
        self.largest = sink.most_bytes
        #: The last failure, and when spans were last accepted.
        self.last_error: str | None = None
        self.last_success: float | None = None
        #: The last answer cost spans.
        self.refusing = False
        self._accepted = 0
        self.outage, self.losses = OutageLog(self.destination), losses

    def settle(self, batches: list[Batch], outcome: Outcome) -> None:
        """Apply the outcome of a body that `batches` were joined to. Each batch leaves the list when it is settled."""
        spans = _spans(batches)
        if outcome.verdict is Verdict.FAILED:
            self._failed(batches, outcome)
        elif outcome.verdict is Verdict.ACCEPTED:
            self._accepted += 1
            self.last_success = now()
            rejected = min(max(outcome.rejected, 0), spans)
            # First out of the buffer: a crash in between must not make the ledger promise what is sent again.
            self._buffer.remove(batches)
            with self._ledger.lock:
                batches.clear()
                self._ledger.exported(spans - rejected)
                self._ledger.dropped("rejected", rejected)
            self.refusing = rejected > 0
            self.outage.recovered()
            if rejected:
                self.last_error = said("rejected", outcome.detail)
            if (rejected or outcome.detail) and self.losses.told("rejected", rejected):
                what = f"{self.destination} took {spans - rejected} of {count_of_spans(spans)}"
                logger.warning("%s", said(what, outcome.detail))
        elif len(batches) > 1:
            # Joined by the sender: each batch is tried separately before any is given up.
            for batch in batches:
                batch.alone = True
            self._give_back(batches)
        elif outcome.verdict is Verdict.TOO_LARGE and spans > 1:
            if self._joins:
                self.largest = max(len(batches[0].body.data) // 2, 1)
            self._buffer.replace(batches[0], halves(batches[0].body), moved=batches.clear)
        else:
            self._drop(batches, tuple(batches), outcome.reason)
            self.refusing = True
            self.last_error = said(outcome.reason, outcome.detail)
            if self.losses.told(outcome.reason, spans):
                what = f"{self.destination} refused {count_of_spans(spans)} ({outcome.reason})"
                logger.warning("%s", said(what, outcome.detail))

    def _failed(self, batches: list[Batch], outcome: Outcome) -> None:
        self.last_error = said(outcome.reason, outcome.detail)
        self._keep(batches, outcome)
        if outcome.unreachable:
            what = f"{self.destination} can't be reached ({outcome.reason}), spans are kept"
        else:
            what = f"Spans can't be sent to {self.destination} ({outcome.reason}), they are kept"
        self.outage.failed(outcome.reason, said(what, outcome.detail))

    def unanswered(self, seconds: float) -> None:
        """Nobody waits any longer for the answer to a request that was begun so long ago."""
        self.last_error = said(f"no complete answer within {seconds:.1f} s", trouble_of(self._sink))

    def lost_uncounted(self, what: str) -> None:
        """Tell of a loss that nobody can count: the state is bad until Langfuse accepts something again."""
        self.refusing = True
        self.last_error = what

    def discard(self, batches: list[Batch], dropped: Sequence[Batch]) -> None:
        """Remove some of `batches` from there and from the buffer, counted as "discarded"."""
        self._drop(batches, dropped, "discarded")

    def _drop(self, batches: list[Batch], dropped: Sequence[Batch], reason: str) -> None:
        self._buffer.remove(dropped)
        with self._ledger.lock:
            batches[:] = [batch for batch in batches if batch not in dropped]
            self._ledger.dropped(reason, _spans(dropped))

    def _give_back(self, batches: list[Batch], *, last: bool = False) -> None:
        with self._ledger.lock:
            self._buffer.give_back(batches, last=last)
            batches.clear()

    def after_fork(self) -> None:
        """In a forked child: what happened to the parent's spans is not its own."""
        self.last_error = self.last_success = None
        self.refusing = False
        self.outage.after_fork()

    def _keep(self, batches: list[Batch], outcome: Outcome) -> None:
        """Give failed batches back, and give up one that only the server can't digest: it must not stop all others."""
        if not outcome.reason.startswith("http_5"):
            self._give_back(batches)
            return
        for batch in batches:
            batch.since = batch.since if batch.tries else self._accepted
            batch.tries += 1
            batch.alone = batch.alone or batch.tries >= _SUSPECT
        hopeless = [batch for batch in batches if batch.tries >= _HOPELESS and batch.since < self._accepted]
        self._drop(batches, hopeless, outcome.reason)
        self._give_back(batches, last=True)


def _spans(batches: Sequence[Batch]) -> int:
    return sum(batch.body.spans for batch in batches)
