"""The queues that a configuration exports to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_langfuse.tracing.config import TracingConfig
from pytest_langfuse.tracing.delivery.sink import Sink


def queue_sinks(config: TracingConfig) -> dict[str, Sink]:
    """Return a sink for each of `config.exports` that is a queue. None of them connects before it sends.

    Raises:
        ConfigError: An extra is not installed, or an option can't be used.
    """
    made: Mapping[str, Callable[[TracingConfig], Sink]] = {"kafka": _kafka, "sqs": _sqs}
    return {name: made[name](config) for name in config.exports if name in made}


def _kafka(config: TracingConfig) -> Sink:
    from pytest_langfuse.tracing.queue.kafka_sink import KafkaSink

    return KafkaSink(
        brokers=str(config.kafka_brokers),
        topic=config.kafka_topic,
        options=config.kafka_options,
        public_key=str(config.public_key),
        timeout=config.timeout,
    )


def _sqs(config: TracingConfig) -> Sink:
    from pytest_langfuse.tracing.queue.sqs_sink import SqsSink

    return SqsSink(str(config.sqs_queue_url), public_key=str(config.public_key), timeout=config.timeout)
