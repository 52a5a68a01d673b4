"""`langfuse_queue`: an app that exports to Kafka or SQS really does, to stand-ins on this machine."""

from __future__ import annotations

import re

import pytest

from pytest_langfuse.outage.faults import FAULTS, QUEUE_FAULTS
from pytest_langfuse.standin.queue import extras
from tests.helpers.paths import DOCS


@pytest.mark.slow
def test_messages_of_kafka(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest
        from pytest_langfuse.tracing import request_context, tracing_health

        REAL = {"export": "kafka", "kafka_brokers": "kafka.example:9092", "kafka_topic": "shop",
                "kafka_options": {"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN", "sasl.username": "u",
                                  "sasl.password": "p", "reconnect.backoff.ms": 500}, "timeout": 10.0}

        def observe(client, name):
            with client.start_as_current_observation(name=name):
                client.start_observation(name=f"{name} child", as_type="generation", model="gpt-4o").end()

        def test_messages(langfuse_tracing, langfuse_spans, langfuse_queue):
            client = langfuse_tracing(**REAL, flush_at=10)
            observe(client, "a")
            observe(client, "b")
            client.flush()
            messages = langfuse_queue.wait_for(2)
            assert sorted(message.observations[0].name for message in messages) == ["a", "b"]
            for message in messages:
                assert message.topic == "shop"
                assert message.key == message.trace_id == message.observations[0].trace_id
                assert message.headers == {"x-langfuse-public-key": "pk-lf-pytest"}
                assert message.partition in (0, 1)
                assert [o.type for o in message.observations] == ["span", "generation"]
            langfuse_spans.assert_tree('''
                span a
                  generation "a child" model=gpt-4o
                span b
                  generation "b child"
            ''')
            langfuse_spans.assert_flushed()
            assert tracing_health().exported == 4

        def test_the_next_has_its_own(langfuse_tracing, langfuse_queue, langfuse_spans):
            client = langfuse_tracing(**REAL)
            assert langfuse_queue.messages == []
            observe(client, "c")
            client.flush()
            assert {o.name for m in langfuse_queue.messages for o in m.observations} == {"c", "c child"}
            langfuse_spans.assert_flushed()

        def test_without_the_fixture_nothing_is_sent(langfuse_tracing, langfuse_spans):
            client = langfuse_tracing(**REAL)
            observe(client, "d")
            client.flush()
            langfuse_spans.assert_flushed()
            assert len(langfuse_spans) == 2
            assert tracing_health().exported == 2

        def test_with_a_server_it_is_sent(langfuse_tracing, langfuse_spans, langfuse_server):
            client = langfuse_tracing(**REAL)
            observe(client, "e")
            client.flush()
            langfuse_spans.assert_flushed()
            assert len(langfuse_server.spans) == 0

        def test_scores(langfuse_tracing, langfuse_spans, langfuse_queue):
            client = langfuse_tracing(**REAL, export_scores=True)
            with client.start_as_current_observation(name="s"):
                client.score_current_trace(name="good", value=1.0)
            client.flush()
            scores = [m for m in langfuse_queue.wait_for(2, timeout=20.0) if not m.observations]
            assert [m.headers["x-langfuse-type"] for m in scores] == ["score"]
            assert scores[0].key == langfuse_spans.one("span s").trace_id
            assert [(score.name, score.value) for score in langfuse_spans.scores] == [("good", 1.0)]
            langfuse_spans.assert_flushed()

        def test_flushed_is_not_assumed(langfuse_tracing, langfuse_spans, langfuse_queue):
            client = langfuse_tracing(**REAL, flush_at=100, flush_interval=1000.0)
            observe(client, "f")
            with pytest.raises(AssertionError, match="f child"):
                langfuse_spans.assert_flushed()
            with pytest.raises(AssertionError, match="0 of 1 messages"):
                langfuse_queue.wait_for(1, timeout=0.01)
    """)
    app.runpytest("-p", "no:randomly").assert_outcomes(passed=6)


@pytest.mark.slow
def test_messages_of_sqs(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from pytest_langfuse.tracing import tracing_health

        def observe(client, name):
            with client.start_as_current_observation(name=name):
                client.start_observation(name=f"{name} child").end()

        def test_standard(langfuse_tracing, langfuse_spans, langfuse_queue):
            url = "https://sqs.eu-west-1.amazonaws.com/123456789012/langfuse"
            client = langfuse_tracing(export="sqs", sqs_queue_url=url, flush_at=10, timeout=10.0)
            observe(client, "a")
            observe(client, "b")
            client.flush()
            [message] = langfuse_queue.wait_for(1)
            assert {o.name for o in message.observations} == {"a", "a child", "b", "b child"}
            assert (message.topic, message.key, message.trace_id) == ("langfuse", "", "")
            assert message.headers == {"x-langfuse-public-key": "pk-lf-pytest"}
            langfuse_spans.assert_flushed()

        def test_fifo(langfuse_tracing, langfuse_spans, langfuse_queue):
            url = "https://sqs.eu-west-1.amazonaws.com/123456789012/langfuse.fifo"
            client = langfuse_tracing(export="sqs", sqs_queue_url=url, flush_at=10, timeout=10.0)
            observe(client, "c")
            observe(client, "d")
            client.flush()
            messages = langfuse_queue.wait_for(2)
            assert [m.key for m in messages] == [m.trace_id for m in messages]
            assert len({m.trace_id for m in messages}) == 2
            langfuse_spans.assert_flushed()
            assert tracing_health().exported == 4
    """)
    app.runpytest("-p", "no:randomly").assert_outcomes(passed=2)


