"""Kafka and SQS of captured tests: what these export to a queue reaches the stand-in's, or none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pytest_langfuse.standin.queue.queue_of_test import QueueOfTest

#: An outage is over when the test says so; librdkafka would wait up to 10 s before it connects again.
_OWN_OPTIONS: Final[Mapping[str, int]] = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50}
_CREDENTIALS: Final = ("stand-in", "stand-in")
#: Where a child process finds the stand-in's brokers, and the address of its SQS; empty without.
KAFKA: Final = "PYTEST_LANGFUSE_KAFKA"
SQS: Final = "PYTEST_LANGFUSE_SQS"
#: Nothing listens here.
_NOWHERE: Final = "127.0.0.1:9"
_BROKERS, _QUEUE_URL = "LANGFUSE_KAFKA_BROKERS", "LANGFUSE_SQS_QUEUE_URL"

#: Exports that are queues.
_QUEUES: Final = frozenset({"kafka", "sqs"})


def exports_to_queue() -> bool:
    """Return whether the application exports to a queue, as far as that is known before a test has run.

    `LANGFUSE_EXPORT` says so, or the configuration with which a conftest has called `init_tracing`.
    """
    named = {name.strip().lower() for name in os.environ.get("LANGFUSE_EXPORT", "").split(",")}
    module = sys.modules.get("pytest_langfuse.tracing.singleton")
    installed = None if module is None else module.singleton.installation
    return not _QUEUES.isdisjoint({*named, *(() if installed is None else installed.config.exports)})


def variables_of_queues(queue: QueueOfTest | None, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep a child process, which was to get `variables`, away from the real queues.

    `queue` is the test's, if it has one.
    """
    brokers, address = ("", "") if queue is None else (queue.brokers_of_children(), queue.address_of_children())
    sealed = {KAFKA: brokers, SQS: address}
    # For a Python that runs none of our hooks.
    if _BROKERS in variables:
        sealed[_BROKERS] = brokers or _NOWHERE
    if _QUEUE_URL in variables:
        sealed[_QUEUE_URL] = (address or f"http://{_NOWHERE}") + urlsplit(variables[_QUEUE_URL]).path
    return sealed


class SealedQueues:
    """Answers the sinks' question where to send, in place of the module `endpoints` of production tracing.

    What a captured test sends goes to `queue_of_test()` or `sqs_of_test()`; without one, nothing is sent, and counts as
    accepted, as Langfuse's own endpoint counts it. What nobody has captured goes where the application says.
    """

    def __init__(
        self,
        *,
        is_captive: Callable[[], bool],
        queue_of_test: Callable[[], QueueOfTest | None],
        sqs_of_test: Callable[[], QueueOfTest | None],
    ) -> None:
        self._is_captive = is_captive
        self._queue_of_test = queue_of_test
        self._sqs_of_test = sqs_of_test

    def install(self, endpoints: Any) -> Callable[[], None]:
        """Take the module's place. Return a function that gives it back."""
        before = endpoints.kafka, endpoints.sqs, endpoints.tries
        before_kafka, before_sqs, before_tries = before

        def kafka(configured: Any) -> Any:
            if not self._is_captive():
                return before_kafka(configured)
            queue = self._queue_of_test()
            brokers = None if queue is None else queue.brokers_for(configured.topic)
            if brokers is None:
                return None
            plain = configured.without_security(brokers)
            return plain._replace(options={**plain.options, **_OWN_OPTIONS})

        def sqs(configured: Any) -> Any:
            if not self._is_captive():
                return before_sqs(configured)
            queue = self._sqs_of_test()
            url = None if queue is None else queue.queue_url_for(configured.queue_url)
            return None if url is None else configured._replace(queue_url=url, credentials=_CREDENTIALS)

        def tries(queue: str) -> None:
            before_tries(queue)
            if self._is_captive() and (of_test := self._queue_of_test()) is not None:
                of_test.tried(queue)

        def restore() -> None:
            endpoints.kafka, endpoints.sqs, endpoints.tries = before

        endpoints.kafka, endpoints.sqs, endpoints.tries = kafka, sqs, tries
        return restore
