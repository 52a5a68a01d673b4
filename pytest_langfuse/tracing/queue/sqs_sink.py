"""Sends export bodies to an SQS queue, in threads of its own.

A span counts as exported when SQS has said that it stored the message (at least once: what had no answer in time is
sent again, and may be there already).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pytest_langfuse.tracing.delivery.export_body import ExportBody, by_trace
from pytest_langfuse.tracing.delivery.sink import Confirm, Outcome, Verdict
from pytest_langfuse.tracing.lasting_thread import lasting_thread
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.queue import endpoints, sqs_message
from pytest_langfuse.tracing.queue.endpoints import SqsEndpoint
from pytest_langfuse.tracing.queue.sqs_client import (
    NO_ANSWER,
    SqsClient,
    most_bytes,
    outcome_of,
    outcome_of_entry,
    without_valid_credentials,
)
from pytest_langfuse.tracing.queue.sqs_message import SqsMessage

_ACCEPTED: Final = Outcome(Verdict.ACCEPTED)
#: The worst first: what a body gets of the outcomes of its messages.
_RANK: Final = (Verdict.FAILED, Verdict.TOO_LARGE, Verdict.REFUSED, Verdict.ACCEPTED)
#: botocore's own limits, which say what took so long, are to end a request before the watch does (seconds).
_GRACE: Final = 0.25
#: Threads that nobody waits for any more, at most: each ends when botocore returns.
_MOST_STUCK: Final = 8


class SqsSink:
    """A sink with a client of botocore's, which its threads share. They start with the first group.

    Raises:
        ConfigError: boto3 is not installed.
    """

    max_in_flight = 4

    def __init__(self, queue_url: str, *, public_key: str, timeout: float) -> None:
        self._endpoint, self._timeout = SqsEndpoint(queue_url), timeout
        #: By their queues: one, unless a test harness names others meanwhile.
        self._clients = {queue_url: self._new_client(self._endpoint)}
        self._fifo = queue_url.endswith(".fifo")
        self._attributes = {sqs_message.PUBLIC_KEY: public_key}
        #: A message of a FIFO queue has a group, which is its trace.
        self.by_trace = self._fifo
        self.largest_body = sqs_message.room_for_data(self._attributes, sqs_message.USUAL_BYTES)
        # One batch; the attributes of its messages count, too.
        self.most_bytes = sqs_message.room_for_data(self._attributes, sqs_message.MOST_BYTES * 15 // 16)
        #: What the queue has said it takes.
        self._room = self.largest_body
        self._clear()

    def _new_client(self, endpoint: SqsEndpoint) -> SqsClient:
        connections = self.max_in_flight + _MOST_STUCK
        return SqsClient(
            endpoint.queue_url, timeout=self._timeout, connections=connections, credentials=endpoint.credentials
        )

    def _clear(self) -> None:
        lock = threading.RLock()
        self._changed, self._overdue = threading.Condition(lock), threading.Condition(lock)
        self._waiting: deque[_SqsGroup] = deque()
        #: What each thread does: nothing, or the group that it sends.
        self._threads: dict[threading.Thread, _SqsGroup | None] = {}
        self._stuck: set[threading.Thread] = set()
        self._watch: threading.Thread | None = None
        self._closed = False

    def send(self, bodies: Sequence[ExportBody], confirm: Confirm) -> None:
        """See `Sink`. Returns at once, but at the interpreter's end, where no thread can be started."""
        endpoints.tries("SQS")
        endpoint = endpoints.sqs(self._endpoint)
        if endpoint is None:
            confirm(_ACCEPTED)
            return
        client = self._clients.get(endpoint.queue_url)
        if client is None:
            client = self._clients[endpoint.queue_url] = self._new_client(endpoint)
        group = _SqsGroup(bodies, confirm, client)
        with self._changed:
            if len(self._stuck) >= _MOST_STUCK:
                started = None
            else:
                started = self._started()
                if started:
                    self._waiting.append(group)
                    self._changed.notify_all()
                    self._overdue.notify_all()
        if started is None:
            detail = "earlier requests did not end yet"
            group.confirm(Outcome(Verdict.FAILED, "sqs_timed_out", detail=detail, unreachable=True))
        elif not started:
            self._serve(group)

    def _started(self) -> bool:
        """Return whether a thread is going to take one more group."""
        idle = sum(group is None for group in self._threads.values())
        if idle > len(self._waiting):
            return True
        thread = lasting_thread(self._work, name="langfuse-tracing-sqs", doing="sending to SQS")
        self._threads[thread] = None
        try:
            if self._watch is None:
                watch = lasting_thread(
                    self._watch_requests, name="langfuse-tracing-sqs-watch", doing="watching requests to SQS"
                )
                watch.start()
                self._watch = watch
            thread.start()
        except RuntimeError:
            # Python 3.12: "can't create new thread at interpreter shutdown".
            del self._threads[thread]
            return bool(self._threads)
        return True

    # -- the threads -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        me = threading.current_thread()
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    self._threads.pop(me, None)
                    self._changed.notify_all()
                    return
                group = self._threads[me] = self._waiting.popleft()
            self._serve(group)
            with self._changed:
                if me in self._stuck:
                    self._stuck.discard(me)
                    return
                self._threads[me] = None
                self._changed.notify_all()

    def _watch_requests(self) -> None:
        """Give up requests that took too long: botocore's limits hold for each wait in a request, not for all of it."""
        limit = self._timeout + _GRACE
        with self._overdue:
            while not self._closed:
                busy = {thread: group for thread, group in self._threads.items() if group is not None}
                begun = [group.since for group in busy.values() if group.since]
                if not busy and not self._waiting:
                    self._overdue.wait()
                elif not begun:
                    # A request that begins from now on has all of its time.
                    self._overdue.wait(limit)
                elif (left := min(begun) + limit - now()) > 0:
                    self._overdue.wait(left)
                for thread, group in busy.items():
                    if group.since and now() - group.since >= limit:
                        self._threads.pop(thread, None)
                        self._stuck.add(thread)
                        detail = f"no answer in {limit:.1f} s"
                        group.confirm(Outcome(Verdict.FAILED, "sqs_timed_out", detail=detail, unreachable=True))

    def _serve(self, group: _SqsGroup) -> None:
        try:
            self._send(group)
        except Exception as error:  # noqa: BLE001 - whatever botocore raises: the thread and the group go on
            group.take(range(len(group.bodies)), outcome_of(error))
        group.confirm_outcomes()

    def _send(self, group: _SqsGroup) -> None:
        again: list[SqsMessage] = []
        failed: Outcome | None = None
        for batch in sqs_message.batches(self._messages(group)):
            outcomes = [failed] * len(batch) if failed is not None else self._sent(group, batch)
            failed = outcomes[0] if _all_failed(outcomes) else None
            for message, outcome in zip(batch, outcomes, strict=True):
                if outcome.verdict in {Verdict.TOO_LARGE, Verdict.REFUSED} and len(message.bodies) > 1:
                    # Each body is tried alone before any is given up.
                    again += (self._message(group.bodies[position], [position]) for position in message.bodies)
                else:
                    group.take(message.bodies, outcome)
        for batch in sqs_message.batches(again):
            for message, outcome in zip(batch, self._sent(group, batch), strict=True):
                group.take(message.bodies, outcome)

    def _messages(self, group: _SqsGroup) -> Iterable[SqsMessage]:
        if self._fifo:
            for position, body in enumerate(group.bodies):
                yield from self._of_one_trace(group, position, body)
            return
        fitting = [position for position in range(len(group.bodies)) if self._fits(group, position)]
        usable = [position for position in fitting if not group.bodies[position].kind]
        lengths = [len(group.bodies[position].data) for position in usable]
        for together in sqs_message.joined(lengths, self._room):
            positions = [usable[index] for index in together]
            data = b"".join(group.bodies[position].data for position in positions)
            yield sqs_message.message(data, self._attributes, positions)
        for position in fitting:
            if group.bodies[position].kind:
                yield self._message(group.bodies[position], [position])

    def _of_one_trace(self, group: _SqsGroup, position: int, body: ExportBody) -> Iterable[SqsMessage]:
        if not self._fits(group, position):
            return
        try:
            # A body from the spool may have been written for another destination.
            parts = [body] if body.trace else by_trace(body)
        except Exception as error:  # noqa: BLE001 - protobuf's own error class has no types
            group.take([position], Outcome(Verdict.REFUSED, "undecodable", detail=str(error)))
            return
        for part in parts:
            yield self._message(part, [position])

    def _message(self, body: ExportBody, positions: Sequence[int]) -> SqsMessage:
        attributes = {**self._attributes, sqs_message.KIND: body.kind} if body.kind else self._attributes
        return sqs_message.message(body.data, attributes, positions, fifo=self._fifo, trace=body.trace)

    def takes_scores(self) -> bool:
        """See `QueueSink`."""
        return endpoints.sqs(self._endpoint) is not None

    def _fits(self, group: _SqsGroup, position: int) -> bool:
        size = len(group.bodies[position].data)
        if size > sqs_message.room_for_data(self._attributes, sqs_message.MOST_BYTES):
            detail = f"{size} bytes are more than a message of SQS may have"
            group.take([position], Outcome(Verdict.TOO_LARGE, "message_too_large", detail=detail))
            return False
        # SQS refuses a message without content, and there is nothing in it to lose.
        return size > 0

    def _sent(self, group: _SqsGroup, batch: Sequence[SqsMessage]) -> list[Outcome]:
        """Send a batch, and return the outcome of each message."""
        if group.confirmed:
            # The watch has given it up: it is sent again as a whole.
            return [NO_ANSWER] * len(batch)
        try:
            group.since = now()
            group.client.made()
            group.since = now()
            entries = [message.entry(number) for number, message in enumerate(batch)]
            answer = group.client.call("send_message_batch", Entries=entries)
        except Exception as error:  # noqa: BLE001 - the whole variety of botocore, urllib3 and the operating system
            outcome = outcome_of(error)
            if outcome.verdict is Verdict.TOO_LARGE and len(batch) > 1:
                return [self._sent(group, [message])[0] for message in batch]
            outcomes = [outcome] * len(batch)
        else:
            outcomes = _outcomes(answer, len(batch))
        finally:
            group.since = 0.0
        for outcome in outcomes:
            if outcome.verdict is Verdict.TOO_LARGE and (limit := most_bytes(outcome.detail)) is not None:
                self._room = min(self._room, sqs_message.room_for_data(self._attributes, limit))
        if any(map(without_valid_credentials, outcomes)):
            group.client.renew()
        return outcomes

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self, timeout: float) -> None:
        """See `Sink`. Threads that wait for SQS are left to themselves: they don't keep the process."""
        deadline = now() + timeout
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
            self._overdue.notify_all()
            while self._threads:
                left = deadline - now()
                if left <= 0 or not self._changed.wait(left):
                    return
        for client in self._clients.values():
            client.close()

    def after_fork(self) -> None:
        """See `Sink`."""
        for client in self._clients.values():
            client.after_fork()
        self._clear()


