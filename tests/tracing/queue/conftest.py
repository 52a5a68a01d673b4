"""A Kafka broker, a real SQS server and credentials for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.helpers.kafka_broker import KafkaBroker, kafka_broker
from tests.helpers.sqs_server import CREDENTIALS, SqsServer, sqs_server

_numbers = itertools.count()


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


@pytest.fixture(scope="session")
def sqs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqsServer]:
    """A server for all tests of a run; each makes queues of its own."""
    with sqs_server(tmp_path_factory.mktemp("sqs")) as server:
        yield server


@pytest.fixture
def queue(sqs: SqsServer) -> Callable[..., str]:
    """Make a queue with attributes and return its URL; `fifo=True` makes a FIFO queue."""

    def make(*, fifo: bool = False, **attributes: str) -> str:
        return sqs.create_queue(f"q{next(_numbers)}{'.fifo' if fifo else ''}", attributes)

    return make


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Credentials that the server takes, and nothing of the developer's own."""
    nothing = str(tmp_path_factory.getbasetemp() / "none")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", nothing)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", nothing)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
