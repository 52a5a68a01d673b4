"""Health, readiness and metrics over HTTP, and as OpenTelemetry metrics."""

import httpx
import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

from pytest_langfuse.tracing.forward import deliveries
from pytest_langfuse.tracing.forward.forward_meter import register_forward_metrics
from pytest_langfuse.tracing.forward.health_server import HealthServer
from tests.helpers.forwarding import MemoryForwarder, export_body
from tests.helpers.loopback_langfuse import Reply


@pytest.fixture
def one(collector, monkeypatch):
    monkeypatch.setattr(deliveries, "_FIRST_PAUSE", 0.002)
    forwarding = MemoryForwarder(collector.url)
    yield forwarding
    forwarding.poster.stop()


@pytest.fixture
def get(one):
    server = HealthServer(one.forwarder, host="127.0.0.1", port=0)
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        yield client.get
    server.stop()


def look(one):
    """Let it look at its state again."""
    one.forwarder._look_at = 0.0
    one.forwarder.step()


def test_ready_once_it_has_partitions_and_while_langfuse_takes_the_key(one, get, collector):
    assert get("/healthz").text == "ok\n"
    answer = get("/readyz")
    assert (answer.status_code, answer.text) == (503, "the queue has not given it any partitions yet\n")
    one.queue.start(one.forwarder)
    look(one)
    assert (get("/readyz").status_code, get("/readyz").text) == (200, "ok\n")
    collector.reply = Reply(status=401)
    one.queue.put(export_body("a"))
    one.until(lambda: len(collector.exports) >= 2)
    look(one)
    answer = get("/readyz")
    assert (answer.status_code, answer.text) == (503, "Langfuse refuses the key pk-lf-test (http_401)\n")
    assert get("/healthz").status_code == 200
    collector.reply = Reply()
    one.drain()
    look(one)
    assert get("/readyz").status_code == 200
    one.forwarder.stop()
    assert get("/readyz").text == "the forwarder stops\n"


def test_a_queue_that_can_no_longer_be_read_is_not_ready(one, get):
    one.queue.start(one.forwarder)
    look(one)
    assert get("/readyz").status_code == 200
    one.queue.unreadable = ["Kafka can't be reached: Connection refused"]
    look(one)
    answer = get("/readyz")
    assert (answer.status_code, answer.text) == (503, "Kafka can't be reached: Connection refused\n")
    assert "\nlangfuse_forward_ready 0\n" in get("/metrics").text
    # The partitions are gone, the queue is there: another forwarder has them.
    one.queue.unreadable = []
    one.forwarder.revoked([one.queue.assignment])
    look(one)
    assert (get("/readyz").status_code, get("/readyz").text) == (200, "ok\n")
    assert "\nlangfuse_forward_ready 1\n" in get("/metrics").text
    assert "\nlangfuse_forward_partitions 0\n" in get("/metrics").text


def test_a_loop_that_does_not_move_is_not_healthy(one, get, monkeypatch):
    look(one)
    later = one.forwarder.state.seen + 61
    monkeypatch.setattr("pytest_langfuse.tracing.forward.forwarder.now", lambda: later)
    answer = get("/healthz")
    assert (answer.status_code, answer.text) == (503, "the forwarder has not moved for 61 s\n")


def test_metrics(one, get, collector):
    one.queue.start(one.forwarder)
    one.queue.put(export_body("a", "b"))
    one.queue.put(b"{}")
    one.drain()
    collector.reply = Reply(status=503)
    one.queue.put(export_body("c"))
    one.until(lambda: one.counts.failed["http_503"])
    look(one)
    answer = get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {
        (sample.name.removeprefix("langfuse_forward_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found.pop(("requests_failed_total", "http_503")) >= 1
    assert found.pop(("requests_total",)) >= 2
    assert found.pop(("held_bytes",)) > 0
    assert found.pop(("message_bytes_total",)) > 0
    found.pop(("requests_in_flight",))
    assert found == {
        ("messages_total",): 3,
        ("messages_done_total",): 2,
        ("messages_dropped_total",): 0,
        ("traces_decided_early_total",): 0,
        ("traces_undecided",): 0,
        ("spans_total",): 2,
        ("scores_total",): 0,
        ("spans_rejected_total",): 0,
        ("dead_letters_total", "undecodable"): 1,
        ("rebalances_total",): 1,
        ("lag_messages",): 0,
        ("partitions",): 1,
        ("ready",): 0,
    }


def test_another_path_and_a_head(one, get):
    assert get("/").status_code == 404
    assert "Python" not in get("/").headers["server"]


def test_the_same_metrics_by_opentelemetry(one, monkeypatch):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    monkeypatch.setattr("pytest_langfuse.tracing.forward.forward_meter.get_meter", provider.get_meter)
    register_forward_metrics(one.forwarder)
    one.queue.start(one.forwarder)
    one.queue.put(export_body("a", "b"))
    one.queue.put(b"{}")
    one.drain()
    data = reader.get_metrics_data()
    found = {
        metric.name: [(dict(point.attributes), point.value) for point in metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert found["langfuse.forward.spans"] == [({}, 2)]
    assert found["langfuse.forward.dead.letters"] == [({"reason": "undecodable"}, 1)]
    provider.shutdown()
