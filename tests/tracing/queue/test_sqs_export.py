"""`export="sqs"`: spans go to a real SQS server, and count as exported when it has stored them."""

import contextlib
import os
import subprocess
import sys
import textwrap
from collections import Counter

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytest_langfuse.tracing import ConfigError, init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing.delivery import route as route_module
from pytest_langfuse.tracing.delivery import sender as sender_module
from tests.helpers.loopback_langfuse import Reply
from tests.helpers.tracing_waits import until
from tests.tracing.queue.test_sqs_sink import error, service, stored

pytestmark = pytest.mark.usefixtures("fresh", "_impatient", "aws_credentials")


@pytest.fixture
def _impatient(monkeypatch):
    """Pauses between tries in milliseconds: what is tested is how often, not how long."""
    monkeypatch.setattr(route_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(route_module, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(route_module, "_LAST_PAUSE", 0.001)
    monkeypatch.setattr(sender_module, "_LOOK_AGAIN", 0.01)


@pytest.fixture
def settings(keys):
    """Return settings for a queue."""
    return lambda url, **more: {
        **keys,
        "export": "sqs",
        "sqs_queue_url": url,
        "flush_at": 100,
        "flush_interval": 60,
        **more,
    }


def observe(client, *names, **values):
    for name in names:
        with client.start_as_current_observation(name=name, **values):
            client.start_observation(name=f"{name}-child").end()


def spans(message):
    request = ExportTraceServiceRequest.FromString(message.data)
    return [span for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]


def named(messages):
    return Counter(span.name for message in messages for span in spans(message))


def settled(**expected):
    health = tracing_health()
    found = {"exported": health.exported, "buffered": health.buffered, "dropped": dict(health.dropped)}
    assert found == {"exported": 0, "buffered": 0, "dropped": {}, **expected}
    assert health.unaccounted == 0


@pytest.mark.parametrize("fifo", [False, True])
def test_spans_are_in_the_queue_when_they_count_as_exported(settings, sqs, queue, collector, fifo):
    url = queue(fifo=fifo)
    client = init_tracing(**settings(url))
    observe(client, "a", "b", "c")
    client.flush()
    settled(exported=6)

    messages = sqs.messages(url)
    assert named(messages) == dict.fromkeys(("a", "b", "c", "a-child", "b-child", "c-child"), 1)
    assert {message.attributes["x-langfuse-public-key"] for message in messages} == {"pk-lf-test"}
    assert len(messages) == (3 if fifo else 1)
    assert [len({span.trace_id for span in spans(message)}) for message in messages] == ([1, 1, 1] if fifo else [3])
    assert dict(tracing_health().breakers) == {"sqs": "closed"}
    assert tracing_health().healthy
    assert not collector.exports


def test_a_large_trace_is_split_and_what_no_message_takes_is_dropped_and_counted(settings, sqs, queue, lines):
    url = queue(MaximumMessageSize="262144")
    client = init_tracing(**settings(url))
    with client.start_as_current_observation(name="root"):
        for number in range(8):
            client.start_observation(name=f"big{number}", input="x" * 100_000).end()
        client.start_observation(name="huge", input="x" * 300_000).end()
        client.start_observation(name="vast", input="x" * 1_100_000).end()
    client.flush()
    until(lambda: tracing_health().buffered == 0)

    settled(exported=9, dropped={"message_too_large": 2})
    assert named(sqs.messages(url)) == dict.fromkeys(("root", *(f"big{number}" for number in range(8))), 1)
    assert any(line.startswith("SQS refused 1 span (message_too_large): ") for line in lines())


def test_spans_wait_while_the_queue_is_throttled(settings, lines):
    with service((400, error("ThrottlingException", "Rate exceeded")), (200, stored)) as server:
        client = init_tracing(**settings(server.queue))
        observe(client, "a")
        client.flush()
        until(lambda: tracing_health().exported == 2 and len(lines()) > 1)

    settled(exported=2)
    assert lines() == [
        "Spans can't be sent to SQS (sqs_throttled), they are kept: Rate exceeded",
        "SQS is reachable again: sending the buffered spans.",
    ]


def test_a_pause_that_sqs_asks_for_is_kept(settings):
    with service((400, error("ThrottlingException"), "retry-after: 50"), (200, stored)) as server:
        client = init_tracing(**settings(server.queue, breaker_recovery_timeout=60))
        observe(client, "a")
        client.flush()
        until(lambda: tracing_health().last_error is not None)
        observe(client, "b")
        report = shutdown_tracing(2)

        # No second request was made, and the end did not wait for one.
        assert len(server.calls) == 1
        assert (report.exported, report.dropped) == (0, {"shutdown": 4})


def test_a_failover_takes_over_while_the_queue_refuses(settings, collector):
    with service((403, error("AccessDenied"))) as server:
        client = init_tracing(
            **settings(server.queue, export=("sqs", "http"), breaker_failure_threshold=2, breaker_recovery_timeout=60)
        )
        observe(client, "a")
        client.flush()
        until(lambda: tracing_health().exported == 2)

    assert len(server.calls) == 2
    assert dict(tracing_health().breakers) == {"sqs": "open", "http": "closed"}
    assert sorted(collector.accepted) == ["a", "a-child"]


def test_bodies_that_another_export_left_in_the_spool_are_split_for_a_fifo_queue(
    settings, keys, sqs, queue, collector, tmp_path
):
    collector.reply = Reply(503)
    client = init_tracing(
        **keys, spool_path=tmp_path / "spool", flush_at=100, flush_interval=60, breaker_failure_threshold=1
    )
    observe(client, "a", "b", "c")
    assert shutdown_tracing(10).buffered == 6

    url = queue(fifo=True)
    init_tracing(**settings(url, spool_path=tmp_path / "spool"))
    until(lambda: tracing_health().exported == 6)
    messages = sqs.messages(url)
    assert [{span.trace_id.hex() for span in spans(message)} for message in messages] == [
        {message.group} for message in messages
    ]
    assert len(messages) == 3


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch, settings):
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ConfigError, match=r"SQS needs boto3 .*Fix: pip install 'pytest-langfuse\[sqs\]'"):
        init_tracing(**settings("http://127.0.0.1:9/000000000000/q"))