KAFKA = {"export": "kafka", "kafka_brokers": "kafka.example:9092"}
SQS = {"export": "sqs", "sqs_queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/langfuse"}


@pytest.mark.slow
@pytest.mark.parametrize("export", [KAFKA, SQS], ids=["kafka", "sqs"])
def test_faults(app: pytest.Pytester, export: dict[str, str]) -> None:
    kafka = export is KAFKA
    reasons = {
        "broker_down": "kafka_msg_timed_out" if kafka else "sqs_endpoint_connection",
        "not_authorized": "kafka_topic_authorization_failed" if kafka else "sqs_access_denied",
        "sqs_throttled": "nothing" if kafka else "sqs_throttled",
    }
    app.makepyfile(f"""
        import pytest, time
        from pytest_langfuse.tracing import tracing_health

        EXPORT, REASONS = {export!r}, {reasons!r}
        PATIENT = dict(flush_at=1, breaker_failure_threshold=1000, timeout=1.0)

        def observe(client, name):
            client.start_observation(name=name).end()

        def until(condition):
            end = time.monotonic() + 10
            while not condition():
                assert time.monotonic() < end, tracing_health()
                time.sleep(0.005)

        @pytest.mark.parametrize("fault", {["broker_down", "not_authorized", *([] if kafka else ["sqs_throttled"])]!r})
        def test_kept_and_delivered(fault, langfuse_tracing, langfuse_queue, langfuse_spans, langfuse_outage):
            client = langfuse_tracing(**EXPORT, **PATIENT)
            observe(client, "before")
            langfuse_queue.wait_for(1)
            with langfuse_outage(fault) as outage:
                observe(client, "during")
                # A message may time out before the client has tried to connect again.
                until(lambda: outage.refused and REASONS[fault] in str(tracing_health().last_error))
                with pytest.raises(AssertionError, match="during"):
                    langfuse_spans.assert_flushed()
                assert {{o.name for m in langfuse_queue.messages for o in m.observations}} == {{"before"}}
                assert outage.attempts >= outage.struck == outage.refused >= 1
            tried = outage.attempts
            until(lambda: tracing_health().exported == 2)
            langfuse_queue.wait_for(2)
            langfuse_spans.assert_flushed()
            assert outage.attempts == tried
            assert tracing_health().dropped == {{}}

        def test_too_large(langfuse_tracing, langfuse_queue, langfuse_outage):
            client = langfuse_tracing(**EXPORT, **PATIENT)
            with langfuse_outage("message_too_large", after=1, times=1):
                observe(client, "fits")
                langfuse_queue.wait_for(1)
                observe(client, "does not")
                until(lambda: tracing_health().dropped)
                observe(client, "fits again")
                langfuse_queue.wait_for(2)
            assert tracing_health().dropped == {{"message_too_large": 1}}
            assert {{o.name for m in langfuse_queue.messages for o in m.observations}} == {{"fits", "fits again"}}

        def test_slow(langfuse_tracing, langfuse_queue, langfuse_outage, langfuse_spans):
            client = langfuse_tracing(**EXPORT, flush_at=1, timeout=5.0)
            with langfuse_outage("broker_slow", delay=0.1) as outage:
                began = time.monotonic()
                observe(client, "late")
                client.flush()
                assert time.monotonic() - began >= 0.1
                langfuse_spans.assert_flushed()
            assert (outage.struck >= 1, outage.refused) == (True, 0)

        @pytest.mark.langfuse_outage("broker_down", "not_authorized")
        def test_by_the_marker(langfuse_tracing, langfuse_spans, langfuse_outage):
            client = langfuse_tracing(**EXPORT, **PATIENT)
            observe(client, "lost")
            until(lambda: langfuse_outage.refused)
            with pytest.raises(AssertionError, match="lost"):
                langfuse_spans.assert_flushed()

        def test_failover(langfuse_tracing, langfuse_spans, langfuse_queue, langfuse_outage, langfuse_server):
            client = langfuse_tracing(**{{**EXPORT, "export": (EXPORT["export"], "http")}},
                                      flush_at=1, timeout=0.3, breaker_failure_threshold=1)
            with langfuse_outage("broker_down"):
                observe(client, "over")
                langfuse_server.spans.wait_for("span over")
                langfuse_spans.assert_flushed()
                assert langfuse_queue.messages == []
    """)
    app.runpytest("-p", "no:randomly").assert_outcomes(passed=(7 if kafka else 8))


