"""Produces export bodies to a Kafka topic: one message for the spans of one trace, with the trace's id as key.

A span counts as exported when the broker's acknowledgement (`acks=all`) has arrived as a delivery report. librdkafka
retries by itself until `timeout` is over; a message that it gives up then may still have been stored, and is sent a
second time (at least once).
"""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from pytest_langfuse.tracing.config import ConfigError
from pytest_langfuse.tracing.delivery.export_body import ExportBody, by_trace
from pytest_langfuse.tracing.delivery.sink import Confirm, Outcome, Verdict
from pytest_langfuse.tracing.failures import logger
from pytest_langfuse.tracing.queue import endpoints
from pytest_langfuse.tracing.untraced import untraced

#: librdkafka's default of message.max.bytes, which counts uncompressed bytes with key, headers and its own overhead.
_MOST_BYTES: Final = 1_000_000
#: The share of it that a body may have: 999,000 of 1,000,000 pass, 999,999 do not.
_SHARE: Final = 0.9
_LINGER: Final = 20
#: Seconds between two looks for delivery reports: while some come, and the longest; without any under way.
_SOON, _LATE, _IDLE = 0.001, 0.02, 1.0
_ACCEPTED: Final = Outcome(Verdict.ACCEPTED)
#: The worst first: what a body gets of the outcomes of its messages.
_RANK: Final = (Verdict.FAILED, Verdict.TOO_LARGE, Verdict.REFUSED, Verdict.ACCEPTED)
#: Errors of a message, by librdkafka's names: sending it again has the same result.
_REFUSED: Final = frozenset({"INVALID_MSG", "INVALID_RECORD", "_BAD_MSG"})
_FATAL: Final = frozenset({"_FATAL", "_STATE"})

Producer = Any
#: Makes a producer of its options and a logger.
MakeProducer = Callable[[Mapping[str, Any]], Producer]


class _DebugLog:
    """librdkafka's log, which has a line for each attempt to connect: what matters of it is in the outcomes."""

    def log(self, _level: int, message: str, *values: object) -> None:
        logger.debug(message, *values)


_LIBRDKAFKA: Final = _DebugLog()


