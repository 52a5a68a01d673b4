"""A harness names another queue than the configuration, for each group that is sent."""

from __future__ import annotations

import socket

import pytest

from pytest_langfuse.tracing import init_tracing, tracing_health
from pytest_langfuse.tracing.queue import endpoints
from tests.helpers.kafka_broker import kafka_broker

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture
def asked(monkeypatch):
    """Answers in the configuration's place, by the last entry of the list; the questions come first."""
    answers = [lambda endpoint: endpoint]
    questions = []

    def answer(endpoint):
        questions.append(endpoint)
        return answers[-1](endpoint)

    monkeypatch.setattr(endpoints, "kafka", answer)
    answers.insert(0, questions)
    return answers


def send(client, name):
    client.start_observation(name=name).end()
    client.flush()


def test_each_group_goes_where_the_harness_says(tmp_path, keys, broker, topic, asked):
    options = {"client.id": "shop"}
    client = init_tracing(
        **keys, export="kafka", kafka_brokers=broker.address, kafka_topic=topic, kafka_options=options, flush_at=1
    )
    send(client, "configured")
    assert asked[0] == [endpoints.KafkaEndpoint(broker.address, topic, options)]

    with kafka_broker(tmp_path) as other:
        other.create_topic("elsewhere")
        asked.append(lambda _: endpoints.KafkaEndpoint(other.address, "elsewhere", {}))
        send(client, "elsewhere")
        asked.append(lambda _: None)
        send(client, "nowhere")
        asked.append(lambda endpoint: endpoint)
        send(client, "configured again")
        assert (tracing_health().exported, tracing_health().buffered) == (4, 0)
        assert [b"elsewhere" in message.value() for message in other.messages("elsewhere", count=1)] == [True]
    found = b" ".join(message.value() for message in broker.messages(topic, count=2))
    assert b"configured again" in found
    assert b"elsewhere" not in found
    assert b"nowhere" not in found


def test_without_an_endpoint_nothing_connects(keys, asked):
    asked.append(lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as real:
        real.setblocking(False)
        client = init_tracing(
            **keys,
            export="kafka",
            kafka_brokers=f"127.0.0.1:{real.getsockname()[1]}",
            kafka_options={"client.id": "shop"},
        )
        send(client, "nowhere")
        assert (tracing_health().exported, tracing_health().last_error) == (1, None)
        with pytest.raises(BlockingIOError):
            real.accept()
