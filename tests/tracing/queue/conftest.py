"""A topic for each test of this folder."""

from __future__ import annotations

import pytest

from tests.helpers.kafka_broker import KafkaBroker


@pytest.fixture
def topic(broker: KafkaBroker, request: pytest.FixtureRequest) -> str:
    """A topic of this test, with two partitions."""
    name = f"spans-{abs(hash(request.node.nodeid)):x}"
    broker.create_topic(name, partitions=2)
    return name
