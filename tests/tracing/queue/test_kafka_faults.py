"""Producers that fail for good or that brokers don't know any more, and queues of producers that are full."""

import logging
import threading

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.standin.http.free_ports import free_port
from pytest_langfuse.tracing import init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery import route as route_module
from pytest_langfuse.tracing.delivery import sender as sender_module
from pytest_langfuse.tracing.queue import kafka_sink as kafka_module
from tests.helpers.failed_kafka_client import fail_for_good
from tests.helpers.kafka_broker import kafka_broker
from tests.helpers.tracing_waits import until

pytestmark = pytest.mark.usefixtures("fresh", "_impatient")


@pytest.fixture
def _impatient(monkeypatch):
    """Pauses between tries in milliseconds: what is tested is how often, not how long."""
    monkeypatch.setattr(route_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(route_module, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(sender_module, "_LOOK_AGAIN", 0.01)


@pytest.fixture
def kafka(keys, broker, topic):
    return {**keys, "export": "kafka", "kafka_brokers": broker.address, "kafka_topic": topic}


@pytest.fixture
def producers(monkeypatch):
    """The producers that are made, in order."""
    from confluent_kafka.cimpl import Producer

    made = []

    def make(options):
        made.append(Producer(options))
        return made[-1]

    monkeypatch.setattr(kafka_module, "_producer_class", lambda: make)
    return made


def observe(client, *names, **values):
    for name in names:
        client.start_observation(name=name, **values).end()


def names(broker, topic, count):
    found = []
    for message in broker.messages(topic, count=count):
        request = ExportTraceServiceRequest.FromString(message.value())
        found += [span.name for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]
    return sorted(found)


def of_kafka():
    return [thread for thread in threading.enumerate() if thread.name == "langfuse-tracing-kafka"]


def test_a_fatal_error_that_poll_raises_costs_nothing(kafka, broker, topic, producers, caplog):
    client = init_tracing(**kafka)
    observe(client, "a")
    until(lambda: tracing_health().exported == 1)
    fail_for_good(producers[0])
    observe(client, "b", "c")
    until(lambda: tracing_health().exported == 3)
    (thread,) = of_kafka()

    fail_for_good(producers[1])
    # Nothing is under way: the thread looks for itself.
    until(lambda: caplog.text.count("failed for good") == 2)
    observe(client, "d")
    until(lambda: tracing_health().exported == 4)
    assert of_kafka() == [thread]
    assert len(producers) == 3
    health = tracing_health()
    assert (health.buffered, health.dropped, health.unaccounted, health.healthy) == (0, {}, 0, True)
    assert "UNKNOWN_PRODUCER_ID: test_fatal_error: the broker lost it" in caplog.text
    report = shutdown_tracing(5)
    assert (report.exported, report.dropped, report.timed_out) == (4, {}, False)
    assert names(broker, topic, 4) == ["a", "b", "c", "d"]


def test_what_a_failed_producer_had_is_sent_again_and_the_reason_is_the_last_error(kafka, broker, topic, producers):
    port = free_port()
    client = init_tracing(**{**kafka, "kafka_brokers": f"127.0.0.1:{port}"}, breaker_failure_threshold=1)
    observe(client, "kept")
    until(lambda: len(producers) == 1 and len(producers[0]) > 0)
    fail_for_good(producers[0])
    until(lambda: tracing_health().breaker == "open")

    health = tracing_health()
    assert health.last_error == "kafka_fatal: UNKNOWN_PRODUCER_ID: test_fatal_error: the broker lost it"
    assert (health.buffered, health.exported, health.unaccounted) == (1, 0, 0)


def test_a_producer_that_fails_again_and_again_is_made_as_often_as_the_breaker_allows(
    kafka, monkeypatch, producers, caplog
):
    init_tracing(**kafka, breaker_failure_threshold=3, breaker_recovery_timeout=60)
    sink = singleton_module.singleton.installation.pipeline.sender.routes[0].sink
    make = sink._make

    def broken(options):
        producer = make(options)
        fail_for_good(producer)
        return producer

    monkeypatch.setattr(sink, "_make", broken)
    observe(singleton_module.singleton.installation.client, "x")
    until(lambda: tracing_health().breaker == "open")
    assert len(producers) == 3
    assert caplog.text.count("failed for good") == 1
    assert "UNKNOWN_PRODUCER_ID" in tracing_health().last_error


def test_an_error_of_another_kind_in_poll_does_not_end_the_thread(kafka, broker, topic, monkeypatch):
    from confluent_kafka.cimpl import Producer

    class Broken(Producer):
        raised = 0

        def poll(self, timeout):
            if type(self).raised < 2:
                type(self).raised += 1
                raise RuntimeError("by surprise")
            return super().poll(timeout)

    monkeypatch.setattr(kafka_module, "_producer_class", lambda: Broken)
    client = init_tracing(**kafka)
    observe(client, "a")
    until(lambda: tracing_health().exported == 1)
    assert Broken.raised == 2
    assert len(of_kafka()) == 1


def test_a_thread_that_has_ended_is_started_again(kafka, monkeypatch):
    client = init_tracing(**kafka)
    observe(client, "a")
    until(lambda: tracing_health().exported == 1)
    sink = singleton_module.singleton.installation.pipeline.sender.routes[0].sink
    (thread,) = of_kafka()
    sink._closed = True
    thread.join(10)
    sink._closed = False
    observe(client, "b")
    until(lambda: tracing_health().exported == 2)


@pytest.mark.slow
def test_a_broker_that_has_lost_its_producers_gets_another_one(tmp_path, keys, caplog, producers):
    with kafka_broker(tmp_path) as broker:
        broker.create_topic("spans")
        client = init_tracing(**keys, export="kafka", kafka_brokers=broker.address, kafka_topic="spans", timeout=1.5)
        observe(client, "before", "before")
        until(lambda: tracing_health().exported == 2)
        broker.kill()
        broker.start()
        broker.create_topic("spans")
        observe(client, "after", "after")
        # The breaker hears of it after the ledger.
        until(lambda: tracing_health().exported == 4 and tracing_health().healthy)

        assert len(producers) == 2
        assert [record.getMessage() for record in caplog.records].count(
            "Kafka's producer is replaced, in case the brokers don't know it any more: "
            "nothing was acknowledged for 1.5 s."
        ) == 1
        health = tracing_health()
        assert (health.healthy, health.buffered, health.dropped, health.unaccounted) == (True, 0, {}, 0)
        assert set(names(broker, "spans", 2)) == {"after"}


@pytest.mark.slow
def test_a_broker_that_is_away_costs_one_producer(tmp_path, keys, producers):
    """The next one has delivered nothing yet: it may need longer than a timeout to begin."""
    with kafka_broker(tmp_path) as broker:
        broker.create_topic("spans")
        client = init_tracing(
            **keys, export="kafka", kafka_brokers=broker.address, kafka_topic="spans", timeout=0.3,
            breaker_failure_threshold=8, breaker_recovery_timeout=60,
        )  # fmt: skip
        observe(client, "a")
        until(lambda: tracing_health().exported == 1)
        broker.kill()
        observe(client, "b")
        until(lambda: tracing_health().breaker == "open")
        assert len(producers) == 2


@pytest.mark.parametrize("options", [{"queue.buffering.max.messages": 1}, {"queue.buffering.max.kbytes": 2}])
def test_a_group_that_is_larger_than_the_producers_queue_is_sent_in_parts(kafka, broker, topic, options, caplog):
    client = init_tracing(**kafka, kafka_options={**options, "linger.ms": 0}, flush_at=100)
    observe(client, *(f"s{number:02}" for number in range(12)))
    client.flush()
    until(lambda: tracing_health().exported == 12)
    assert dict(tracing_health().dropped) == {}
    assert "can't" not in caplog.text
    assert names(broker, topic, 12) == [f"s{number:02}" for number in range(12)]


def test_a_span_that_never_fits_into_the_producers_queue_is_dropped_and_counted(kafka, broker, topic, caplog):
    client = init_tracing(**kafka, kafka_options={"queue.buffering.max.kbytes": 2})
    observe(client, "huge", input="x" * 3000)
    observe(client, "small")
    until(lambda: not tracing_health().buffered)
    health = tracing_health()
    assert (health.exported, dict(health.dropped), health.unaccounted) == (1, {"message_too_large": 1}, 0)
    # It is logged after it is counted.
    until(lambda: "queue.buffering.max.kbytes" in caplog.text)
    assert names(broker, topic, 1) == ["small"]


def test_a_full_queue_is_said_in_time_and_its_spans_are_kept(keys, caplog):
    client = init_tracing(
        **keys, export="kafka", kafka_brokers=f"127.0.0.1:{free_port()}", timeout=0.3, flush_at=100,
        kafka_options={"queue.buffering.max.messages": 1}, breaker_failure_threshold=1,
    )  # fmt: skip
    observe(client, "a", "b", "c")
    client.flush()
    until(lambda: tracing_health().breaker == "open")
    health = tracing_health()
    assert (health.buffered, health.exported, health.dropped, health.unaccounted) == (3, 0, {}, 0)
    assert "Spans can't be sent to Kafka (kafka_queue_full), they are kept: no room" in caplog.text


def test_the_last_line_names_the_queue_and_what_the_last_connection_met(keys, caplog):
    client = init_tracing(**keys, export="kafka", kafka_brokers=f"127.0.0.1:{free_port()}", timeout=30, flush_at=100)
    observe(client, "a")
    report = shutdown_tracing(0.5)
    assert report.dropped == {"shutdown": 1}
    line = caplog.records[-1].getMessage()
    assert line.startswith("Kafka did not accept all spans within 0.5 s: 1 are dropped (shutdown). The last failure: ")
    assert "no complete answer within" in line
    assert "Connection refused" in line


def test_librdkafkas_lines_stay_out_of_the_log(kafka, caplog):
    caplog.set_level(logging.WARNING)
    observe(init_tracing(**kafka, kafka_options={"linger.ms": 1}), "a")
    until(lambda: tracing_health().exported == 1)
    assert not caplog.records
