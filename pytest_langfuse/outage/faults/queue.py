"""Faults of a queue to which production tracing exports: Kafka, SQS. Langfuse itself is not concerned."""

from __future__ import annotations

from pytest_langfuse.outage.faults.fault import at_queue


@at_queue("down")
def broker_down() -> None:
    """The broker, or SQS, refuses connections.

    A broker that crashed or is restarted, a security group that was closed. librdkafka tries again until the message's
    time is over; what it holds then counts as failed, and may have been stored all the same.
    """


@at_queue("slow", delay=0.5)
def broker_slow() -> None:
    """Each answer of the broker, or of SQS, is late.

    An overloaded broker, a replica that lags with `acks=all`, a queue in another region. `delay`: seconds before the
    answer, default 0.5.
    """


@at_queue("too_large")
def message_too_large() -> None:
    """The broker, or SQS, refuses each message as too large.

    A topic whose `max.message.bytes` is smaller than the producer believes, traces with whole documents in them.
    """


@at_queue("not_authorized")
def not_authorized() -> None:
    """The broker, or SQS, does not allow this client to send.

    An ACL without the topic, a role without `sqs:SendMessage`, credentials that have expired.
    """


@at_queue("throttled", queues=("SQS",))
def sqs_throttled() -> None:
    """SQS answers that there are too many requests.

    A FIFO queue without high throughput takes 300 calls a second. Kafka is not affected: its brokers throttle by being
    slow.
    """