def test_nothing_of_the_application_sees_its_requests(settings, sqs, queue):
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    url = queue()
    with contextlib.ExitStack() as stack:
        URLLib3Instrumentor().instrument()
        stack.callback(URLLib3Instrumentor().uninstrument)
        client = init_tracing(**settings(url, should_export_span=lambda _: True))
        observe(client, "a")
        client.flush()
        settled(exported=2)
        # The application's own requests are traced as ever.
        before = len(memory.get_finished_spans())
        assert named(sqs.messages(url)) == {"a": 1, "a-child": 1}

    assert before == 2
    assert len(memory.get_finished_spans()) > before


APPLICATION = """
    import os, signal, sys, time
    from pytest_langfuse.tracing import init_tracing, shutdown_tracing, tracing_health

    def start(url, **settings):
        return init_tracing(public_key="pk-lf-test", secret_key="sk-lf-test", base_url="http://127.0.0.1:9",
                            sample_rate=1.0, export="sqs", sqs_queue_url=url, **settings)

"""


def run(script, *arguments):
    code = textwrap.dedent(APPLICATION) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_signals_and_the_end_lose_nothing(sqs, queue):
    url = queue()
    done = run(
        """
        client = start(sys.argv[1], flush_interval=60, flush_at=1000)
        client.start_observation(name="parent-1").end()
        client.flush()
        pids = []
        for number in range(3):
            pid = os.fork()
            if pid == 0:
                client.start_observation(name=f"child-{number}").end()
                if number == 0:
                    client.flush()
                    os._exit(tracing_health().exported != 1)
                if number == 1:
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(30)
                sys.exit(0)
            pids.append(pid)
        client.start_observation(name="parent-2").end()
        print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])
        """,
        url,
    )

    assert (done.stdout, done.returncode) == ("[0, -15, 0]\n", 0), done.stderr
    assert named(sqs.messages(url)) == dict.fromkeys(("parent-1", "parent-2", "child-0", "child-1", "child-2"), 1)


@pytest.mark.slow
def test_a_queue_that_hangs_does_not_keep_the_process():
    done = run(
        """
        import socket
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/000000000000/q"
        # Whoever waits for an answer waits longer than the test does.
        client = start(url, timeout=600.0, shutdown_timeout=0.5, flush_interval=0.01)
        client.start_observation(name="a").end()
        connection, _ = listener.accept()
        print(tracing_health().buffered)
        """
    )

    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
    assert "1 are dropped (shutdown)" in done.stderr or "1 is dropped (shutdown)" in done.stderr
