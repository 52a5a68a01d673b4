"""The queue that a sink sends to: that of the configuration, unless a test harness names another.

librdkafka opens its connections outside of Python, where a harness can't see them. So a sink asks here before each
group that it sends, in the thread that sends it, and keeps one client for each answer (`brokers`, `queue_url`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

#: Options of TLS and authentication, by how their names begin.
_SECURITY: Final = ("security.", "ssl.", "sasl.", "enable.ssl.", "https.")


class KafkaEndpoint(NamedTuple):
    """Brokers, HOST:PORT separated by commas, a topic, and further options of the producer, by librdkafka's names."""

    brokers: str
    topic: str
    options: Mapping[str, str | float | bool]

    def without_security(self, brokers: str) -> KafkaEndpoint:
        """Return the endpoint at brokers that speak neither TLS nor SASL, and where no token is fetched."""
        options = {name: value for name, value in self.options.items() if not name.lower().startswith(_SECURITY)}
        return self._replace(brokers=brokers, options=options)


class SqsEndpoint(NamedTuple):
    """The URL of a queue, and access key id and secret access key; `None` for those that boto3 finds."""

    queue_url: str
    credentials: tuple[str, str] | None = None


def _kafka(configured: KafkaEndpoint) -> KafkaEndpoint | None:
    return configured


def _sqs(configured: SqsEndpoint) -> SqsEndpoint | None:
    return configured


def _tries(_queue: str) -> None:
    """Do nothing."""


#: What a harness replaces, for the process. `None` instead of an endpoint: nothing is sent, and each body of the group
#: counts as accepted at once.
kafka: Callable[[KafkaEndpoint], KafkaEndpoint | None] = _kafka
sqs: Callable[[SqsEndpoint], SqsEndpoint | None] = _sqs
#: Told of each group that a sink for "Kafka" or "SQS" is given, before it asks for the endpoint: a harness starts its
#: queue then, and whoever flushes meanwhile with a short timeout still finds the attempt counted.
tries: Callable[[str], None] = _tries
