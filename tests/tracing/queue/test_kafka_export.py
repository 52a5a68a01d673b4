"""`export="kafka"`: spans go to a real broker, and count as exported when it has acknowledged them."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.standin.http.free_ports import free_port
from pytest_langfuse.tracing import ConfigError, init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery import route as route_module
from pytest_langfuse.tracing.delivery import sender as sender_module
from pytest_langfuse.tracing.queue import kafka_sink as kafka_module
from tests.helpers.kafka_broker import kafka_broker
from tests.helpers.loopback_langfuse import Reply
from tests.helpers.tracing_waits import until

# Slow: starts brokers.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fresh", "_impatient")]


@pytest.fixture
def _impatient(monkeypatch):
    """Pauses between tries in milliseconds: what is tested is how often, not how long."""
    monkeypatch.setattr(route_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(route_module, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(route_module, "_LAST_PAUSE", 0.001)
    monkeypatch.setattr(sender_module, "_LOOK_AGAIN", 0.01)


@pytest.fixture
def kafka(keys, broker, topic):
    return {**keys, "export": "kafka", "kafka_brokers": broker.address, "kafka_topic": topic}


def observe(client, traces, *, children=0, **values):
    for number in range(traces):
        with client.start_as_current_observation(name=f"t{number}", **values):
            for child in range(children):
                client.start_observation(name=f"t{number}c{child}").end()


def spans(message):
    request = ExportTraceServiceRequest.FromString(message.value())
    return [span for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]


def settled(*, exported):
    health = tracing_health()
    assert (health.exported, health.buffered, health.dropped, health.unaccounted) == (exported, 0, {}, 0)


def test_a_message_holds_spans_of_one_trace_and_its_id_is_the_key(kafka, broker, topic, collector):
    client = init_tracing(**kafka, flush_at=100)
    observe(client, 20, children=3)
    client.flush()
    settled(exported=80)
    shutdown_tracing()

    messages = broker.messages(topic, count=20)
    names = Counter()
    for message in messages:
        assert {span.trace_id.hex() for span in spans(message)} == {message.key().decode()}
        assert message.headers() == [("x-langfuse-public-key", b"pk-lf-test")]
        names.update(span.name for span in spans(message))
    assert names == Counter(f"t{number}{child}" for number in range(20) for child in ("", "c0", "c1", "c2"))
    # Parts of a trace are in one partition, in order; traces spread.
    assert len({message.partition() for message in messages}) == 2
    assert not collector.exports


def test_spans_wait_for_a_broker_that_comes_back(tmp_path, keys, caplog):
    with kafka_broker(tmp_path) as broker:
        broker.create_topic("spans")
        broker.kill()
        client = init_tracing(
            **keys, export="kafka", kafka_brokers=broker.address, kafka_topic="spans", timeout=0.3,
            breaker_failure_threshold=2, breaker_recovery_timeout=0.2,
        )  # fmt: skip
        observe(client, 20)
        until(lambda: tracing_health().breaker == "open")
        health = tracing_health()
        assert (health.buffered, health.exported, health.unaccounted, health.healthy) == (20, 0, 0, False)
        assert "kafka_msg_timed_out" in health.last_error
        assert "Kafka can't be reached (kafka_msg_timed_out), spans are kept" in caplog.text
        assert "Kafka failed 2 times in a row" in caplog.text

        broker.start()
        broker.create_topic("spans")
        until(lambda: tracing_health().exported == 20)
        settled(exported=20)
        assert {name.name for message in broker.messages("spans", count=20) for name in spans(message)} == {
            f"t{number}" for number in range(20)
        }


def test_a_failover_takes_over_while_the_breaker_is_open_and_hands_back(tmp_path, keys, collector):
    with kafka_broker(tmp_path) as broker:
        broker.create_topic("spans")
        broker.kill()
        client = init_tracing(
            **keys, export=("kafka", "http"), kafka_brokers=broker.address, kafka_topic="spans", timeout=0.3,
            breaker_failure_threshold=2, breaker_recovery_timeout=1.0,
        )  # fmt: skip
        observe(client, 10)
        collector.wait_for(lambda: len(collector.accepted) == 10)
        until(lambda: tracing_health().exported == 10)
        health = tracing_health()
        assert (health.breaker, dict(health.breakers)["http"], health.healthy) == (
            health.breakers["kafka"],
            "closed",
            True,
        )
        assert health.breaker != "closed"

        broker.start()
        broker.create_topic("spans")
        until(lambda: observe(client, 1) or tracing_health().breaker == "closed")
        sent = len(collector.accepted)
        observe(client, 5)
        client.flush()
        assert len(collector.accepted) == sent
        assert tracing_health().unaccounted == 0
        shutdown_tracing()


def test_at_the_end_a_failing_primary_is_not_waited_for(keys, collector):
    client = init_tracing(
        **keys, export=("kafka", "http"), kafka_brokers=f"127.0.0.1:{free_port()}", timeout=0.2, flush_interval=60,
        flush_at=100,
    )  # fmt: skip
    observe(client, 3)
    report = shutdown_tracing(5)

    assert (report.exported, report.dropped, report.timed_out) == (3, {}, False)
    assert sorted(collector.accepted) == ["t0", "t1", "t2"]


def test_a_large_trace_is_split_and_what_fits_no_message_is_dropped_and_counted(kafka, broker, topic, caplog):
    client = init_tracing(**kafka, flush_at=100)
    with client.start_as_current_observation(name="root"):
        for number in range(8):
            client.start_observation(name=f"big{number}", input="x" * 300_000).end()
        client.start_observation(name="huge", input="x" * 1_100_000).end()
    client.flush()
    until(lambda: tracing_health().buffered == 0)
    health = tracing_health()
    assert (health.exported, dict(health.dropped), health.unaccounted) == (9, {"message_too_large": 1}, 0)
    assert "Kafka refused 1 span (message_too_large)" in caplog.text
    shutdown_tracing()

    messages = broker.messages(topic, count=5)
    assert len({message.key() for message in messages}) == 1
    assert all(len(message.value()) < 1_000_000 for message in messages)


def test_bodies_that_another_export_left_in_the_spool_are_split_by_trace(tmp_path, kafka, broker, topic, collector):
    collector.reply = Reply(503)
    keys = {name: kafka[name] for name in ("public_key", "secret_key")}
    spool = tmp_path / "spool"
    client = init_tracing(
        **keys, base_url=kafka["base_url"], spool_path=spool, flush_at=100, breaker_failure_threshold=1
    )
    observe(client, 4)
    assert shutdown_tracing(1).buffered == 4

    init_tracing(**kafka, spool_path=spool)
    until(lambda: tracing_health().exported == 4)
    shutdown_tracing()
    messages = broker.messages(topic, count=4)
    assert [len(spans(message)) for message in messages] == [1] * 4
    assert all(message.key().decode() == spans(message)[0].trace_id.hex() for message in messages)


class FatalProducer:
    """One whose first call fails as after a fatal error."""

    made = 0

    def __init__(self, options):
        from confluent_kafka.cimpl import Producer

        type(self).made += 1
        self._broken = type(self).made == 1
        self._inner = Producer(options)

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __len__(self):
        return len(self._inner)

    def produce(self, *args, **kwargs):
        from confluent_kafka import KafkaError, KafkaException

        if self._broken:
            raise SystemError("returned a result with an exception set") from KafkaException(KafkaError(-150))
        self._inner.produce(*args, **kwargs)


def test_a_producer_that_failed_for_good_is_replaced_and_its_spans_are_sent_again(monkeypatch, kafka, broker, topic):
    monkeypatch.setattr(FatalProducer, "made", 0)
    monkeypatch.setattr(kafka_module, "_producer_class", lambda: FatalProducer)
    client = init_tracing(**kafka)
    observe(client, 3)
    until(lambda: tracing_health().exported == 3)
    settled(exported=3)
    assert FatalProducer.made == 2
    assert len(broker.messages(topic, count=3)) == 3


def test_an_option_that_librdkafka_refuses_is_an_error_at_the_start(kafka):
    with pytest.raises(ConfigError, match=r'kafka_options can.t be used: No such configuration property: "lingr.ms"'):
        init_tracing(**kafka, kafka_options={"lingr.ms": 5})
    with pytest.raises(ConfigError, match=r"kafka_options can't be used: .*Fix: correct kafka_options") as error:
        init_tracing(**kafka, kafka_options={"compression.type": "a-password-by-mistake", "sasl.password": "s3cret"})
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"compression.type": "hunter2"}, "compression.type"),
        ({"linger.ms": "hunter2"}, "linger.ms"),
        ({"linger.ms": 987654}, "linger.ms"),
        ({"partitioner": "hunter2"}, "partitioner"),
        ({"partitioner": "hunter2" * 100}, "partitioner"),
        ({"compression.type": "hunter2" * 100}, "compression.type"),
        ({"compression.type": 'hun"ter2'}, "compression.type"),
        ({"debug": "broker,hunter2"}, "debug"),
        ({"debug": "x" * 5000 + "hunter2"}, "debug"),
        ({"sasl.mechanism": "hunter2", "security.protocol": "sasl_ssl"}, "sasl.mechanism"),
        ({"ssl.keystore.location": "/hunter2", "security.protocol": "ssl"}, "ssl.keystore.location"),
        ({"ssl.ca.location": "/hun\nter2", "security.protocol": "ssl"}, "ssl.ca.location"),
        ({"acks": "hunter2", "client.id": "fine"}, "acks"),
        ({"oauth_cb": "hunter2"}, "oauth_cb"),
        ({"plugin.library.paths": "hunter2"}, "plugin.library.paths"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_that_librdkafka_refuses_is_not_shown_but_its_option_is(kafka, capfd, options, named):
    with pytest.raises(ConfigError, match=r"kafka_options can't be used: .* Fix: correct kafka_options") as error:
        init_tracing(**kafka, kafka_options=options)
    text = str(error.value)
    assert named in text
    assert "\n" not in text
    said = text + capfd.readouterr().err
    assert not [part for part in ("hunter2", "hun", "ter2", "987654", "xxx") if part in said], said


def test_options_that_work_together_are_taken(kafka):
    init_tracing(**kafka, kafka_options={"enable.idempotence": False, "acks": 1, "message.max.bytes": "2000"})


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch, kafka):
    monkeypatch.setitem(sys.modules, "confluent_kafka.cimpl", None)
    with pytest.raises(ConfigError, match=r"needs confluent-kafka .*Fix: pip install 'pytest-langfuse\[kafka\]'"):
        init_tracing(**kafka)


APPLICATION = """
    import json, os, signal, sys, time
    from pytest_langfuse.tracing import init_tracing, shutdown_tracing, tracing_health

    keys = {"public_key": "pk-lf-test", "secret_key": "sk-lf-test", "base_url": "http://127.0.0.1:1"}
    client = init_tracing(
        **keys, export="kafka", kafka_brokers=sys.argv[1], kafka_topic=sys.argv[2], **json.loads(sys.argv[3])
    )

    def observe(name):
        client.start_observation(name=name).end()

    {body}