@pytest.mark.slow
def test_a_transport_that_a_fault_does_not_affect_meets_none_of_it(app: pytest.Pytester) -> None:
    """Each fault with each transport: one that is met is refused or late, of another nothing is counted."""
    app.makepyfile(f"""
        import pytest
        from pytest_langfuse.tracing import tracing_health

        HTTP = {{"export": "http"}}
        EXPORTS = {{"kafka": {KAFKA!r}, "sqs": {SQS!r}, "http": HTTP}}
        FAULTS = {list(QUEUE_FAULTS)!r}

        def affected(fault, export):
            return export != "http" and (fault != "sqs_throttled" or export == "sqs")

        @pytest.mark.parametrize("export", EXPORTS)
        @pytest.mark.parametrize("fault", FAULTS)
        def test_it(fault, export, langfuse_tracing, langfuse_queue, langfuse_outage):
            client = langfuse_tracing(**EXPORTS[export], flush_at=1, timeout=2.0)
            with langfuse_outage(fault, required=False) as outage:
                client.start_observation(name="a").end()
                client.flush()
            if affected(fault, export):
                assert outage.struck >= 1
            else:
                assert (outage.attempts, outage.struck, outage.refused) == (0, 0, 0)
                assert tracing_health().exported == 1

        @pytest.mark.langfuse_outage("sqs_throttled")
        def test_kafka_by_the_marker(langfuse_tracing):
            client = langfuse_tracing(**EXPORTS["kafka"], flush_at=1)
            client.start_observation(name="a").end()
            client.flush()

        @pytest.mark.langfuse_outage("broker_down")
        def test_only_others_send(langfuse_tracing):
            pass
    """)
    result = app.runpytest("-p", "no:randomly", "--tb=short")
    result.assert_outcomes(passed=3 * len(QUEUE_FAULTS), failed=2)
    never = (
        "the outage '{}' was never reached: nothing was sent to {} while it was active, so *or mark it required=False"
    )
    result.stdout.fnmatch_lines(
        [
            f"{never.format('sqs_throttled', 'SQS').replace('*', '*export=?sqs?, and flush(), ')}.",
            f"{never.format('broker_down', 'Kafka or SQS')}: what other processes try while the broker is down can't *",
        ]
    )


