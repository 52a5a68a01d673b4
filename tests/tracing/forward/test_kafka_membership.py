"""How long the group waits for a forwarder that was killed: what it tells the coordinator."""

import time

import pytest

from pytest_langfuse.tracing.forward.kafka_source import KafkaSource
from tests.helpers.kafka_coordinator import KafkaCoordinator


class Watcher:
    def __init__(self):
        self.told = []

    def assigned(self, assignments):
        self.told.append(len(assignments))

    def revoked(self, assignments):
        pass

    lost = revoked


@pytest.fixture
def coordinator():
    running = KafkaCoordinator("spans")
    yield running
    running.close()


def member(coordinator, **options):
    source = KafkaSource(brokers=coordinator.address, topic="spans", group="g", options=options)
    watcher = Watcher()
    source.start(watcher)
    deadline = time.monotonic() + 30
    while coordinator.requests["heartbeat"] < 2 or source.problems():
        assert time.monotonic() < deadline, (coordinator.requests, source.problems())
        assert source.poll(10, 0.05) == []
    return source, watcher


@pytest.mark.slow
def test_a_killed_forwarder_is_missed_after_6_seconds(coordinator):
    source, watcher = member(coordinator)
    # A coordinator that obeys it gives the partitions away 6 seconds after the last heartbeat.
    assert coordinator.session_timeout_ms == 6000
    # It got no partitions, and is well: it stands by, and goes on to be a member.
    assert watcher.told == [0]
    assert coordinator.requests["join"] == coordinator.requests["sync"] == 1
    source.close(5.0)
    # One that is stopped does not let the group wait.
    assert coordinator.requests["leave"] == 1


@pytest.mark.slow
def test_the_time_can_be_set(coordinator):
    source, _ = member(coordinator, **{"session.timeout.ms": 30000})
    assert coordinator.session_timeout_ms == 30000
    source.close(5.0)
