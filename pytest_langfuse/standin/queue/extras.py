"""The extras that the stand-in queues need."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

_KAFKA: Final = "confluent_kafka"
_SQS: Final = "botocore"


def missing_kafka() -> str | None:
    """Return what to do where confluent-kafka is not installed; `None` where it is."""
    if find_spec(_KAFKA) is not None:
        return None
    return "confluent-kafka is not installed. Fix: pip install 'pytest-langfuse[kafka]'"


def missing_sqs() -> str | None:
    """Return what to do where boto3 is not installed; `None` where it is."""
    if find_spec(_SQS) is not None:
        return None
    return "boto3 is not installed. Fix: pip install 'pytest-langfuse[sqs]'"


def missing_queues() -> str | None:
    """Return what to do where neither confluent-kafka nor boto3 is installed; `None` where one is."""
    kafka = missing_kafka()
    if kafka is None or missing_sqs() is None:
        return None
    return f"{kafka} (for Kafka), or pip install 'pytest-langfuse[sqs]' (for SQS)"
