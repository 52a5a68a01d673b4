"""A producer of librdkafka's, with the messages for which there is no room in its queue yet."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from pytest_langfuse.tracing.delivery.export_body import ExportBody
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.queue.kafka_errors import FATAL, error_of, is_fatal, name_of, text_of
from pytest_langfuse.tracing.queue.kafka_group import KafkaGroup

#: Makes a producer of its options.
MakeProducer = Callable[[Mapping[str, Any]], Any]
#: Called with a message, its error or `None`, and its partition, which may not be known.
Reported = Callable[["SinkMessage", Any, int], None]

_UNKNOWN: Final = -1
#: Seconds for the first message of a producer.
_PATIENCE: Final = 10.0


class SinkMessage(NamedTuple):
    """A message, and the body of a group that it is a part of."""

    group: KafkaGroup
    position: int
    topic: str
    headers: Sequence[tuple[str, bytes]]
    body: ExportBody


class SinkProducer:
    """Gives messages to librdkafka in their order, as there is room. Thread-safe; no call blocks.

    `reported` is called by `poll` and `go_on`, in the thread that calls them.
    """

    def __init__(self, make: MakeProducer, options: Mapping[str, Any], reported: Reported) -> None:
        self._connection = _Connection()
        self._producer = make({**options, "error_cb": self._connection.failed})
        # Never destroyed by a forked child or at the interpreter's end: both would wait for threads.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._producer))
        self._report, self._made_at = reported, now()
        self._lock = threading.Lock()
        self._waiting: deque[SinkMessage] = deque()
        #: When each partition has last taken a message.
        self._delivered: dict[int, float] = {}
        #: Groups whose reports are awaited.
        self.groups: set[KafkaGroup] = set()
        #: The error with which it has failed for good.
        self.broken: Any = None
        #: A partition has acknowledged nothing that was sent since.
        self.silent_since: float | None = None

    @property
    def trouble(self) -> str:
        """The failure of the last connection; empty if there was none since messages were delivered."""
        return self._connection.trouble

    def send(self, messages: Sequence[SinkMessage]) -> None:
        """Send messages after those that wait; nothing if it was ended."""
        with self._lock:
            self._waiting.extend(messages)
        self.go_on()

    def go_on(self) -> None:
        """Hand over what waits, as long as there is room."""
        failed: list[tuple[SinkMessage, Any]] = []
        with self._lock:
            while self._waiting and self._producer is not None and self.broken is None:
                message = self._waiting[0]
                try:
                    self._producer.produce(
                        message.topic,
                        value=message.body.data,
                        key=message.body.trace,
                        headers=message.headers,
                        on_delivery=functools.partial(self._delivery, message),
                    )
                except BufferError:
                    # As long as the others are under way; those it counts, too, that are not reported yet.
                    break
                except Exception as error:  # noqa: BLE001 - a fatal error is one of several
                    found = error_of(error)
                    if is_fatal(found):
                        self._fail(found)
                        break
                    failed.append((message, found))
                self._waiting.popleft()
        for message, reason in failed:
            self._report(message, reason, _UNKNOWN)

    def _fail(self, error: Any) -> None:
        """Note a failure for good; `produce` and reports say only that there is one, `poll` raises the reason."""
        if self.broken is None or name_of(self.broken) in FATAL:
            self.broken = error

    def explain(self) -> str:
        """Return why it has failed for good. Not to be called by `reported`."""
        if name_of(self.broken) in FATAL:
            self.poll()
        return f"{name_of(self.broken)}: {text_of(self.broken)}"

    def poll(self) -> int:
        """Let librdkafka report, and hand over what waits. Return how many events there were."""
        producer = self._producer
        if producer is None:
            return 0
        try:
            served: int = producer.poll(0)
        except Exception as error:  # noqa: BLE001 - a fatal error, of any class
            self._fail(error_of(error))
            return 1
        if self._waiting:
            self.go_on()
        return served

    def _delivery(self, message: SinkMessage, error: Any, delivered: Any) -> None:
        partition = delivered.partition() if delivered is not None else None
        partition = _UNKNOWN if partition is None else int(partition)
        if error is None:
            self._delivered[partition] = now()
            self._connection.trouble = ""
        elif is_fatal(error):
            # `poll` raises the reason soon, if it has not already; the group is given up with that.
            self._fail(error)
            return
        self._report(message, error, partition)

    def timed_out(self, partition: int, since: float) -> None:
        """Take note of a message that was sent at `since`, and that its partition, if known, did not acknowledge."""
        # An idempotent producer needs half a second to begin, and more while brokers start.
        begun = self._delivered or now() - self._made_at >= _PATIENCE
        if begun and partition != _UNKNOWN and self._delivered.get(partition, 0.0) < since:
            self.silent_since = since

    @property
    def silent_everywhere(self) -> bool:
        """True if no partition has acknowledged anything while one did not."""
        return self.silent_since is not None and max(self._delivered.values(), default=0.0) < self.silent_since

    def overdue(self, before: float) -> list[SinkMessage]:
        """Return the messages of groups that were sent before, and for which there was no room until now."""
        found = []
        with self._lock:
            while self._waiting and self._waiting[0].group.since < before:
                found.append(self._waiting.popleft())
        return found

    def end(self) -> Any:
        """Send nothing more. Return what has to be destroyed, elsewhere: that waits for librdkafka's threads."""
        with self._lock:
            producer, self._producer = self._producer, None
            self._waiting.clear()
        # It can't be used any more, whatever this raises.
        with suppress(Exception):
            producer.purge(blocking=False)
        return producer


class _Connection:
    """Takes what librdkafka says about connections. It does not know the producer, which could never go otherwise."""

    def __init__(self) -> None:
        self.trouble = ""

    def failed(self, error: Any) -> None:
        self.trouble = str(error.str())


def destroy(producers: Sequence[SinkProducer]) -> None:
    """End producers, and let a thread wait for it."""
    ended = [producer.end() for producer in producers]
    if ended:
        # At the interpreter's end there are no new threads (Python 3.12), and the producers go with the process.
        with suppress(RuntimeError):
            threading.Thread(target=_destroy, args=(ended,), name="langfuse-kafka-end", daemon=True).start()


def _destroy(producers: list[Any]) -> None:
    for producer in producers:
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(producer))
    producers.clear()