@pytest.mark.slow
def test_queues_are_empty_when_a_test_begins(app: pytest.Pytester) -> None:
    app.makepyfile(f"""
        import boto3, pytest
        from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

        @pytest.fixture(scope="module")
        def wide():
            return {{"flush_at": 1, "timeout": 10.0}}

        def of_kafka(brokers, group):
            options = {{"bootstrap.servers": brokers, "group.id": group, "enable.partition.eof": True}}
            consumer, found, ends = Consumer(options), [], 0
            consumer.assign([TopicPartition("langfuse_spans", number, OFFSET_BEGINNING) for number in (0, 1)])
            while ends < 2:
                message = consumer.poll(10)
                if message.error() is None:
                    found.append(message.value())
                else:
                    ends += message.error().code() == KafkaError._PARTITION_EOF
            consumer.close()
            return found

        def of_sqs(url):
            sqs = boto3.client("sqs", endpoint_url=url.rsplit("/", 2)[0], region_name="eu-west-1",
                               aws_access_key_id="a", aws_secret_access_key="b")
            return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])

        @pytest.mark.parametrize("number", range(4))
        @pytest.mark.parametrize("export", ["kafka", "sqs"])
        def test_it(export, number, wide, langfuse_tracing, langfuse_queue):
            client = langfuse_tracing(**{{"kafka": {KAFKA!r}, "sqs": {SQS!r}}}[export], **wide)
            client.start_observation(name=f"{{export}} {{number}}").end()
            client.flush()
            langfuse_queue.wait_for(1, timeout=20.0)
            if export == "kafka":
                assert len(of_kafka(langfuse_queue.kafka_brokers, f"g{{number}}")) == 1
            else:
                assert len(of_sqs(langfuse_queue.sqs_queue_url("langfuse"))) == 1
            assert number != 1, "fails with messages in its queue"
    """)
    app.runpytest("-p", "no:randomly").assert_outcomes(passed=6, failed=2)


@pytest.mark.slow
def test_a_library_that_answers_for_sqs_gets_the_messages(app: pytest.Pytester) -> None:
    app.makepyfile(f"""
        import json
        import pytest
        from botocore import handlers
        from botocore.awsrequest import AWSResponse
        from pytest_langfuse.tracing import tracing_health

        @pytest.fixture
        def library(monkeypatch):
            asked = []

            def answer(event_name, request, **_):
                if ".amazonaws.com" not in request.url:
                    return None
                asked.append(json.loads(request.body))
                return AWSResponse(request.url, 200, {{}}, None)

            monkeypatch.setattr(handlers, "BUILTIN_HANDLERS", [*handlers.BUILTIN_HANDLERS, ("before-send", answer)])
            return asked

        def export(langfuse_tracing):
            client = langfuse_tracing(**{SQS!r}, flush_at=1, timeout=10.0)
            client.start_observation(name="a").end()
            client.flush()
            assert tracing_health().exported == 1

        def test_recorded(library, langfuse_tracing, langfuse_spans):
            export(langfuse_tracing)
            assert [call["QueueUrl"] for call in library] == ["{SQS["sqs_queue_url"]}"]
            langfuse_spans.assert_flushed()

        def test_with_the_queue(library, langfuse_tracing, langfuse_spans, langfuse_queue):
            export(langfuse_tracing)
            assert (len(library), len(langfuse_queue.messages)) == (1, 1)
            langfuse_spans.assert_flushed()
    """)
    app.runpytest("-p", "no:randomly").assert_outcomes(passed=2)


PAGE = (DOCS / "queues-in-tests.md").read_text()
FILES = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))


@pytest.mark.slow
def test_the_page(pytester: pytest.Pytester) -> None:
    for file, text in FILES.items():
        (pytester.path / file).write_text(text)
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


