"""A captured test never reaches the configured broker or queue: not in it, after it, at exit, or in a child."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.helpers.kafka_broker import GROUP_SESSION, KafkaBroker, kafka_broker

pytestmark = pytest.mark.slow

TOPIC = "production"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """The broker that the application is configured for."""
    with kafka_broker(tmp_path_factory.mktemp("production")) as broker:
        broker.create_topic(TOPIC)
        yield broker


def span_names(message: Any) -> list[str]:
    request = ExportTraceServiceRequest.FromString(message.value())
    return [span.name for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]


def stored(broker: KafkaBroker) -> int:
    """The number of messages that have ever arrived."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "count"})
    try:
        return consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=10)[1]
    finally:
        consumer.close()


APP = """
    from pytest_langfuse.tracing import get_langfuse_client, init_tracing

    def start():
        return init_tracing(
            public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9", timeout={timeout}, flush_at=1,
            export="kafka", kafka_brokers="{brokers}", kafka_topic="production", kafka_options={{"client.id": "shop"}},
        )

    def observe(name):
        get_langfuse_client().start_observation(name=name).end()

    def main(name):
        start()
        observe(name)
        get_langfuse_client().flush()
"""

TESTS = """
    import multiprocessing, subprocess, sys
    import pytest, shop
    from pytest_langfuse.tracing import tracing_health

    shop.start()
    CHILD = "import shop; shop.main('child')"

    def test_plain():
        shop.observe("plain")
        shop.get_langfuse_client().flush()
        assert tracing_health().exported == 1

    def test_with_the_queue(langfuse_queue, langfuse_spans):
        shop.observe("queued")
        shop.get_langfuse_client().flush()
        langfuse_queue.wait_for(1)
        langfuse_spans.assert_flushed()

    def test_left_behind(langfuse_queue, langfuse_outage):
        with langfuse_outage("broker_down"):
            shop.observe("left in librdkafka")
            shop.observe("left in the buffer")
            shop.get_langfuse_client().flush()

    def test_not_flushed():
        shop.observe("left in the SDK")

    def test_child():
        subprocess.run([sys.executable, "-c", CHILD], check=True)

    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_multiprocessing(method):
        child = multiprocessing.get_context(method).Process(target=shop.main, args=("child",))
        child.start()
        child.join(30)
        assert child.exitcode == 0

    def test_process_with_the_queue(langfuse_process, langfuse_queue, langfuse_spans):
        app = langfuse_process.start("-c", CHILD)
        assert app.wait(30) == 0, app.output
        langfuse_spans.wait_for("span child")
        assert [o.name for m in langfuse_queue.messages for o in m.observations] == ["child"]
        assert app.lost == []
        langfuse_spans.assert_flushed()

    def test_process_by_its_environment(langfuse_process, langfuse_spans):
        env = {"LANGFUSE_EXPORT": "kafka", "LANGFUSE_KAFKA_BROKERS": "{brokers}"}
        code = "from pytest_langfuse import tracing; tracing.init_tracing().start_observation(name='env').end()"
        app = langfuse_process.start("-c", code, env=env)
        assert app.wait(30) == 0, app.output
        langfuse_spans.wait_for("span env")
        langfuse_spans.assert_flushed()

"""


