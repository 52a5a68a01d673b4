"""Produces export bodies to a Kafka topic: one message for the spans of one trace, with the trace's id as key.

A span counts as exported when the broker's acknowledgement (`acks=all`) has arrived as a delivery report. librdkafka
retries by itself until `timeout` is over; a message that it gives up then may still have been stored, and is sent a
second time (at least once).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pytest_langfuse.tracing.config import ConfigError
from pytest_langfuse.tracing.delivery.export_body import ExportBody, by_trace
from pytest_langfuse.tracing.delivery.sink import Confirm, Outcome, Verdict
from pytest_langfuse.tracing.failures import failures, logger
from pytest_langfuse.tracing.lasting_thread import lasting_thread
from pytest_langfuse.tracing.log_text import readable
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.queue import endpoints
from pytest_langfuse.tracing.queue.kafka_errors import UNREACHABLE, name_of, refused_options, text_of
from pytest_langfuse.tracing.queue.kafka_group import ACCEPTED, KafkaGroup
from pytest_langfuse.tracing.queue.sink_producer import MakeProducer, SinkMessage, SinkProducer, destroy
from pytest_langfuse.tracing.untraced import untraced

#: librdkafka's default of message.max.bytes, which counts uncompressed bytes with key, headers and its own overhead.
_MOST_BYTES: Final = 1_000_000
#: The share of it that a body may have: 999,000 of 1,000,000 pass, 999,999 do not.
_SHARE: Final = 0.9
_LINGER: Final = 20
#: Seconds between two looks for delivery reports: while some come, and the longest; without any under way.
_SOON, _LATE, _IDLE = 0.001, 0.02, 1.0
#: Errors of a message, by librdkafka's names: sending it again has the same result.
_REFUSED: Final = frozenset({"INVALID_MSG", "INVALID_RECORD", "_BAD_MSG"})
#: The producer has failed for good, and drops what it has.
_PURGED: Final = frozenset({"_PURGE_QUEUE", "_PURGE_INFLIGHT"})


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
        self._timeout = timeout
        #: What never fits into the producer's queue, not even alone.
        self._room = int(options.get("queue.buffering.max.kbytes", _MOST_BYTES)) * 1024
        self.largest_body = int(min(int(options.get("message.max.bytes", _MOST_BYTES)), self._room) * _SHARE)
        self._make = _producer_class()
        if options:
            # A wrong option is an error of the configuration: found now, rather than in the sender's thread.
            self._check()
        self._clear()

    def _clear(self) -> None:
        self._changed = threading.Condition()
        #: By their brokers: one, unless a test harness names others meanwhile.
        self._producers: dict[str, SinkProducer] = {}
        #: They get no more messages, and are ended when all that they have is reported.
        self._retired: list[SinkProducer] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        #: What was logged since messages were last delivered.
        self._logged: set[str] = set()

    def _check(self) -> None:
        # Without an address: nothing connects.
        usual = {**self._options, "logger": _LIBRDKAFKA, "log_level": 0}
        problem = refused_options(self._make, usual, self._endpoint.options)
        if problem is not None:
            raise ConfigError(
                f"kafka_options can't be used: {problem}. Fix: correct kafka_options (LANGFUSE_KAFKA_OPTIONS); "
                "the names are those of librdkafka's CONFIGURATION.md."
            )

    def send(self, bodies: Sequence[ExportBody], confirm: Confirm) -> None:
        """See `Sink`. Returns at once; a thread waits for the delivery reports."""
        endpoints.tries("Kafka")
        endpoint = endpoints.kafka(self._endpoint)
        if endpoint is None:
            confirm(ACCEPTED)
            return
        group = KafkaGroup(len(bodies), confirm)
        messages = [
            message
            for index, body in enumerate(bodies)
            for message in self._messages(endpoint.topic, group, index, body)
        ]
        with self._changed:
            producer = self._started(endpoint)
            producer.groups.add(group)
            self._changed.notify_all()
        producer.send(messages)
        group.all_sent()
        if producer.broken is not None:
            self._abandon(producer)

    def _messages(self, topic: str, group: KafkaGroup, index: int, body: ExportBody) -> Sequence[SinkMessage]:
        try:
            # A body from the spool may have been written for another destination.
            parts = [body] if body.trace else by_trace(body)
        except Exception as error:  # noqa: BLE001 - protobuf's own error class has no types
            group.settle(index, Outcome(Verdict.REFUSED, "undecodable", detail=str(error)))
            return ()
        if any(len(part.data) > self._room for part in parts):
            detail = "larger than the producer's queue (queue.buffering.max.kbytes)"
            group.settle(index, Outcome(Verdict.TOO_LARGE, "message_too_large", detail=detail))
            return ()
        headers = [*self._headers, ("x-langfuse-type", body.kind.encode())] if body.kind else self._headers
        for _ in parts:
            group.expect(index)
        return [SinkMessage(group, index, topic, headers, part) for part in parts]

    def _reported(self, producer: SinkProducer, message: SinkMessage, error: Any, partition: int) -> None:
        try:
            if error is None:
                if self._logged:
                    self._logged.clear()
                message.group.reported(message.position, ACCEPTED)
                return
            message.group.reported(message.position, _outcome(error, producer.trouble))
            if name_of(error) == "_MSG_TIMED_OUT":
                producer.timed_out(partition, message.group.since)
        except Exception as failed:  # noqa: BLE001 - it would come out of `poll`, and be taken for an error of Kafka's
            failures.report("settling what Kafka has reported", failed)

    def takes_scores(self) -> bool:
        """See `QueueSink`."""
        return endpoints.kafka(self._endpoint) is not None

    # -- the producer and its thread ---------------------------------------------------------------------------------

    def _started(self, endpoint: endpoints.KafkaEndpoint) -> SinkProducer:
        producer = self._producers.get(endpoint.brokers)
        if producer is None:
            own = {"bootstrap.servers": endpoint.brokers, "logger": _LIBRDKAFKA, "log_level": 4}

            def reported(message: SinkMessage, error: Any, partition: int) -> None:
                self._reported(made, message, error, partition)

            made = producer = SinkProducer(self._make, {**self._options, **endpoint.options, **own}, reported)
            self._producers[endpoint.brokers] = producer
        if self._thread is None or not self._thread.is_alive():
            thread = lasting_thread(self._poll, name="langfuse-tracing-kafka", doing="looking for Kafka's reports")
            thread.start()
            self._thread = thread
        return producer

    def _poll(self) -> None:
        """Fetch delivery reports. No call blocks: under gevent, this thread is a part of the only one."""
        pause = _SOON
        with untraced():
            while not self._closed:
                with self._changed:
                    producers = [*self._producers.values(), *self._retired]
                served = sum(self._served(producer) for producer in producers)
                with self._changed:
                    if not any(producer.groups for producer in (*self._producers.values(), *self._retired)):
                        self._changed.wait(_IDLE)
                        pause = _SOON
                        continue
                pause = _SOON if served else min(pause * 2, _LATE)
                time.sleep(pause)

    def _served(self, producer: SinkProducer) -> int:
        served = producer.poll()
        if producer.broken is not None:
            self._abandon(producer)
            return served
        if producer.silent_since is not None:
            self._replace(producer)
        for message in producer.overdue(now() - self._timeout):
            detail = (
                f"no room in the producer's queue within {self._timeout:g} s "
                "(queue.buffering.max.messages, queue.buffering.max.kbytes)"
            )
            message.group.reported(message.position, Outcome(Verdict.FAILED, "kafka_queue_full", detail=detail))
        with self._changed:
            producer.groups = {group for group in producer.groups if not group.confirmed}
            done = not producer.groups and producer in self._retired
            if done:
                self._retired.remove(producer)
        if done:
            destroy([producer])
        return served

    def _abandon(self, failed: SinkProducer) -> None:
        """Drop a producer that has failed for good."""
        reason = readable(failed.explain())
        if failed in self._producers.values():
            self._log_once("fatal", f"Kafka's producer failed for good, another one is made: {reason}")
        self._drop(failed, Outcome(Verdict.FAILED, "kafka_fatal", detail=reason))

    def _replace(self, silent: SinkProducer) -> None:
        """Use another producer from now on: brokers that have lost its id refuse what it sends, and it tells nobody.

        While some partitions acknowledge, what it has is still reported within `timeout`. Otherwise it must send no
        more: the brokers may have given its id to the next one.
        """
        what = f"nothing was acknowledged for {self._timeout:g} s"
        if silent in self._producers.values():
            self._log_once(
                "silent", f"Kafka's producer is replaced, in case the brokers don't know it any more: {what}."
            )
        if silent.silent_everywhere:
            self._drop(silent, _timed_out(what, silent.trouble))
            return
        silent.silent_since = None
        with self._changed:
            if self._forget(silent):
                self._retired.append(silent)

    def _forget(self, producer: SinkProducer) -> bool:
        """Give no more messages to a producer. Return whether it was in use until now. With the lock."""
        for brokers, known in self._producers.items():
            if known is producer:
                del self._producers[brokers]
                return True
        return False

    def _drop(self, producer: SinkProducer, outcome: Outcome) -> None:
        """End a producer; what it had not delivered is confirmed with this outcome, and sent again."""
        with self._changed:
            if not self._forget(producer):
                if producer not in self._retired:
                    return
                self._retired.remove(producer)
            groups, producer.groups = producer.groups, set()
        destroy([producer])
        for group in groups:
            group.give_up(outcome)

    def _log_once(self, kind: str, message: str) -> None:
        if kind not in self._logged:
            self._logged.add(kind)
            logger.warning("%s", message)

    @property
    def trouble(self) -> str:
        """The failure of the last connection; empty if there was none since messages were delivered."""
        return next(
            (producer.trouble for producer in (*self._producers.values(), *self._retired) if producer.trouble), ""
        )

    def close(self, timeout: float) -> None:
        """See `Sink`. Gives up what is not delivered: it was counted, or is in the spool, and must not be sent."""
        with self._changed:
            self._closed = True
            producers = [*self._producers.values(), *self._retired]
            self._producers, self._retired = {}, []
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        destroy(producers)

    def after_fork(self) -> None:
        """See `Sink`."""
        self._clear()


def _timed_out(detail: str, trouble: str) -> Outcome:
    detail = f"{detail}; {trouble}" if trouble else detail
    return Outcome(Verdict.FAILED, "kafka_msg_timed_out", detail=detail, unreachable=bool(trouble))


def _outcome(error: Any, trouble: str) -> Outcome:
    name, detail = name_of(error), text_of(error)
    if name == "MSG_SIZE_TOO_LARGE":
        return Outcome(Verdict.TOO_LARGE, "message_too_large", detail=detail)
    if name in _PURGED:
        return Outcome(Verdict.FAILED, "kafka_fatal", detail=detail)
    if name == "_MSG_TIMED_OUT":
        return _timed_out(detail, trouble)
    verdict = Verdict.REFUSED if name in _REFUSED else Verdict.FAILED
    return Outcome(verdict, f"kafka_{name.strip('_').lower()}", detail=detail, unreachable=name in UNREACHABLE)


def _producer_class() -> MakeProducer:
    try:
        # Not `confluent_kafka.Producer`, which an instrumentation of the application's may have replaced.
        from confluent_kafka.cimpl import Producer as Made
    except ImportError as error:
        raise ConfigError(
            f"export='kafka' needs confluent-kafka ({error}). Fix: pip install 'pytest-langfuse[kafka]'."
        ) from None
    return cast("MakeProducer", Made)
