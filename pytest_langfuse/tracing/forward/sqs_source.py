"""An SQS queue as the forwarder's queue: received in threads, deleted after Langfuse's yes."""

from __future__ import annotations

import base64
import binascii
import email.utils
import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pytest_langfuse.tracing.config import ConfigError
from pytest_langfuse.tracing.forward.queue_source import (
    PUBLIC_KEY_HEADER,
    SPANS,
    TYPE_HEADER,
    AssignedPartition,
    AssignmentWatcher,
    DeadLetter,
    QueueMessage,
    SourceFailed,
)
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.forward.sqs_dead_letters import SqsDeadLetters
from pytest_langfuse.tracing.forward.sqs_receipts import VISIBILITY, SqsReceipts
from pytest_langfuse.tracing.lasting_thread import lasting_thread
from pytest_langfuse.tracing.log_text import readable
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.queue.sqs_client import SqsClient, outcome_of, without_valid_credentials

#: Threads that receive. While the queue is nearly empty, only the first of them does.
_RECEIVERS: Final = 4
#: Messages of one answer.
_MOST: Final = 10
#: Seconds that SQS waits for messages, and for which it is waited beyond that.
_WAIT, _TIMEOUT = 2, 10.0
#: What is received before the forwarder asks for it.
_AHEAD_MESSAGES, _AHEAD_BYTES = 100, 8 * 1024 * 1024
#: After a failure, doubled after each further one (seconds).
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
#: For deletes that somebody waits for (seconds).
_COMMIT: Final = 5.0
#: Between two looks at the number of messages that wait (seconds).
_LAG: Final = 5.0
#: Failures with which `--once` ends.
_PERMANENT: Final = frozenset({"sqs_queue_does_not_exist", "sqs_access_denied", "sqs_no_credentials"})
#: Points of `at_end`: all answers are empty, or have nothing that was sent before the start.
_EMPTY, _ONLY_LATER, _AT_END = 3, 1, 3


