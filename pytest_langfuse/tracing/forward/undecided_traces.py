"""Traces of one partition that are not decided, in the time of the broker."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from pytest_langfuse.tracing.forward.trace_parts import TracePart
from pytest_langfuse.tracing.sampling import ERROR, ID_BITS, RATE, SLOW, SamplingDecision, bound_of

_Item = TypeVar("_Item")
_NANOSECONDS = 1_000_000_000
#: Bytes of memory that a trace and a part of it take, beside the message.
_TRACE, _PART = 600, 800
#: Of a message with one trace.
MESSAGE_OVERHEAD = _TRACE + _PART


class TracePolicy(NamedTuple):
    """The traces that are kept, and when that is decided. Times are seconds."""

    rate: float
    keep_errors: bool = False
    keep_slower_than: float | None = None
    #: A trace is decided when nothing came of it for so long, and at the latest `most_age` after its first span.
    wait: float = 30.0
    most_age: float = 300.0

    def decide(self, trace: str, *, failed: bool, seconds: float) -> SamplingDecision:
        """Return the decision about a trace: always the same for the same spans."""
        if failed and self.keep_errors:
            return SamplingDecision(kept=True, rate=self.rate, reason=ERROR)
        if self.keep_slower_than is not None and seconds >= self.keep_slower_than:
            return SamplingDecision(kept=True, rate=self.rate, reason=SLOW)
        kept = (int(trace, 16) & ID_BITS) < bound_of(self.rate)
        return SamplingDecision(kept=kept, rate=self.rate, reason=RATE)


class UndecidedTrace(Generic[_Item]):
    """A trace as far as it came; `first` and `last` are times of the broker."""

    __slots__ = ("end", "failed", "first", "items", "last", "size", "spans", "start", "trace")

    def __init__(self, trace: str, at: float) -> None:
        self.trace = trace
        self.first = self.last = at
        self.items: list[tuple[_Item, TracePart]] = []
        self.failed = False
        self.spans = self.start = self.end = 0
        self.size = _TRACE

    def add(self, item: _Item, part: TracePart, at: float) -> int:
        """Add a part that came at `at`; return the bytes that it takes."""
        self.items.append((item, part))
        self.last = at
        self.failed = self.failed or part.failed
        if part.spans:
            self.spans += part.spans
            self.start = min(self.start or part.start, part.start)
            self.end = max(self.end, part.end)
        size = len(part.body) + _PART
        self.size += size
        return size

    @property
    def seconds(self) -> float:
        """From the earliest start to the latest end."""
        return max(self.end - self.start, 0) / _NANOSECONDS


class UndecidedTraces(Generic[_Item]):
    """Holds the parts of traces until they are decided. `item` is whatever a part belongs to, a message.

    Times have to come in order: those of `add` and `due` never go back.
    """

    def __init__(self, policy: TracePolicy) -> None:
        self._policy = policy
        #: The one that was idle for longest comes first.
        self._traces: OrderedDict[str, UndecidedTrace[_Item]] = OrderedDict()
        #: In the order in which they came; decided ones are in it until they are the first.
        self._by_age: deque[UndecidedTrace[_Item]] = deque()
        #: Bytes of memory, roughly.
        self.size = 0

    def __len__(self) -> int:
        return len(self._traces)

    def add(self, item: _Item, part: TracePart, at: float) -> None:
        """Add a part of a trace that is not decided."""
        trace = self._traces.get(part.trace)
        if trace is None:
            trace = self._traces[part.trace] = UndecidedTrace(part.trace, at)
            self._by_age.append(trace)
            self.size += _TRACE
        else:
            self._traces.move_to_end(part.trace)
        self.size += trace.add(item, part, at)

    def due(self, at: float) -> Iterator[UndecidedTrace[_Item]]:
        """Take out the traces that are to be decided at `at`."""
        wait, age = self._policy.wait, self._policy.most_age
        while self._traces:
            trace = next(iter(self._traces.values()))
            if trace.last + wait > at:
                break
            yield self._taken(trace)
        while (oldest := self._oldest()) is not None and oldest.first + age <= at:
            yield self._taken(oldest)

    @property
    def oldest(self) -> float | None:
        """When the first span of the oldest trace came; `None` without one."""
        trace = self._oldest()
        return None if trace is None else trace.first

    def take_oldest(self) -> UndecidedTrace[_Item]:
        """Take out the oldest trace, for want of room. There has to be one."""
        trace = self._oldest()
        if trace is None:
            raise IndexError
        return self._taken(trace)

    def take_all(self) -> Iterator[UndecidedTrace[_Item]]:
        """Take out all."""
        while self._traces:
            yield self.take_oldest()

    def _oldest(self) -> UndecidedTrace[_Item] | None:
        waiting = self._by_age
        while waiting and self._traces.get(waiting[0].trace) is not waiting[0]:
            waiting.popleft()
        if len(waiting) > 2 * len(self._traces) + 1_000:
            # Decided ones behind an old one.
            self._by_age = waiting = deque(one for one in waiting if self._traces.get(one.trace) is one)
        return waiting[0] if waiting else None

    def _taken(self, trace: UndecidedTrace[_Item]) -> UndecidedTrace[_Item]:
        del self._traces[trace.trace]
        self.size -= trace.size
        return trace


class PartitionClock:
    """The time of the broker in one partition. It never goes back, and never runs ahead of this machine's clock.

    Messages have the time of the producer where the topic does not say `message.timestamp.type=LogAppendTime`: one
    whose clock is wrong must not decide the traces of others.
    """

    def __init__(self) -> None:
        self.time = 0.0

    def saw(self, time: float, wall: float) -> float:
        """A message of `time` came; return the time now."""
        self.time = max(self.time, min(time, wall))
        return self.time

    def passed(self, seconds: float) -> None:
        """Nothing came for so long, and nothing waits."""
        self.time += seconds
