"""From messages to Langfuse's yes: merged, posted, put off, posted again, split, dead-lettered."""

from __future__ import annotations

import logging
import queue
import random
from collections import deque
from collections.abc import Sequence

from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker, Permit
from pytest_langfuse.tracing.delivery.loss_log import said
from pytest_langfuse.tracing.delivery.sink import Outcome, Verdict
from pytest_langfuse.tracing.forward.burials import Burials
from pytest_langfuse.tracing.forward.forward_counts import ForwardCounts
from pytest_langfuse.tracing.forward.lane import Group, Lane, Part
from pytest_langfuse.tracing.forward.post_formats import SPAN_POSTS, PostFormat, Unsendable, format_of
from pytest_langfuse.tracing.forward.poster import Poster
from pytest_langfuse.tracing.forward.project_keys import Project, Projects
from pytest_langfuse.tracing.forward.queue_source import QueueMessage, QueueSource
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.monotonic import now

#: Seconds after the first failure, doubled after each further one, up to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
#: The longest that Langfuse may ask for in `Retry-After`.
_LONGEST_RETRY_AFTER = 300.0
#: While the breaker is open.
_LOOK_AGAIN = 0.2
#: Statuses that say something about one project, not about the server.
_KEY_REFUSED = frozenset({"http_401", "http_403"})
_OF_A_PROJECT = _KEY_REFUSED | {"http_429"}
#: What one message alone may cause, beside 5xx.
_MAY_BE_CAUSED = frozenset({"ReadTimeout", "WriteTimeout", "RemoteProtocolError", "ReadError", "WriteError"})
#: After so many such failures shares of a group are sent, and it is split while others are accepted; and after so many
#: it is dead-lettered, while others are accepted.
_SUSPECT, _HOPELESS = 3, 20

#: Longer times are told in whole seconds.
_ROUNDED = 10.0

_spread = random.SystemRandom()