def test_the_page_lists_each_fault() -> None:
    table = PAGE.partition("\n## Faults\n")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == list(QUEUE_FAULTS)


@pytest.mark.slow
@pytest.mark.parametrize("known_by", ["variable", "conftest", "nothing"])
def test_all_holds_the_faults_of_queues_where_the_export_is_one(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, known_by: str
) -> None:
    if known_by == "variable":
        monkeypatch.setenv("LANGFUSE_EXPORT", "kafka,http")
    if known_by == "conftest":
        pytester.makeconftest("""
            from pytest_langfuse.tracing import init_tracing
            init_tracing(public_key="pk-lf-1", secret_key="sk-lf-1", export=("sqs", "http"),
                         sqs_queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/langfuse")
        """)
    pytester.makepyfile("def test_it(): pass")
    arguments = ["--langfuse-outage=all", "--collect-only", "-q", "-p", "no:cacheprovider"]
    # A conftest of a run in this process would find the singleton of this one.
    result = (pytester.runpytest_subprocess if known_by == "conftest" else pytester.runpytest)(*arguments)
    names = re.findall(r"test_it\[(\w+)\]", result.stdout.str())
    queues = [] if known_by == "nothing" else list(QUEUE_FAULTS)
    assert names == [*FAULTS, *queues]


@pytest.mark.slow
def test_a_suite_under_a_fault_of_the_queue(app: pytest.Pytester) -> None:
    app.makepyfile(f"""
        from pytest_langfuse.tracing import tracing_health

        def test_it(langfuse_tracing):
            client = langfuse_tracing(**{KAFKA!r}, flush_at=1)
            client.start_observation(name="a").end()
            client.flush()
            assert tracing_health().exported == 0

        def test_other():
            pass
    """)
    result = app.runpytest("--langfuse-outage=not_authorized", "-p", "no:randomly", "-rA")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*not_authorized: *, 1 observation lost"])
    app.makepyfile(f"""
        import time
        from pytest_langfuse.tracing import tracing_health

        def test_flushed(langfuse_tracing):
            client = langfuse_tracing(**{KAFKA!r}, flush_at=1)
            client.start_observation(name="a").end()
            deadline = time.monotonic() + 20
            # A flush takes as long as the timeout that capture supplies, which is short for a machine under load.
            while not tracing_health().exported and time.monotonic() < deadline:
                client.flush()
            assert tracing_health().exported == 1

        def test_not_flushed(langfuse_tracing):
            langfuse_tracing(**{KAFKA!r}).start_observation(name="a").end()
    """)
    result = app.runpytest("--langfuse-outage=sqs_throttled", "-p", "no:randomly")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["sqs_throttled: *, 0 observations lost"])


FIX = "pip install 'pytest-langfuse[[]kafka]' (for Kafka), or pip install 'pytest-langfuse[[]sqs]' (for SQS)"


def test_without_the_extras_one_sentence_says_what_to_install(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    app.makepyfile("""
        import pytest

        def test_fixture(langfuse_queue):
            pass

        @pytest.mark.langfuse_outage("broker_down")
        def test_marker():
            pass

        def test_block(langfuse_outage):
            with langfuse_outage("hang", "broker_slow", required=False):
                pass

        def test_others(langfuse_outage):
            with langfuse_outage("hang", required=False):
                pass
    """)
    result = app.runpytest("-p", "no:randomly", "--tb=short")
    result.assert_outcomes(passed=1, failed=1, errors=2)
    sentence = f"langfuse_queue and the faults of queues: confluent-kafka is not installed. Fix: {FIX}"
    result.stdout.fnmatch_lines([sentence, sentence, f"*{sentence}"])
    assert "captured_test.py" not in result.stdout.str()
    result = app.runpytest("--langfuse-outage=broker_down")
    result.stderr.fnmatch_lines([f"ERROR: --langfuse-outage: broker_down is a fault of a queue, and *Fix: {FIX}"])
