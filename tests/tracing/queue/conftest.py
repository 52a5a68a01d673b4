"""A Kafka broker for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.kafka_broker import KafkaBroker, kafka_broker


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
