"""A Langfuse and an SQS server on loopback, and the tracing module as on a fresh interpreter."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from langfuse import Langfuse

from pytest_langfuse.recording.sdk import fresh_globals
from pytest_langfuse.tracing import singleton as singleton_module
from tests.helpers.kafka_broker import KafkaBroker, kafka_broker
from tests.helpers.loopback_langfuse import Collector
from tests.helpers.sqs_server import CREDENTIALS, SqsServer, sqs_server

_numbers = itertools.count()

#: They start processes.
_SLOW_FIXTURES = {"broker", "forwarder_process", "sqs"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests with a broker, an SQS server or a forwarder out of `make quick`."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not _SLOW_FIXTURES.isdisjoint(
            getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A Langfuse on loopback."""
    server = Collector()
    yield server
    server.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker, which keeps its topics in memory."""
    with kafka_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def topic(broker: KafkaBroker, request: pytest.FixtureRequest) -> str:
    """A topic of this test, with two partitions."""
    name = f"spans-{abs(hash(request.node.nodeid)):x}"
    broker.create_topic(name, partitions=2)
    return name


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own environment."""
    for name in list(os.environ):
        if name.startswith(("LANGFUSE_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture
def fresh(collector: Collector) -> Iterator[None]:
    """Langfuse, OpenTelemetry and the tracing singleton as on a fresh interpreter; nothing is captured."""
    with fresh_globals(), singleton_module.fresh():
        yield


@pytest.fixture
def tracing(langfuse_tracing: Callable[..., Langfuse]) -> Callable[..., Langfuse]:
    """`init_tracing` with keys, captured: what its client makes is in `langfuse_spans`."""
    return functools.partial(langfuse_tracing, public_key="pk-lf-test", secret_key="sk-lf-test")


@pytest.fixture
def client(tracing: Callable[..., Langfuse]) -> Langfuse:
    """The client of that, with default settings."""
    return tracing()


@pytest.fixture
def keys(collector: Collector) -> dict[str, str]:
    """Settings with which spans go to the collector."""
    return {"public_key": "pk-lf-test", "secret_key": "sk-lf-test", "base_url": collector.url}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the tracing module logged, at WARNING and above."""
    caplog.set_level(logging.WARNING)
    return lambda: [
        record.getMessage() for record in caplog.records if record.name.startswith(("pytest_langfuse", "langfuse"))
    ]


@pytest.fixture(scope="session")
def sqs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqsServer]:
    """A server for all tests of a run; each makes queues of its own."""
    with sqs_server(tmp_path_factory.mktemp("sqs")) as server:
        yield server


@pytest.fixture
def queue(sqs: SqsServer, aws_credentials: None) -> Callable[..., str]:
    """Make a queue with attributes and return its URL; `fifo=True` makes a FIFO queue."""

    def make(*, fifo: bool = False, **attributes: str) -> str:
        return sqs.create_queue(f"q{next(_numbers)}{'.fifo' if fifo else ''}", attributes)

    return make


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Credentials that the server takes, and nothing of the developer's own."""
    nothing = str(tmp_path_factory.getbasetemp() / "none")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", nothing)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", nothing)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