"""


def application(broker, topic, body, **settings):
    script = textwrap.dedent(APPLICATION).replace("{body}", textwrap.dedent(body))
    return subprocess.Popen(
        [sys.executable, "-c", script, broker, topic, json.dumps(settings)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_producer_of_its_own(broker, topic):
    app = application(
        broker.address,
        topic,
        """
        observe("parent-1")
        client.flush()
        pids = []
        for number in range(3):
            pid = os.fork()
            if pid == 0:
                observe(f"child-{number}")
                client.flush()
                sys.exit(tracing_health().exported != 1)
            pids.append(pid)
        observe("parent-2")
        print([os.waitpid(pid, 0)[1] for pid in pids], flush=True)
        client.flush()
        print(tracing_health().exported, flush=True)
        """,
    )
    output, _ = app.communicate(timeout=60)
    assert output.splitlines() == ["[0, 0, 0]", "2"]
    assert app.returncode == 0
    found = sorted(span.name for message in broker.messages(topic, count=5) for span in spans(message))
    assert found == ["child-0", "child-1", "child-2", "parent-1", "parent-2"]


@pytest.mark.slow
def test_the_exit_keeps_its_deadline_and_a_signal_loses_nothing(broker, topic):
    import socket

    with socket.create_server(("127.0.0.1", free_port())) as silent:
        hung = application(
            f"127.0.0.1:{silent.getsockname()[1]}", topic, "observe('x')\ntime.sleep(0.3)", shutdown_timeout=0.5
        )
        waiting = application(broker.address, topic, "observe('kept')\nprint('ready', flush=True)\ntime.sleep(60)",
                              flush_interval=60, flush_at=100)  # fmt: skip
        assert waiting.stdout.readline() == "ready\n"
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(timeout=30) == -signal.SIGTERM
        started = time.monotonic()
        assert hung.wait(timeout=30) == 0
        assert time.monotonic() - started < 10
    for app in (hung, waiting):
        app.stdout.close()
    assert [span.name for message in broker.messages(topic, count=1) for span in spans(message)] == ["kept"]


def test_health_names_the_exports(kafka):
    init_tracing(**kafka)
    assert dict(tracing_health().breakers) == {"kafka": "closed"}
    assert singleton_module.singleton.installation.pipeline.breaker.state == "closed"
