"""The stage that keeps or drops whole traces, over all services that write to the queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from pytest_langfuse.tracing.forward.decision_topic import MOST_DECISIONS, DecisionStore
from pytest_langfuse.tracing.forward.forward_counts import ForwardCounts
from pytest_langfuse.tracing.forward.queue_source import AssignedPartition, QueueMessage
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.forward.stage import Staged
from pytest_langfuse.tracing.forward.trace_parts import TracePart, parts_of, with_sampling
from pytest_langfuse.tracing.forward.undecided_traces import (
    MESSAGE_OVERHEAD,
    PartitionClock,
    TracePolicy,
    UndecidedTrace,
    UndecidedTraces,
)
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.recent_entries import RecentEntries
from pytest_langfuse.tracing.sampling import DROPPED, SamplingDecision

#: A decision that could not be stored is written again after so many seconds.
_AGAIN = 1.0
#: The queue is asked whether more waits in it so often (seconds); what is longer between two calls was spent elsewhere.
_LOOK, _LONGEST_STEP = 0.1, 1.0


class _Parted:
    """A message with parts that are not decided on."""

    __slots__ = ("body", "kept", "message", "undecided")

    def __init__(self, message: QueueMessage, parts: int) -> None:
        self.message = message
        self.undecided = parts
        self.kept: list[bytes] = []


class _Unstored:
    """A trace whose decision is not stored yet, with all that came of it."""

    def __init__(self, partition: _Partition, trace: UndecidedTrace[_Parted], decision: SamplingDecision) -> None:
        self.partition, self.trace, self.decision = partition, trace, decision


class _Partition:
    def __init__(self, assignment: AssignedPartition, policy: TracePolicy) -> None:
        self.assignment = assignment
        self.traces: UndecidedTraces[_Parted] = UndecidedTraces(policy)
        self.clock = PartitionClock()
        self.decisions: RecentEntries[str, SamplingDecision] = RecentEntries(MOST_DECISIONS)
        self.unstored: dict[str, _Unstored] = {}
        self.gone = False


class WholeTraceSampling:
    """A `Stage`: see `TracePolicy` for the decision, which later spans of the trace follow.

    A message is delivered or dropped when the decision about each of its traces is stored. `caught_up` tells whether
    all of a partition was read: only then time goes on without messages. `most_bytes` of memory are for undecided
    traces; beyond, the oldest are decided early. `wall` returns seconds since 1970.
    """

    def __init__(
        self,
        policy: TracePolicy,
        store: DecisionStore,
        *,
        caught_up: Callable[[AssignedPartition], bool],
        counts: ForwardCounts,
        most_bytes: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._policy, self._store, self._caught_up = policy, store, caught_up
        self._most_bytes, self._wall = most_bytes, wall
        self._counts = counts
        self._log = RepeatedLog()
        self._partitions: dict[int, _Partition] = {}
        self._again: list[_Unstored] = []
        self._again_at = 0.0
        self._failing = ""
        self._deliver: list[QueueMessage] = []
        self._drop: list[QueueMessage] = []
        self._looked = now()
        self._active: set[int] = set()
        self._unstored_bytes = 0
        #: The number of messages that are not decided on.
        self.held = 0

    message_overhead = MESSAGE_OVERHEAD

    # -- state -------------------------------------------------------------------------------------------------

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that undecided and unstored traces take, roughly."""
        return self._unstored_bytes + sum(partition.traces.size for partition in self._partitions.values())

    @property
    def full(self) -> bool:
        """True if nothing more should be read: decisions can't be stored."""
        return self._unstored_bytes > self._most_bytes

    def problems(self) -> list[str]:
        """Return why nothing is decided."""
        return [f"decisions of sampling can't be stored ({self._failing})"] if self._failing else []

    # -- messages ----------------------------------------------------------------------------------------------

    def take(self, messages: Sequence[QueueMessage], *, last: bool = False, read: bool = True) -> Staged:
        """See `Stage`."""
        wall = self._wall() if messages else 0.0
        for message in messages:
            self._take(message, wall)
        at = now()
        if read:
            self._pass_time(at)
        else:
            self._looked = at
        for partition in self._partitions.values():
            for trace in partition.traces.due(partition.clock.time):
                self._decide(partition, trace)
            if last:
                for trace in partition.traces.take_all():
                    self._decide(partition, trace)
        self._make_room()
        if self._again and at >= self._again_at:
            again, self._again = self._again, []
            for unstored in again:
                self._write(unstored)
        self._store.poll()
        self._counts.undecided = sum(len(partition.traces) for partition in self._partitions.values())
        staged = Staged(self._deliver, self._drop)
        self._deliver, self._drop = [], []
        return staged

    def _take(self, message: QueueMessage, wall: float) -> None:
        partition = self._partitions.get(message.partition.number)
        if partition is None or partition.assignment is not message.partition:
            # It comes again, to whoever has the partition now.
            return
        parts = parts_of(message)
        if not parts:
            # Nothing to decide, or nothing that can be read: that is for the dead letters.
            self._deliver.append(message)
            return
        self._active.add(message.partition.number)
        at = partition.clock.saw(message.time, wall)
        parted = _Parted(message, len(parts))
        self.held += 1
        for part in parts:
            decision = partition.decisions.get(part.trace)
            if decision is None:
                partition.traces.add(parted, part, at)
            elif (unstored := partition.unstored.get(part.trace)) is not None:
                self._unstored_bytes += unstored.trace.add(parted, part, at)
            else:
                self._settle(parted, part, decision, marked=part.has_root)

    def _pass_time(self, at: float) -> None:
        passed = at - self._looked
        if passed < _LOOK:
            return
        self._looked = at
        for number, partition in self._partitions.items():
            if number not in self._active and self._caught_up(partition.assignment):
                partition.clock.passed(min(passed, _LONGEST_STEP))
        self._active.clear()

    def _make_room(self) -> None:
        while sum(partition.traces.size for partition in self._partitions.values()) > self._most_bytes:
            oldest = min(
                (partition for partition in self._partitions.values() if len(partition.traces)),
                key=lambda partition: partition.traces.oldest or 0.0,
            )
            self._counts.early += 1
            self._decide(oldest, oldest.traces.take_oldest())
            self._log.warn(
                "early",
                f"Sampling holds more than {self._most_bytes} bytes of undecided traces: the oldest are decided early, "
                "and errors that come later are dropped with their traces. Raise --max-bytes or lower --decision-wait.",
            )

    # -- decisions ---------------------------------------------------------------------------------------------

    def _decide(self, partition: _Partition, trace: UndecidedTrace[_Parted]) -> None:
        decision = self._policy.decide(trace.trace, failed=trace.failed, seconds=trace.seconds)
        if not trace.spans:
            # Scores alone: their spans, if they come, are decided by what they are.
            for parted, part in trace.items:
                self._settle(parted, part, decision)
            return
        self._counts.decisions[decision.reason if decision.kept else DROPPED] += 1
        partition.decisions[trace.trace] = decision
        unstored = partition.unstored[trace.trace] = _Unstored(partition, trace, decision)
        self._unstored_bytes += trace.size
        self._write(unstored)

    def _write(self, unstored: _Unstored) -> None:
        number = unstored.partition.assignment.number
        self._store.write(number, unstored.trace.trace, unstored.decision, partial(self._stored, unstored))

    def _stored(self, unstored: _Unstored, error: str | None) -> None:
        partition, trace = unstored.partition, unstored.trace
        if partition.gone:
            return
        if error is not None:
            self._failing = error
            self._log.warn("store", f"Decisions of sampling can't be stored, their messages wait: {error}")
            self._again.append(unstored)
            self._again_at = now() + _AGAIN
            return
        self._failing = ""
        self._log.forget("store")
        del partition.unstored[trace.trace]
        self._unstored_bytes -= trace.size
        top = _top(trace) if unstored.decision.kept else None
        for parted, part in trace.items:
            self._settle(parted, part, unstored.decision, marked=part.has_root or part is top)

    def _settle(self, parted: _Parted, part: TracePart, decision: SamplingDecision, *, marked: bool = False) -> None:
        message = parted.message
        parted.undecided -= 1
        if decision.kept:
            says = marked and part.spans and decision.says_anything
            parted.kept.append(with_sampling(part, decision.metadata) if says else part.body)
        if parted.undecided:
            return
        self.held -= 1
        if parted.kept:
            message.body = parted.kept[0] if len(parted.kept) == 1 else b"".join(parted.kept)
            self._deliver.append(message)
        else:
            self._drop.append(message)

    # -- partitions --------------------------------------------------------------------------------------------

    def assigned(self, assignments: Sequence[AssignedPartition]) -> None:
        """See `Stage`. Reads their decisions back.

        Raises:
            SourceFailed: They can't be read.
        """
        found = self._store.read([assignment.number for assignment in assignments])
        for assignment in assignments:
            partition = self._partitions[assignment.number] = _Partition(assignment, self._policy)
            partition.decisions.update(found.get(assignment.number, {}))

    def revoked(self, assignments: Sequence[AssignedPartition]) -> None:
        """See `Stage`."""
        for assignment in assignments:
            partition = self._partitions.pop(assignment.number, None)
            if partition is None:
                continue
            partition.gone = True
            self._unstored_bytes -= sum(one.trace.size for one in partition.unstored.values())
            undecided = {id(parted) for trace in partition.traces.take_all() for parted, _ in trace.items}
            undecided |= {id(parted) for one in partition.unstored.values() for parted, _ in one.trace.items}
            self.held -= len(undecided)
        self._again = [one for one in self._again if not one.partition.gone]
        self._deliver = [one for one in self._deliver if not one.partition.leaving]
        self._drop = [one for one in self._drop if not one.partition.leaving]

    def close(self) -> None:
        """See `Stage`."""
        self._store.close()


def _top(trace: UndecidedTrace[_Parted]) -> TracePart | None:
    """Return the part with the first span, if none has a root."""
    parts = [part for _, part in trace.items if part.spans]
    if not parts or any(part.has_root for part in parts):
        return None
    return min(parts, key=lambda part: part.start)
