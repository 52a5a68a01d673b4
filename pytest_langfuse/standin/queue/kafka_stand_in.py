"""A Kafka broker on loopback, in this process: librdkafka's mock cluster."""

from __future__ import annotations

import os
import threading
from typing import Final

from pytest_langfuse.standin.queue.kafka_eraser import erase
from pytest_langfuse.standin.queue.kafka_reader import KafkaReader
from pytest_langfuse.standin.queue.mock_library import Handle, MockLibrary
from pytest_langfuse.standin.queue.queue_failure import QueueFailure
from pytest_langfuse.standin.queue.queued_message import QueuedMessage

_PARTITIONS: Final = 2
_READ_TIMEOUT: Final = 5.0
#: Codes of Kafka's protocol: MESSAGE_TOO_LARGE, TOPIC_AUTHORIZATION_FAILED.
_ERRORS: Final = {"too_large": 10, "not_authorized": 29}
#: Requests that an outage decides about: far more than a test sends.
_DECIDED: Final = 10_000


class KafkaStandIn:
    """A broker that starts when its address is first asked for. Thread-safe; other processes can use it.

    Raises:
        ImportError: confluent-kafka is not installed.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._library: MockLibrary | None = None
        self._client: Handle = None
        self._cluster: Handle = None
        self._process = 0
        self._brokers = ""
        self._reader: KafkaReader | None = None
        self._read: list[QueuedMessage] = []
        self._topics: set[str] = set()
        self._failures: list[QueueFailure] = []
        self._down = False

    @property
    def brokers(self) -> str:
        """Its address, HOST:PORT. Starts it."""
        with self._lock:
            if not self._brokers:
                self._library = MockLibrary()
                self._client, self._cluster = self._library.start()
                self._process = os.getpid()
                failures, self._failures = self._failures, []
                for failure in failures:
                    self.begin(failure)
                self._brokers = self._library.brokers(self._cluster)
            return self._brokers

    @property
    def running(self) -> bool:
        """True once it has been started."""
        return bool(self._brokers)

    @property
    def _owned(self) -> bool:
        """True where it runs in this process, rather than in a parent of it."""
        return self._library is not None and self._process == os.getpid()

    def create_topic(self, name: str) -> None:
        """Create a topic. Without it, its first message would wait half a second."""
        with self._lock:
            if name not in self._topics and self._owned and self._library is not None:
                self._topics.add(name)
                self._library.create_topic(self._cluster, name, _PARTITIONS)

    def read(self) -> list[QueuedMessage]:
        """Return what arrived since the last call. While it is down: what had arrived before."""
        with self._reading:
            self._fetch()
            found, self._read = self._read, []
            return found

    def _fetch(self) -> None:
        if not self._owned or self._down or not self._brokers:
            # Nobody has an address without `brokers`: a broker that is down from the start has nothing to be read.
            return
        if self._reader is None:
            self._reader = KafkaReader(self._brokers)
        self._read += self._reader.read(_READ_TIMEOUT)

    def empty(self) -> None:
        """Delete all messages. The address stays, and what is connected to it."""
        with self._lock:
            if self._owned and not self._erased():
                # Another cluster is started at the next use.
                self.close()

    def _erased(self) -> bool:
        with self._reading:
            if self._reader is None:
                self._reader = KafkaReader(self._brokers)
            self._read.clear()
            places = self._reader.held(_READ_TIMEOUT)
            if places:
                self._reader.skip(erase(self._brokers, places, _READ_TIMEOUT))
                places = self._reader.held(_READ_TIMEOUT)
            return places == []

    def begin(self, failure: QueueFailure) -> None:
        """Fail in this way, until `end`."""
        with self._lock:
            self._failures.append(failure)
            if self._library is None:
                return
            if len(self._failures) == 1:
                self._library.track(self._cluster, on=True)
            first = self._requests()
            failure.arrived[self] = lambda: self._requests() - first
            self._apply()

    def end(self, failure: QueueFailure) -> None:
        """Fail no more in this way."""
        with self._lock:
            if failure not in self._failures:
                return
            self._failures.remove(failure)
            if (count := failure.arrived.get(self)) is not None:
                final = count()
                failure.arrived[self] = lambda: final
            if self._owned and self._library is not None:
                self._apply()
                if not self._failures:
                    self._library.track(self._cluster, on=False)

    def _requests(self) -> int:
        return self._library.produce_requests(self._cluster) if self._owned and self._library is not None else 0

    def _apply(self) -> None:
        library = self._library
        if library is None:
            return
        down = any(failure.kind == "down" for failure in self._failures)
        if down and not self._down:
            with self._reading:
                self._fetch()
        delays = [failure.delay for failure in self._failures if failure.kind == "slow"]
        library.set_round_trip(self._cluster, max(delays, default=0.0))
        refusing = [failure for failure in self._failures if failure.kind in _ERRORS]
        errors: list[int] = []
        if refusing:
            latest = refusing[-1]
            error, first = _ERRORS[latest.kind], latest.arrived[self]()
            errors = [error if latest.is_struck(number) else 0 for number in range(first, first + _DECIDED)]
        library.fail_produce(self._cluster, errors)
        if down != self._down:
            self._down = down
            (library.set_down if down else library.set_up)(self._cluster)

    def close(self) -> None:
        """End it with its threads, if it runs in this process."""
        with self._lock, self._reading:
            library, self._library = self._library, None
            if library is not None and self._process == os.getpid():
                if self._reader is not None:
                    self._reader.close()
                library.stop(self._client, self._cluster)
            self._reader, self._brokers, self._down = None, "", False
            self._topics.clear()
            self._read.clear()