class SqsSource:
    """See `QueueSource`. `once`: `at_end` becomes true. `deletes=False` gives all back at the end.

    Raises:
        SourceFailed: boto3 is not installed.
    """

    def __init__(self, queue_url: str, *, once: bool = False, deletes: bool = True) -> None:
        self.name = f"sqs+{queue_url}"
        self._once, self._deletes, self._fifo = once, deletes, queue_url.endswith(".fifo")
        try:
            self._client = SqsClient(queue_url, timeout=_WAIT + _TIMEOUT, connections=2 * _RECEIVERS)
            self._dead = SqsDeadLetters(queue_url, timeout=_TIMEOUT)
        except ConfigError as error:
            raise SourceFailed(str(error)) from None
        self._log = RepeatedLog()
        self._receipts = SqsReceipts(self._client, self._log)
        #: SQS has no partitions: each receiver gets other messages.
        self._partition = AssignedPartition(0)
        self._watcher: AssignmentWatcher | None = None
        self._acknowledged: list[int] = []
        self._changed = threading.Condition()
        self._ready: deque[QueueMessage] = deque()
        self._ready_bytes = self._received = self._receiving = self._failures = 0
        self._came = self._told = self._paused = self._closing = self._plenty = False
        self._fatal: str | None = None
        #: Of the last failure; empty after an answer.
        self._why = ""
        self._began: float | None = None
        self._end_points = 0
        self._waiting: int | None = None

    def start(self, watcher: AssignmentWatcher) -> None:
        """See `QueueSource`."""
        self._watcher = watcher
        self._receipts.start()
        for number in range(_RECEIVERS):
            receive = functools.partial(self._receive_all, number)
            lasting_thread(receive, name="langfuse-forward-sqs", doing="receiving from SQS").start()
        lasting_thread(self._watch_lag, name="langfuse-forward-sqs-lag", doing="looking at the lag").start()

    def poll(self, most: int, timeout: float) -> list[QueueMessage]:
        """See `QueueSource`."""
        self._dead.poll()
        with self._changed:
            if not self._paused:
                self._changed.wait_for(lambda: bool(self._ready or self._fatal), timeout=timeout)
            if self._fatal is not None:
                raise SourceFailed(self._fatal)
            count = 0 if self._paused else min(len(self._ready), most)
            messages = [self._ready.popleft() for _ in range(count)]
            self._ready_bytes -= sum(len(message.body) for message in messages)
            came, self._told = self._came and not self._told, self._came
            if messages:
                self._changed.notify_all()
        if came and self._watcher is not None:
            self._watcher.assigned([self._partition])
        return messages

    def acknowledge(self, messages: Iterable[QueueMessage]) -> None:
        """See `QueueSource`."""
        self._acknowledged += (message.position for message in messages)

    def commit(self, *, wait: bool) -> None:
        """See `QueueSource`."""
        if not self._deletes:
            return
        acknowledged, self._acknowledged = self._acknowledged, []
        if acknowledged:
            self._receipts.delete(acknowledged)
        if wait and not self._receipts.flush(_COMMIT):
            self._log.warn("commit", "SQS: some messages that were delivered could not be deleted, they come again.")

    def pause(self) -> None:
        """See `QueueSource`."""
        with self._changed:
            self._paused = True

    def resume(self) -> None:
        """See `QueueSource`."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def bury(self, letter: DeadLetter, stored: Callable[[str | None], None]) -> None:
        """See `QueueSource`."""
        self._dead.bury(letter, stored)

    def confirm_letters(self) -> None:
        """See `QueueSource`."""
        self._dead.poll()

    def lag(self) -> int | None:
        """See `QueueSource`. SQS counts approximately."""
        return None if self._waiting is None else self._waiting + self._receipts.held

    def problems(self) -> list[str]:
        """See `QueueSource`."""
        with self._changed:
            if self._why:
                return [f"SQS: the queue can't be read {self._why}"]
            return [] if self._came else ["SQS: the queue has not answered yet"]

    def at_end(self) -> bool:
        """See `QueueSource`. What another receiver holds is not waited for."""
        with self._changed:
            return self._ended and not self._ready

    @property
    def _ended(self) -> bool:
        return self._once and self._end_points >= _AT_END

    def close(self, timeout: float) -> None:
        """See `QueueSource`. What is held is given back, so that others have it at once."""
        until = now() + timeout
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._dead.close(timeout / 4)
        self._receipts.give_all_back()
        # What arrives now is given back by whoever received it.
        with self._changed:
            self._changed.wait_for(lambda: not self._receiving, timeout=max(until - now(), 0.0))
        self._receipts.flush(until - now())
        self._receipts.stop()

    # -- the threads that receive ----------------------------------------------------------------------------------

    def _receive_all(self, number: int) -> None:
        while self._wait_for_room(first=number == 0):
            try:
                # Of a FIFO queue, what follows a message in its group is hidden as long as that is held.
                hides = self._fifo and self._deletes and self._receipts.held > 0
                answer = self._client.call(
                    "receive_message",
                    MaxNumberOfMessages=_MOST,
                    WaitTimeSeconds=_WAIT,
                    VisibilityTimeout=VISIBILITY,
                    # The newer name of it is unknown to some servers.
                    AttributeNames=["SentTimestamp", "MessageGroupId"],
                    MessageAttributeNames=["All"],
                )
                pause = 0.0
                self._took(answer, hides=hides)
            except Exception as error:  # noqa: BLE001 - the whole variety of botocore, urllib3 and the operating system
                pause = self._failed(error)
            with self._changed:
                self._receiving -= 1
                self._changed.notify_all()
                if pause:
                    self._changed.wait_for(lambda: self._closing, timeout=pause)

    def _wait_for_room(self, *, first: bool) -> bool:
        with self._changed:
            while not self._closing:
                room = len(self._ready) < _AHEAD_MESSAGES and self._ready_bytes < _AHEAD_BYTES
                if room and not self._paused and not self._ended and (first or self._plenty):
                    self._receiving += 1
                    return True
                self._changed.wait()
            return False

    def _took(self, answer: Mapping[str, Any], *, hides: bool) -> None:
        at = now()
        received: Sequence[Mapping[str, Any]] = answer.get("Messages") or ()
        with self._changed:
            self._failures, self._why = 0, ""
            if not self._came:
                self._came = True
                self._began = _date_of(answer)
            messages = []
            for one in received:
                self._received += 1
                messages.append(_message(one, self._partition, self._received))
                self._receipts.hold(self._received, str(one["ReceiptHandle"]), at)
            self._plenty = len(received) == _MOST or (self._plenty and bool(received))
            self._count_to_end(messages, hides=hides)
            if self._closing:
                self._receipts.give_back([message.position for message in messages])
            else:
                self._ready.extend(messages)
                self._ready_bytes += sum(len(message.body) for message in messages)
        if self._log.forget("receive"):
            self._log.warn("recovered", f"SQS: {self.name} can be read again.", level=logging.INFO)
            self._log.forget("recovered")

    def _count_to_end(self, messages: Sequence[QueueMessage], *, hides: bool) -> None:
        if not messages and hides:
            return
        if not messages:
            self._end_points += _EMPTY
        elif self._began is not None and all(message.time > self._began for message in messages):
            self._end_points += _ONLY_LATER
        else:
            self._end_points = 0

    def _failed(self, error: Exception) -> float:
        outcome = outcome_of(error)
        if without_valid_credentials(outcome):
            self._client.renew()
        with self._changed:
            self._failures += 1
            self._why = readable(f"({outcome.reason}): {outcome.detail}")
            pause = min(_FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10), _LONGEST_PAUSE)
            if self._once and outcome.reason in _PERMANENT:
                self._fatal = f"the queue {self.name} can't be read ({outcome.reason}): {outcome.detail}"
        self._log.warn("receive", f"SQS: {self.name} can't be read ({outcome.reason}), tried again: {outcome.detail}")
        return max(pause, outcome.retry_after or 0.0)

    def _watch_lag(self) -> None:
        while not self._closing:
            self._look_at_lag()
            with self._changed:
                self._changed.wait_for(lambda: self._closing, timeout=_LAG)

    def _look_at_lag(self) -> None:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
        try:
            answer = self._client.call("get_queue_attributes", AttributeNames=names)
            self._waiting = sum(int(answer["Attributes"].get(name, 0)) for name in names)
        except Exception as error:  # noqa: BLE001 - the lag is for information, and needs another permission
            self._waiting = None
            self._log.warn("lag", f"SQS: the number of messages that wait is unknown ({outcome_of(error).reason}).")


def _message(one: Mapping[str, Any], partition: AssignedPartition, position: int) -> QueueMessage:
    text = str(one.get("Body") or "")
    try:
        body = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        # What it may be is found out where the spans are counted.
        body = text.encode("utf-8", "replace")
    headers: list[tuple[str, bytes | None]] = []
    for name, value in (one.get("MessageAttributes") or {}).items():
        content = value.get("StringValue")
        headers.append((name, value.get("BinaryValue") if content is None else content.encode("utf-8", "replace")))
    attributes = one.get("Attributes") or {}
    group = attributes.get("MessageGroupId")
    named = {name: (value or b"").decode("utf-8", "replace") for name, value in headers}
    return QueueMessage(
        body,
        group.encode() if group else None,
        headers,
        named.get(PUBLIC_KEY_HEADER, ""),
        named.get(TYPE_HEADER) or SPANS,
        partition,
        position,
        int(attributes.get("SentTimestamp") or 0) / 1000,
    )


def _date_of(answer: Mapping[str, Any]) -> float:
    """Return the time of the server, in seconds since 1970: its clock and ours may differ."""
    headers = (answer.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
    try:
        return email.utils.parsedate_to_datetime(headers["date"]).timestamp() + 1
    except (KeyError, ValueError, TypeError):
        return time.time()