class KafkaSink:
    """A sink whose producer is made in the process that sends, at the first group.

    Raises:
        ConfigError: confluent-kafka is not installed, or librdkafka refuses an option.
    """

    max_in_flight = 32
    most_bytes = 1024 * 1024
    by_trace = True

    def __init__(
        self,
        *,
        brokers: str,
        topic: str,
        options: Mapping[str, str | float | bool],
        public_key: str,
        timeout: float,
    ) -> None:
        self._endpoint = endpoints.KafkaEndpoint(brokers, topic, options)
        self._headers = [("x-langfuse-public-key", public_key.encode())]
        milliseconds = max(round(timeout * 1000), 10)
        self._options = {
            "client.id": "pytest-langfuse",
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            # The Java client's: all producers of a topic have to agree on the partition of a trace.
            "partitioner": "murmur2_random",
            "linger.ms": min(_LINGER, milliseconds // 2),
            "message.timeout.ms": milliseconds,
        }
        self.largest_body = int(float(options.get("message.max.bytes", _MOST_BYTES)) * _SHARE)
        self._make = _producer_class()
        if options:
            # A wrong option is an error of the configuration: found now, rather than in the sender's thread.
            self._check()
        self._clear()

    def _clear(self) -> None:
        self._changed = threading.Condition()
        #: By their brokers: one, unless a test harness names others meanwhile.
        self._producers: dict[str, Producer] = {}
        self._thread: threading.Thread | None = None
        #: Groups whose reports are awaited.
        self._awaited: set[_Group] = set()
        self._closed = False
        #: What librdkafka said last about the connection, for messages that time out.
        self._trouble = ""

    def _check(self) -> None:
        try:
            # Without an address: nothing connects.
            self._make({**self._options, **self._endpoint.options, "logger": _LIBRDKAFKA})
        except Exception as error:  # noqa: BLE001 - a KafkaException, or a TypeError of a value
            problem = _message(error)
            raise ConfigError(
                f"kafka_options can't be used: {problem}. Fix: correct kafka_options (LANGFUSE_KAFKA_OPTIONS); "
                "the names are those of librdkafka's CONFIGURATION.md."
            ) from None

    def send(self, bodies: Sequence[ExportBody], confirm: Confirm) -> None:
        """See `Sink`. Returns at once; a thread waits for the delivery reports."""
        endpoint = endpoints.kafka(self._endpoint)
        if endpoint is None:
            confirm(_ACCEPTED)
            return
        endpoints.tries("Kafka")
        with self._changed:
            group = _Group(len(bodies), confirm, self._started(endpoint))
            self._awaited.add(group)
            self._changed.notify_all()
        for index, body in enumerate(bodies):
            self._produce(endpoint.topic, group, index, body)
        group.all_sent()

    def _produce(self, topic: str, group: _Group, index: int, body: ExportBody) -> None:
        try:
            # A body from the spool may have been written for another destination.
            messages = [body] if body.trace else by_trace(body)
        except Exception as error:  # noqa: BLE001 - protobuf's own error class has no types
            group.settle(index, Outcome(Verdict.REFUSED, "undecodable", detail=str(error)))
            return
        headers = [*self._headers, ("x-langfuse-type", body.kind.encode())] if body.kind else self._headers
        for message in messages:
            group.expect()
            report = functools.partial(self._reported, group, index)
            try:
                group.producer.produce(
                    topic, value=message.data, key=message.trace, headers=headers, on_delivery=report
                )
            except BufferError:
                group.reported(index, Outcome(Verdict.FAILED, "kafka_queue_full"))
            except (Exception, SystemError) as error:  # noqa: BLE001 - a fatal error comes as either
                self._reported(group, index, _error_of(error), None)

    def _reported(self, group: _Group, index: int, error: Any, _message: Any) -> None:
        group.reported(index, _ACCEPTED if error is None else self._outcome(error, group.producer))

    def _outcome(self, error: Any, producer: Producer) -> Outcome:
        name = _name(error)
        if getattr(error, "fatal", bool)() or name in _FATAL:
            self._abandon(producer)
        detail = str(error.str()) if hasattr(error, "str") else str(error)
        if name == "_MSG_TIMED_OUT" and self._trouble:
            detail = f"{detail}; {self._trouble}"
        if name == "MSG_SIZE_TOO_LARGE":
            return Outcome(Verdict.TOO_LARGE, "message_too_large", detail=detail)
        verdict = Verdict.REFUSED if name in _REFUSED else Verdict.FAILED
        return Outcome(verdict, f"kafka_{name.strip('_').lower()}", detail=detail)

    def takes_scores(self) -> bool:
        """See `QueueSink`."""
        return endpoints.kafka(self._endpoint) is not None

    # -- the producer and its thread ---------------------------------------------------------------------------------

    def _started(self, endpoint: endpoints.KafkaEndpoint) -> Producer:
        producer = self._producers.get(endpoint.brokers)
        if producer is None:
            own = {"bootstrap.servers": endpoint.brokers, "logger": _LIBRDKAFKA, "error_cb": self._note, "log_level": 4}
            producer = self._make({**self._options, **endpoint.options, **own})
            # Never destroyed by a forked child or at the interpreter's end: both would wait for threads.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(producer))
            self._producers[endpoint.brokers] = producer
        if self._thread is None:
            self._thread = threading.Thread(target=self._poll, name="langfuse-tracing-kafka", daemon=True)
            self._thread.start()
        return producer

    def _note(self, error: Any) -> None:
        self._trouble = str(error.str())

    def _poll(self) -> None:
        """Fetch delivery reports. No call blocks: under gevent, this thread is a part of the only one."""
        pause = _SOON
        with untraced():
            while not self._closed:
                served = sum(producer.poll(0) for producer in list(self._producers.values()))
                with self._changed:
                    self._awaited = {group for group in self._awaited if not group.confirmed}
                    if not self._awaited:
                        self._changed.wait(_IDLE)
                        pause = _SOON
                        continue
                pause = _SOON if served else min(pause * 2, _LATE)
                time.sleep(pause)

    def _abandon(self, failed: Producer) -> None:
        """Drop a producer that has failed for good; what it had not delivered is reported as failed, and sent again."""
        with self._changed:
            brokers = next((name for name, producer in self._producers.items() if producer is failed), None)
            if brokers is None:
                return
            del self._producers[brokers]
            awaited = [group for group in self._awaited if group.producer is failed]
        logger.warning("Kafka's producer failed for good: another one is made.")
        _end([failed])
        for group in awaited:
            group.give_up(Outcome(Verdict.FAILED, "kafka_fatal"))

    def close(self, timeout: float) -> None:
        """See `Sink`. Gives up what is not delivered: it was counted, or is in the spool, and must not be sent."""
        with self._changed:
            self._closed = True
            producers, self._producers = list(self._producers.values()), {}
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        _end(producers)

    def after_fork(self) -> None:
        """See `Sink`."""
        self._clear()


def _end(producers: list[Producer]) -> None:
    """Let producers send nothing more, and destroy them elsewhere: that waits for librdkafka's threads."""
    for producer in producers:
        producer.purge(blocking=False)
    if producers:
        # At the interpreter's end there are no new threads (Python 3.12), and the producers go with the process.
        with suppress(RuntimeError):
            threading.Thread(target=_destroy, args=(producers,), name="langfuse-kafka-end", daemon=True).start()


def _destroy(producers: list[Producer]) -> None:
    for producer in producers:
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(producer))
    producers.clear()


