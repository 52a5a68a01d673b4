"""Redirection to the stand-in's Kafka and SQS of what production tracing exports to a queue."""

from __future__ import annotations

import os
import sys
from typing import Any
from urllib.parse import urlsplit

_CREDENTIALS = ("stand-in", "stand-in")


def readdress_queues(module: Any, _url: str) -> None:
    """Make the sinks of `pytest_langfuse.tracing` send to the stand-in's queues.

    Without these, nothing is sent, and counts as accepted, as at a Langfuse that nobody looks at.
    """

    def kafka(configured: Any) -> Any:
        brokers = _value("PYTEST_LANGFUSE_KAFKA")
        return configured.without_security(brokers) if brokers else None

    def sqs(configured: Any) -> Any:
        address = _value("PYTEST_LANGFUSE_SQS")
        if not address:
            return None
        queue = f"{address}{urlsplit(configured.queue_url).path}"
        return configured._replace(queue_url=queue, credentials=_CREDENTIALS)

    module.kafka, module.sqs = kafka, sqs


def _value(name: str) -> str:
    # The application may have cleared its environment.
    started = getattr(sys.modules.get("_pytest_langfuse_imports"), "at_start", {})
    return os.environ.get(name) or started.get(name, "")