class _SqsGroup:
    """Bodies that were handed over together, with what became of each."""

    def __init__(self, bodies: Sequence[ExportBody], confirm: Confirm, client: SqsClient) -> None:
        self.bodies, self.client = bodies, client
        self._outcomes = [_ACCEPTED] * len(bodies)
        self._confirm: Callable[[Outcome | Sequence[Outcome]], Any] = confirm
        #: When the request that is under way was begun.
        self.since = 0.0
        self.confirmed = False

    def take(self, positions: Iterable[int], outcome: Outcome) -> None:
        """Note the outcome of a message for the bodies in it."""
        for position in positions:
            if _RANK.index(outcome.verdict) < _RANK.index(self._outcomes[position].verdict):
                self._outcomes[position] = outcome

    def confirm_outcomes(self) -> None:
        """Confirm what was noted."""
        accepted = all(outcome is _ACCEPTED for outcome in self._outcomes)
        self.confirm(_ACCEPTED if accepted else tuple(self._outcomes))

    def confirm(self, outcome: Outcome | Sequence[Outcome]) -> None:
        """Confirm the group; only the first time counts."""
        if not self.confirmed:
            self.confirmed = True
            self._confirm(outcome)


def _outcomes(answer: Mapping[str, Any], count: int) -> list[Outcome]:
    found = [NO_ANSWER] * count
    for entry, outcome in (
        *((entry, _ACCEPTED) for entry in answer.get("Successful") or ()),
        *((entry, outcome_of_entry(entry)) for entry in answer.get("Failed") or ()),
    ):
        number = str(entry.get("Id"))
        if number.isdecimal() and int(number) < count:
            found[int(number)] = outcome
    return found


def _all_failed(outcomes: Sequence[Outcome]) -> bool:
    return all(outcome.verdict is Verdict.FAILED for outcome in outcomes)
