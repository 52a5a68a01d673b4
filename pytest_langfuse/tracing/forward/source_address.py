"""Addresses of queues: `kafka://HOST:PORT[,…]/TOPIC?group=NAME`, `sqs://HOST/ACCOUNT/NAME`."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pytest_langfuse.tracing.kafka_parsers import brokers, topic
from pytest_langfuse.tracing.setting_parsers import Invalid, queue_url
from pytest_langfuse.tracing.shown import shown

DEFAULT_GROUP = "pytest-langfuse-forward"
#: In quotes, as a shell needs it: `?` is a pattern there.
EXAMPLE = "'kafka://kafka-1:9092,kafka-2:9092/langfuse_spans?group=langfuse'"

_SCHEMES_OF_SQS = {"sqs": "https", "sqs+https": "https", "sqs+http": "http"}


class KafkaAddress(NamedTuple):
    """Brokers, separated by commas, a topic and a consumer group."""

    brokers: str
    topic: str
    group: str


class SqsAddress(NamedTuple):
    """The URL of a queue."""

    queue_url: str


def queue_address(text: str) -> KafkaAddress | SqsAddress:
    """Return the parts of an address.

    Raises:
        ValueError: It is not one; the message says why.
    """
    scheme, separator, rest = text.strip().partition("://")
    if separator and scheme in _SCHEMES_OF_SQS:
        try:
            return SqsAddress(str(queue_url(f"{_SCHEMES_OF_SQS[scheme]}://{rest}")))
        except Invalid as invalid:
            raise ValueError(invalid.problem) from None
    if scheme != "kafka" or not separator:
        raise ValueError("does not begin with kafka:// or sqs://")
    parts = urlsplit(text.strip())
    if "@" in parts.netloc:
        raise ValueError("has a user in it: give security options in LANGFUSE_FORWARD_KAFKA_OPTIONS")
    if not parts.netloc.strip(","):
        raise ValueError("has no broker")
    try:
        named = brokers(parts.netloc)
    except Invalid as invalid:
        raise ValueError(invalid.problem) from None
    name = parts.path.removeprefix("/")
    try:
        topic(name)
    except Invalid:
        raise ValueError(f"has {shown(name)}, which is not the name of a topic") from None
    query = parse_qsl(parts.query, keep_blank_values=True)
    names = [key for key, _ in query]
    if parts.fragment or any(key != "group" for key in names) or len(names) > 1:
        raise ValueError("has more than brokers, topic and group")
    group = dict(query).get("group", DEFAULT_GROUP)
    if not group.strip() or not group.isprintable():
        raise ValueError("has an empty group")
    return KafkaAddress(named, name, group)