class Deliveries:
    """Messages on their way. For one thread, which calls `dispatch` and `settle` again and again.

    `linger`: seconds that less than a full request waits for more.
    """

    def __init__(
        self,
        *,
        source: QueueSource,
        projects: Projects,
        poster: Poster,
        breaker: CircuitBreaker,
        counts: ForwardCounts,
        linger: float = 0.1,
    ) -> None:
        self._projects, self._poster, self._breaker, self._counts = projects, poster, breaker, counts
        self.linger = linger
        self._lanes: dict[tuple[Project, PostFormat], Lane] = {}
        self._turns: deque[Lane] = deque()
        self._log = RepeatedLog()
        self._burials = Burials(source.bury, self._log, counts, finish=self._finish, drop=self._drop)
        #: Bytes of messages that are neither done nor dropped.
        self.held = 0
        self.in_flight = 0
        #: Messages that are done, until somebody takes them.
        self.done: list[QueueMessage] = []
        self._not_before = 0.0
        self._failures = self._pauses = 0

    # -- in ----------------------------------------------------------------------------------------------------

    def add(self, messages: Sequence[QueueMessage]) -> None:
        """Take messages that are to be delivered."""
        for message in messages:
            self.held += len(message.body)
            try:
                posts, items = format_of(message.kind, message.body)
            except Unsendable as why:
                self._burials.bury(Part(message, message.body, 1), why.reason, why.detail, None)
                continue
            part = Part(message, message.body, items)
            if (project := self._projects.of(message.public_key)) is None:
                self._burials.bury(part, "unknown_project", _unknown(message.public_key), None)
                continue
            if (lane := self._lanes.get((project, posts))) is None:
                lane = self._lanes[project, posts] = Lane(project, posts, posts.largest)
                self._turns.append(lane)
            lane.add(part)

    # -- out ---------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """True while something is to be sent that is not on the wire, or a dead letter is to be stored."""
        return self._burials.waiting or any(lane.waits() for lane in self._turns)

    @property
    def idle(self) -> bool:
        """True while nothing is held."""
        return not self.held

    @property
    def under_way(self) -> bool:
        """True while requests are on the wire or dead letters are being stored."""
        return bool(self.in_flight or self._burials.under_way)

    @property
    def busy(self) -> bool:
        """True while all threads have a request on the wire."""
        return self.in_flight >= self._poster.threads

    def dispatch(self) -> None:
        """Send what may be sent now."""
        at = now()
        self._burials.again(at)
        while not self.busy and at >= self._not_before and not (self._failures and self.in_flight):
            lane = self._next_lane(at)
            if lane is None:
                return
            permit = self._breaker.try_acquire()
            if permit is None:
                self._not_before = at + min(max(self._breaker.retry_after, 0.01), _LOOK_AGAIN)
                return
            group = lane.cut(at)
            group.pauses = (self._pauses, lane.pauses)
            self.in_flight += 1
            lane.in_flight += 1
            self._counts.requests += 1
            self._poster.post(group, permit)

    def _next_lane(self, at: float) -> Lane | None:
        for _ in range(len(self._turns)):
            lane = self._turns[0]
            self._turns.rotate(-1)
            if lane.ready(at, self.linger):
                return lane
        return None

    def settle(self, timeout: float) -> bool:
        """Settle what was answered; wait up to `timeout` seconds for the first answer. Return whether there was one."""
        settled = False
        while True:
            try:
                if timeout and not settled:
                    group, permit, outcome = self._poster.answers.get(timeout=timeout)
                else:
                    group, permit, outcome = self._poster.answers.get_nowait()
            except queue.Empty:
                return settled
            settled = True
            self._settle(group, permit, outcome)

    # -- partitions --------------------------------------------------------------------------------------------

    def drop_leaving(self) -> None:
        """Drop what waits of partitions that are taken away; what is on the wire stays there."""
        for lane in self._turns:
            for part in lane.take_leaving():
                self._drop(part)
        self._burials.drop_leaving()

    # -- state -------------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """Return why messages are not delivered now, a sentence each."""
        found = []
        failing = [lane.failing for lane in self._lanes.values() if lane.failing and lane.busy]
        if failing:
            found.append(f"Langfuse can't be reached ({failing[0]})")
        for lane in self._lanes.values():
            if lane.refused:
                found.append(f"Langfuse refuses the key {lane.project.public_key} ({lane.refused})")
            if lane.limited and lane.busy and (seconds := lane.not_before - now()) > 0:
                found.append(
                    f"Langfuse limits the rate of the key {lane.project.public_key} ({lane.limited}): "
                    f"its messages wait {_seconds(seconds)} more"
                )
        if self._burials.failing:
            found.append(f"dead letters can't be stored ({self._burials.failing})")
        return found

    # -- settling ----------------------------------------------------------------------------------------------

    def _settle(self, group: Group, permit: Permit, outcome: Outcome) -> None:
        lane = group.lane
        self.in_flight -= 1
        lane.in_flight -= 1
        if outcome.verdict is Verdict.FAILED:
            self._counts.failed[outcome.reason] += 1
            self._failed(group, permit, outcome)
            return
        self._answered(lane, permit)
        group.release()
        if group.control:
            # Whatever the answer is, there was one.
            lane.took(group)
        elif outcome.verdict is Verdict.ACCEPTED and not (outcome.rejected and lane.posts.repeatable):
            self._accept(group, outcome)
        elif outcome.verdict is Verdict.ACCEPTED:
            # Which of the scores were refused is told of single ones only.
            self._split(group, outcome)
        else:
            self._counts.failed[outcome.reason] += 1
            if outcome.verdict is Verdict.TOO_LARGE and len(group.parts) > 1:
                lane.largest = max(min(lane.largest, group.size // 2), 1)
            self._split(group, outcome)

    def _accept(self, group: Group, outcome: Outcome) -> None:
        group.lane.took(group)
        items = group.items
        rejected = min(max(outcome.rejected, 0), items)
        if group.lane.posts is SPAN_POSTS:
            self._counts.spans += items - rejected
        else:
            self._counts.scores += items
        self._counts.rejected += rejected
        if rejected or outcome.detail:
            what = f"Langfuse took {items - rejected} of {items} spans"
            self._log.warn("partial", said(what, outcome.detail))
        for part in group.parts:
            self._finish(part)

    def _split(self, group: Group, outcome: Outcome) -> None:
        self._drop_leaving_of(group)
        if not group.parts:
            return
        groups = group.split()
        if len(groups) > 1:
            group.lane.again.extendleft(reversed(groups))
            return
        for part in group.parts:
            self._burials.bury(part, outcome.reason, outcome.detail, _status(outcome.reason))

    def _failed(self, group: Group, permit: Permit, outcome: Outcome) -> None:
        """Keep a group that failed; one that only Langfuse can't digest must not be tried for ever."""
        lane = group.lane
        own = outcome.reason.startswith("http_5") or outcome.reason in _MAY_BE_CAUSED
        if own and group.suspect:
            # Others were accepted: that says nothing about Langfuse.
            self._breaker.release(permit)
            group.release()
            self._drop_leaving_of(group)
            if group.parts:
                self._blame(group, outcome)
            return
        self._put_off(group, permit, outcome)
        if group.control:
            return
        group = group.rejoin()
        self._drop_leaving_of(group)
        if not group.parts:
            return
        if own:
            group.failed()
            group.probes += group.tries >= _SUSPECT
        lane.again.append(group)

    def _blame(self, group: Group, outcome: Outcome) -> None:
        """A group fails while others are accepted. While all fail, it only waits."""
        lane, fresh = group.lane, group.lane.accepted > group.accepted_last
        if not self._failures:
            group.failed()
            if group.tries >= (_SUSPECT if group.items > 1 else _HOPELESS) and (fresh or group.items > 1):
                self._split(group, outcome)
                return
            if len(group.parts) == 1:
                what = (
                    f"Langfuse takes others, but not {group.parts[0].message.title} ({outcome.reason}, attempt "
                    f"{group.tries}): it is sent apart, and dead-lettered after {_HOPELESS} attempts"
                )
                self._log.warn("apart", said(what, outcome.detail))
        if lane.proven and (self._failures or group.tries >= _HOPELESS):
            # Nothing was accepted since it failed last: Langfuse may be down meanwhile.
            lane.wants_control = True
        group.not_before = now() + _pause(group.tries)
        lane.again.append(group)

    def _drop_leaving_of(self, group: Group) -> None:
        for part in group.take_leaving():
            self._drop(part)

    def _finish(self, part: Part) -> None:
        """A part was delivered or dead-lettered."""
        message = part.message
        message.open_parts -= 1
        if not message.open_parts:
            self.held -= len(message.body)
            if not message.dropped:
                self.done.append(message)

    def _drop(self, part: Part) -> None:
        """Forget a part whose partition is taken away."""
        part.message.dropped = True
        self._finish(part)

    # -- pauses ------------------------------------------------------------------------------------------------

    def _answered(self, lane: Lane, permit: Permit) -> None:
        self._reached(lane, permit)
        lane.failures, lane.not_before, lane.limited = 0, 0.0, ""
        if lane.refused:
            self._log.forget(f"refused {lane.project.public_key}")
            self._log.warn(
                f"accepted {lane.project.public_key}", f"Langfuse takes the key {lane.project.public_key} again."
            )
            lane.refused = ""

    def _reached(self, lane: Lane, permit: Permit) -> None:
        self._breaker.success(permit)
        if lane.failing and self._log.forget(f"failed {lane.failing}"):
            self._log.warn("recovered", "Langfuse is reachable again.")
            self._log.forget("recovered")
        self._failures, lane.failing = 0, ""

    def _put_off(self, group: Group, permit: Permit, outcome: Outcome) -> None:
        lane = group.lane
        if outcome.reason in _OF_A_PROJECT:
            self._reached(lane, permit)
            if group.pauses[1] == lane.pauses or outcome.retry_after is not None:
                lane.pauses += 1
                lane.failures += 1
                lane.not_before = max(lane.not_before, now() + _pause(lane.failures, outcome.retry_after))
            self._tell_of_project(lane, outcome)
            return
        lane.failing = outcome.reason
        if group.pauses[0] == self._pauses:
            self._breaker.failure(permit)
            self._pauses += 1
            self._failures += 1
            self._not_before = now() + _pause(self._failures, outcome.retry_after)
        else:
            # Sent before the last failure: the same event, which counts once.
            self._breaker.release(permit)
            if outcome.retry_after is not None:
                self._not_before = max(self._not_before, now() + _pause(0, outcome.retry_after))
        what = f"Langfuse can't be reached ({outcome.reason}), messages wait"
        self._log.warn(f"failed {outcome.reason}", said(what, outcome.detail))

    def _tell_of_project(self, lane: Lane, outcome: Outcome) -> None:
        key = lane.project.public_key
        if outcome.reason not in _KEY_REFUSED:
            lane.limited = outcome.reason
            what = (
                f"Langfuse limits the rate of the key {key} ({outcome.reason}): its messages wait "
                f"{_seconds(lane.not_before - now())}"
            )
            self._log.warn(f"limited {key}", said(what, outcome.detail))
            return
        lane.refused = outcome.reason
        self._log.warn(
            f"refused {key}",
            said(
                f"Langfuse refuses the key {key} ({outcome.reason}): its messages wait, and so do their "
                f"partitions. Correct the keys and start again",
                outcome.detail,
            ),
            level=logging.ERROR,
        )


def _pause(failures: int, retry_after: float | None = None) -> float:
    pause: float = min(_FIRST_PAUSE * 2.0 ** min(max(failures - 1, 0), 10), _LONGEST_PAUSE) * _spread.uniform(0.75, 1.0)
    return pause if retry_after is None else max(pause, min(retry_after, _LONGEST_RETRY_AFTER))


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _ROUNDED else f"{seconds:.0f} s"


def _status(reason: str) -> int | None:
    number = reason.removeprefix("http_")
    return int(number) if number.isdecimal() else None


def _unknown(public_key: str) -> str:
    if not public_key:
        return "The message names no project, and LANGFUSE_PUBLIC_KEY is not set."
    return f"The keys of the project {public_key} are not known: add them to --projects."