@pytest.mark.long
def test_the_broker_stays_empty(pytester: pytest.Pytester, production: KafkaBroker) -> None:
    before = stored(production)
    pytester.makepyfile(
        shop=APP.format(brokers=production.address, timeout=1.0),
        test_shop=TESTS.replace("{brokers}", production.address),
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--langfuse-capture")
    result.assert_outcomes(passed=10)
    assert stored(production) == before


FIXTURES_ONLY = """
    import shop
    from pytest_langfuse.tracing import tracing_health

    shop.start()
    kept = []

    def test_captured(langfuse_spans):
        shop.observe("captured")
        kept.append(shop.get_langfuse_client().start_observation(name="captured, ended in another test"))

    def test_uncaptured():
        kept.pop().end()
        shop.observe("uncaptured")
        shop.get_langfuse_client().flush()

    def test_captured_again(langfuse_queue, langfuse_spans):
        shop.observe("captured again")
        shop.get_langfuse_client().flush()
        langfuse_queue.wait_for(1)

    def test_uncaptured_until_exit():
        shop.observe("uncaptured until exit")
"""


@pytest.mark.parametrize("workers", [[], pytest.param(["-n", "2"], marks=pytest.mark.exhaustive)], ids=["one", "two"])
def test_what_is_not_captured_goes_where_it_goes_without_the_plugin(
    pytester: pytest.Pytester, production: KafkaBroker, workers: list[str]
) -> None:
    topic = f"uncaptured-{len(workers)}"
    production.create_topic(topic)
    shop = APP.format(brokers=production.address, timeout=5.0).replace(f'"{TOPIC}"', f'"{topic}"')
    pytester.makepyfile(shop=shop, test_shop=FIXTURES_ONLY)
    result = pytester.runpytest_subprocess(*workers, "-p", "no:randomly")
    result.assert_outcomes(passed=4)
    messages = production.messages(topic, count=100, timeout=3.0)
    assert sorted(name for message in messages for name in span_names(message)) == [
        "uncaptured",
        "uncaptured until exit",
    ]


def test_an_application_has_its_own_producer(pytester: pytest.Pytester, production: KafkaBroker) -> None:
    before = stored(production)
    pytester.makepyfile(f"""
        from confluent_kafka import Producer

        def test_it(langfuse_queue):
            producer = Producer({{"bootstrap.servers": "{production.address}"}})
            producer.produce("{TOPIC}", value=b"order")
            assert producer.flush(10) == 0
            assert langfuse_queue.messages == []
    """)
    pytester.runpytest_subprocess("--langfuse-capture").assert_outcomes(passed=1)
    assert stored(production) == before + 1


def test_an_application_has_its_own_consumer(pytester: pytest.Pytester, production: KafkaBroker) -> None:
    production.create_topic("orders")
    pytester.makepyfile(f"""
        from confluent_kafka import Consumer, Producer

        def test_it(langfuse_queue, langfuse_tracing, langfuse_spans):
            producer = Producer({{"bootstrap.servers": "{production.address}"}})
            producer.produce("orders", value=b"order")
            assert producer.flush(10) == 0
            # Without these, this broker answers a group's join after 22 s, with or without the plugin.
            options = {GROUP_SESSION!r}
            consumer = Consumer({{"bootstrap.servers": "{production.address}", "group.id": "shop",
                                 "auto.offset.reset": "earliest", **options}})
            consumer.subscribe(["orders"])
            assert consumer.poll(20).value() == b"order"
            consumer.close()
            assert langfuse_queue.messages == []
    """)
    pytester.runpytest_subprocess("--langfuse-capture", "-p", "no:logfire").assert_outcomes(passed=1)


def test_sqs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import socket, subprocess, sys
        from pytest_langfuse.tracing import init_tracing, tracing_health

        REAL = socket.create_server(("127.0.0.1", 0))
        REAL.setblocking(False)
        CODE = '''
        from pytest_langfuse.tracing import init_tracing
        client = init_tracing(export="sqs", sqs_queue_url="{url}")
        client.start_observation(name="child").end()
        '''

        def untouched():
            try:
                REAL.accept()
            except BlockingIOError:
                return True
            return False

        URL = f"http://127.0.0.1:{REAL.getsockname()[1]}/123456789012/langfuse"

        def test_recorded(langfuse_tracing, langfuse_spans):
            client = langfuse_tracing(export="sqs", sqs_queue_url=URL)
            client.start_observation(name="a").end()
            client.flush()
            langfuse_spans.assert_flushed()
            assert tracing_health().exported == 1
            assert untouched()

        def test_sent(langfuse_tracing, langfuse_queue, langfuse_process, langfuse_spans):
            client = langfuse_tracing(export="sqs", sqs_queue_url=URL)
            client.start_observation(name="a").end()
            client.flush()
            app = langfuse_process.start("-c", CODE.replace("        ", "").replace("{url}", URL))
            assert app.wait(30) == 0, app.output
            langfuse_queue.wait_for(2)
            assert {o.name for m in langfuse_queue.messages for o in m.observations} == {"a", "child"}
            langfuse_spans.assert_flushed()
            assert untouched()
    """)
    pytester.runpytest_subprocess("--langfuse-capture").assert_outcomes(passed=2)