class _Group:
    """Bodies that were sent together, with the reports that are missing."""

    def __init__(self, bodies: int, confirm: Confirm, producer: Producer) -> None:
        self.producer = producer
        self._lock = threading.Lock()
        self._outcomes: list[Outcome] = [_ACCEPTED] * bodies
        self._confirm = confirm
        # One more until all are sent.
        self._missing = 1
        self._usual = True
        self.confirmed = False

    def expect(self) -> None:
        with self._lock:
            self._missing += 1

    def settle(self, index: int, outcome: Outcome) -> None:
        """Take the outcome of a body that was not sent."""
        with self._lock:
            self._take(index, outcome)

    def reported(self, index: int, outcome: Outcome) -> None:
        with self._lock:
            if outcome is not _ACCEPTED:
                self._take(index, outcome)
            self._missing -= 1
            last = self._missing == 0
        if last:
            self._done()

    def _take(self, index: int, outcome: Outcome) -> None:
        self._usual = False
        if _RANK.index(outcome.verdict) < _RANK.index(self._outcomes[index].verdict):
            self._outcomes[index] = outcome

    def all_sent(self) -> None:
        self.reported(0, _ACCEPTED)

    def give_up(self, outcome: Outcome) -> None:
        """Confirm it now; reports that come later are ignored."""
        with self._lock:
            self._outcomes = [outcome] * len(self._outcomes)
            self._usual = False
        self._done()

    def _done(self) -> None:
        self.confirmed = True
        self._confirm(_ACCEPTED if self._usual else self._outcomes)


def _producer_class() -> MakeProducer:
    try:
        # Not `confluent_kafka.Producer`, which an instrumentation of the application's may have replaced.
        from confluent_kafka.cimpl import Producer as Made
    except ImportError as error:
        raise ConfigError(
            f"export='kafka' needs confluent-kafka ({error}). Fix: pip install 'pytest-langfuse[kafka]'."
        ) from None
    return cast("MakeProducer", Made)


def _error_of(error: BaseException) -> Any:
    """Return the `KafkaError` in an exception of confluent-kafka, which may be the cause of a `SystemError`."""
    for candidate in (error, error.__cause__, error.__context__):
        if candidate is not None and candidate.args and hasattr(candidate.args[0], "code"):
            return candidate.args[0]
    return error


def _name(error: Any) -> str:
    return str(error.name()) if hasattr(error, "name") and callable(error.name) else type(error).__name__


def _message(error: BaseException) -> str:
    found = _error_of(error)
    return str(found.str()) if hasattr(found, "str") else str(found)
