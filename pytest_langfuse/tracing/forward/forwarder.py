"""The forwarder: reads a queue, and commits what Langfuse has taken."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from pytest_langfuse.tracing.forward.deliveries import Deliveries
from pytest_langfuse.tracing.forward.forward_counts import ForwardCounts
from pytest_langfuse.tracing.forward.queue_source import AssignedPartition, QueueSource
from pytest_langfuse.tracing.forward.stage import EverythingPasses, Stage
from pytest_langfuse.tracing.monotonic import now

#: Messages and seconds of one look at the queue.
_MOST_MESSAGES, _POLL = 1000, 0.05
#: Bytes of a message before the first one came.
_FIRST_SIZE = 64 * 1024
#: While there is no room, nothing is read for so long; then the queue is told, which is costly (seconds).
_FULL = 0.5
#: Between two commits: what was delivered since the last one comes again after a crash (seconds).
_COMMIT = 0.1
#: For requests on the wire when partitions are taken away (seconds).
_ON_THE_WIRE = 5.0
#: Between two looks at the lag and the state.
_LOOK = 0.5
#: The loop of a forwarder that is well takes no longer than this (seconds): a rebalance is the longest.
_STUCK = 60.0
#: Of the deadline of a stop, for commit and leave (seconds, and share).
_LEAVE, _LEAVE_SHARE = 2.0, 0.3


class ForwardState(NamedTuple):
    """The state of a forwarder, for other threads."""

    #: Partitions that this process has; `None` before the queue has told it.
    partitions: int | None = None
    #: Messages in the queue that are not done.
    lag: int | None = None
    #: Bytes of messages that are held, and requests on the wire.
    held_bytes: int = 0
    in_flight: int = 0
    #: Why nothing is delivered now.
    problems: tuple[str, ...] = ()
    #: When the loop was last seen alive, on the clock of `monotonic.now`.
    seen: float = 0.0


class Forwarder:
    """Drains `source` through `stage` into `deliveries`. `run` returns after `stop`, or with `once` at the end.

    `max_bytes` bounds the messages that are held, in `stage` and in `deliveries`; beyond, the queue is not read.
    `stop_timeout` is in seconds.
    """

    def __init__(
        self,
        *,
        source: QueueSource,
        deliveries: Deliveries,
        counts: ForwardCounts,
        stage: Stage | None = None,
        once: bool = False,
        max_bytes: int = 64 * 1024 * 1024,
        stop_timeout: float = 10.0,
    ) -> None:
        self.source, self._deliveries = source, deliveries
        self.counts = counts
        self._stage = EverythingPasses() if stage is None else stage
        self._once, self._max_bytes, self._stop_timeout = once, max_bytes, stop_timeout
        self.state = ForwardState(problems=tuple(self.source.problems()), seen=now())
        self._stop = threading.Event()
        self._partitions: int | None = None
        #: Bytes of a message, on average of those that were read last.
        self._message_size = _FIRST_SIZE
        self._full_since: float | None = None
        self._paused = self._ended = False
        self._commit_at = self._look_at = 0.0

    def stop(self) -> None:
        """Let `run` end. May be called from a signal handler."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """True after `stop`."""
        return self._stop.is_set()

    def run(self) -> bool:
        """Forward until `stop`, or with `once` until the end. Return `False` if requests were still on the wire then.

        Raises:
            SourceFailed: The queue can't be read (any more).
        """
        self.source.start(self)
        while not self._stop.is_set() and not self.step():
            pass
        return self._end()

    def step(self) -> bool:
        """Do what is due. Return whether all is done, with `once`."""
        at_end = self._once and self.source.at_end()
        deliveries = self._deliveries
        # Without room, or with all requests on the wire and more to send, the next event is an answer.
        if read := self._has_room():
            busy = deliveries.busy and deliveries.waiting
            messages = self.source.poll(self._most_messages(), 0.0 if busy else _POLL)
        else:
            busy, messages = True, self.source.poll(1, 0.0) if self._paused else []
        if messages:
            size = sum(len(message.body) for message in messages)
            self.counts.messages += len(messages)
            self.counts.bytes += size
            self._message_size = max(size // len(messages), 1)
        staged = self._stage.take(messages, last=at_end, read=read)
        if staged.deliver:
            deliveries.add(staged.deliver)
        if staged.drop:
            self.counts.dropped += len(staged.drop)
            self.counts.done += len(staged.drop)
            self.source.acknowledge(staged.drop)
        deliveries.settle(_POLL if busy else 0.0)
        deliveries.dispatch()
        self._acknowledge()
        at = now()
        if at >= self._commit_at:
            self.source.commit(wait=False)
            self._commit_at = at + _COMMIT
        if at >= self._look_at:
            self._look(at)
        return at_end and deliveries.idle and not self._stage.held

    # -- partitions --------------------------------------------------------------------------------------------

    def assigned(self, assignments: Sequence[AssignedPartition]) -> None:
        """See `AssignmentWatcher`."""
        self.counts.rebalances += 1
        self._partitions = (self._partitions or 0) + len(assignments)
        self._stage.assigned(assignments)

    def revoked(self, assignments: Sequence[AssignedPartition]) -> None:
        """See `AssignmentWatcher`. What is on the wire gets a few seconds, so that nobody sends it again."""
        self._leave(assignments)
        if self._ended:
            # It had its time, and all was committed; what is cut now must not be taken for an outage.
            return
        until = now() + _ON_THE_WIRE
        self._finish_wire(until)
        self.source.commit(wait=True)

    def lost(self, assignments: Sequence[AssignedPartition]) -> None:
        """See `AssignmentWatcher`."""
        self._leave(assignments)

    def _leave(self, assignments: Sequence[AssignedPartition]) -> None:
        self._partitions = max((self._partitions or 0) - len(assignments), 0)
        for assignment in assignments:
            assignment.leaving = True
        self._stage.revoked(assignments)
        self._deliveries.drop_leaving()

    # -- state, for other threads -------------------------------------------------------------------------------

    def stuck(self) -> list[str]:
        """Return why this process should be started anew; nothing while it is well or waits for others."""
        silent = now() - self.state.seen
        return [f"the forwarder has not moved for {silent:.0f} s"] if silent > _STUCK else []

    def not_ready(self) -> list[str]:
        """Return why nothing is delivered."""
        if self.stopping:
            return ["the forwarder stops"]
        return [*self.stuck(), *self.state.problems]

    @property
    def ready(self) -> bool:
        """True while messages are delivered, or would be."""
        return not self.not_ready()

    # -- the parts of a step -----------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        # What the stage holds does not get less by waiting: it is for others.
        most = (self._max_bytes - self._stage.held_bytes) // (2 if self._paused else 1)
        if self._deliveries.held < most and not self._stage.full:
            if self._paused:
                self.source.resume()
            self._paused, self._full_since = False, None
            return True
        at = now()
        if self._full_since is None:
            self._full_since = at
        if not self._paused and at - self._full_since > _FULL:
            # From now on it is asked again and again without giving anything: a consumer that does not ask is dead.
            self.source.pause()
            self._paused = True
        return False

    def _most_messages(self) -> int:
        """Return how many messages of the size of the last ones there is room for."""
        room = self._max_bytes - self._deliveries.held - self._stage.held_bytes
        return max(min(room // (self._message_size + self._stage.message_overhead), _MOST_MESSAGES), 1)

    def _finish_wire(self, until: float) -> None:
        """Wait for requests on the wire, and for dead letters on their way to be stored; nothing new is sent."""
        while self._deliveries.under_way and (left := until - now()) > 0:
            self._deliveries.settle(min(left, _POLL))
            self.source.confirm_letters()
        self._acknowledge()

    def _acknowledge(self) -> None:
        done = self._deliveries.done
        if done:
            self._deliveries.done = []
            self.counts.done += len(done)
            self.source.acknowledge(done)

    def _look(self, at: float) -> None:
        self._look_at = at + _LOOK
        self.state = ForwardState(
            partitions=self._partitions,
            lag=self.source.lag(),
            held_bytes=self._deliveries.held + self._stage.held_bytes,
            in_flight=self._deliveries.in_flight,
            problems=(*self.source.problems(), *self._deliveries.problems(), *self._stage.problems()),
            seen=at,
        )

    def _end(self) -> bool:
        """Wait for what is on the wire, commit and leave, all within the deadline."""
        until = now() + self._stop_timeout
        leave = min(_LEAVE, _LEAVE_SHARE * self._stop_timeout)
        self._finish_wire(until - leave)
        self.source.commit(wait=True)
        finished = not self._deliveries.in_flight
        self._look(now())
        self._ended = True
        self._stage.close()
        self.source.close(max(until - now(), 0.0))
        return finished
