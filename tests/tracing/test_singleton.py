"""One pipeline per process, however often and from wherever it is asked for."""

import asyncio
import atexit
import threading

import pytest
from langfuse import Langfuse, get_client, observe
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.test.concurrency_test import ConcurrencyTestBase

from pytest_langfuse.tracing import (
    ConfigError,
    ShutdownReport,
    TracingConfig,
    get_langfuse_client,
    init_tracing,
    langfuse_internals,
    safe_trace,
    shutdown_tracing,
    tracing_health,
)
from pytest_langfuse.tracing import singleton as singleton_module
from tests.helpers.loopback_langfuse import Reply

pytestmark = pytest.mark.usefixtures("fresh")


def observe_one(name="one"):
    with get_langfuse_client().start_as_current_observation(name=name):
        pass


def test_spans_arrive_with_keys_environment_and_release(collector, keys):
    client = init_tracing(**keys, environment="staging", release="1.4.2", sample_rate=1.0)
    with client.start_as_current_observation(name="answer", as_type="generation", model="m"):
        pass
    report = shutdown_tracing()

    assert collector.accepted == ["answer"]
    sent = collector.exports[0]
    assert sent.headers["authorization"].startswith("Basic ")
    assert sent.headers["x-langfuse-public-key"] == "pk-lf-test"
    assert sent.headers["x-langfuse-ingestion-version"] == "4"
    assert sent.headers["content-type"] == "application/x-protobuf"
    assert b"langfuse.environment" in sent.body
    assert b"staging" in sent.body
    assert b"1.4.2" in sent.body
    assert (report.exported, report.buffered, report.dropped, report.timed_out) == (1, 0, {}, False)


def test_the_resource_says_it_also_for_spans_of_other_libraries(keys):
    init_tracing(**keys, environment="staging", release="7")
    resource = trace.get_tracer_provider().resource

    assert resource.attributes["langfuse.environment"] == "staging"
    assert resource.attributes["langfuse.release"] == "7"
    assert resource.attributes["service.name"]


def test_it_is_idempotent(keys, lines):
    first = init_tracing(**keys)

    assert init_tracing(**keys) is first
    assert init_tracing() is first
    assert get_langfuse_client() is first
    assert lines() == []


def test_the_clients_of_observed_functions_are_the_same_pipeline(collector, keys):
    init_tracing(**keys)

    @observe()
    def answer():
        return get_client().get_current_trace_id()

    assert answer()
    assert shutdown_tracing().exported == 1
    assert collector.accepted == ["answer"]


def test_another_configuration_is_told_by_field_once_and_without_secrets(keys, lines):
    init_tracing(**keys, flush_at=3)
    for _ in range(3):
        init_tracing(**{**keys, "secret_key": "sk-lf-other"}, flush_at=4, environment="qa")

    (line,) = lines()
    assert "flush_at stays 3 (asked: 4)" in line
    assert "environment stays 'development' (asked: 'qa')" in line
    assert "secret_key stays as it was (asked: ***)" in line
    assert "public_key" not in line
    assert "sk-lf" not in line


def test_a_configuration_object_counts_as_asked_for_only_where_it_says_something(keys, lines):
    init_tracing(**keys, environment="staging", sample_rate=0.75)
    init_tracing(TracingConfig(**keys, environment="staging"))

    assert lines() == []


def test_a_configuration_object_is_completed_from_the_environment(collector, monkeypatch):
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-env")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-env")
    monkeypatch.setenv("LANGFUSE_BASE_URL", collector.url)
    monkeypatch.setenv("LANGFUSE_TIMEOUT", "3")
    init_tracing(TracingConfig(timeout=2.0))
    observe_one()
    shutdown_tracing()

    assert collector.exports[0].headers["x-langfuse-public-key"] == "pk-lf-env"


def test_bad_settings_leave_nothing_behind(keys):
    with pytest.raises(ConfigError, match="flush_at=0"):
        init_tracing(**keys, flush_at=0)
    with pytest.raises(TypeError, match="did you mean 'release'"):
        init_tracing(**keys, relase="1")

    assert singleton_module.singleton.installation is None


@pytest.mark.parametrize("given", [{}, {"public_key": "pk-lf-1"}, {"secret_key": "sk-lf-1"}])
def test_without_keys_one_line_and_the_app_runs(given, lines):
    client = init_tracing(**given)

    @observe()
    def observed():
        return 1

    @safe_trace
    def traced():
        return 2

    for _ in range(3):
        with client.start_as_current_observation(name="x") as observation:
            observation.update(output=1)
        client.create_score(name="s", value=1, trace_id="a" * 32)
        assert (observed(), traced()) == (1, 2)
    client.flush()
    report = shutdown_tracing()

    (line,) = lines()
    assert line.startswith("Tracing is off: set ")
    for name in {"public_key", "secret_key"} - set(given):
        assert f"LANGFUSE_{name.upper()}" in line
    assert report == ShutdownReport(elapsed=report.elapsed)


def test_the_sdk_warns_of_missing_keys_again_after_the_shutdown(lines):
    init_tracing()
    shutdown_tracing()
    Langfuse()

    assert any("without public_key" in line for line in lines())


@pytest.mark.slow
@pytest.mark.parametrize(
    "off", [{"LANGFUSE_TRACING_ENABLED": "false"}, {"OTEL_SDK_DISABLED": "true"}, {"LANGFUSE_SAMPLE_RATE": "0"}]
)
def test_each_way_of_switching_it_off_is_inert(monkeypatch, collector, keys, off):
    for name, value in off.items():
        monkeypatch.setenv(name, value)
    client = init_tracing(**keys)

    @safe_trace
    def traced():
        with client.start_as_current_observation(name="inner"):
            return client.get_current_trace_id() or "none"

    assert traced()
    client.flush()
    report = shutdown_tracing()

    assert collector.accepted == []
    assert (report.exported, report.timed_out) == (0, False)


def test_a_provider_of_the_application_is_respected(collector, keys):
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    trace.set_tracer_provider(provider)
    init_tracing(**keys)
    observe_one()

    assert trace.get_tracer_provider() is provider
    assert shutdown_tracing().exported == 1
    assert b"shop" in collector.exports[0].body
    provider.shutdown()


def test_shutdown_before_init():
    assert shutdown_tracing() == ShutdownReport()


def test_shutdown_twice_gives_the_same_report(keys):
    init_tracing(**keys)
    observe_one()
    report = shutdown_tracing()

    assert report.exported == 1
    assert shutdown_tracing() == report


def test_init_after_shutdown_works_with_other_settings(collector, keys):
    init_tracing(**keys, environment="one")
    observe_one("first")
    shutdown_tracing()
    init_tracing(**{**keys, "public_key": "pk-lf-other"}, environment="two")
    observe_one("second")
    report = shutdown_tracing()
    init_tracing(**keys, environment="three")
    observe_one("third")
    shutdown_tracing()

    assert collector.accepted == ["first", "second", "third"]
    assert report.exported == 1
    assert [seen.headers["x-langfuse-public-key"] for seen in collector.exports] == [
        "pk-lf-test",
        "pk-lf-other",
        "pk-lf-test",
    ]


def test_nothing_is_set_up_again_behind_the_apps_back_after_a_shutdown(keys):
    init_tracing(**keys)
    shutdown_tracing()

    @safe_trace
    def late():
        return 1

    assert late() == 1
    assert singleton_module.singleton.installation is None


def test_a_span_that_ends_after_the_shutdown_is_counted_and_said_to_be_lost(keys, lines):
    client = init_tracing(**keys)
    late = [client.start_observation(name=f"late {number}") for number in range(3)]
    shutdown_tracing()
    for observation in late:
        observation.end()

    (line,) = lines()
    assert line.startswith("'late 0' ended after tracing was shut down: this span, and any that end from now on, is dr")
    health = tracing_health()
    assert (health.ended, health.dropped, health.buffered, health.enabled) == (3, {"after_shutdown": 3}, 0, False)
    init_tracing(**keys)
    observe_one()
    assert shutdown_tracing().exported == 1
    assert tracing_health().dropped == {}


def test_after_the_shutdown_no_client_sends_anything(collector, keys, lines, monkeypatch):
    """The environment has all that it takes to build a client without the application's mask."""
    for name in ("public_key", "secret_key", "base_url"):
        monkeypatch.setenv(f"LANGFUSE_{name.upper()}", keys[name])
    first = init_tracing(mask=lambda data, **_: "masked")
    shutdown_tracing()
    before = set(threading.enumerate())

    @observe()
    def observed():
        return "secret"

    @safe_trace
    def traced():
        return "secret"

    def late():
        assert get_langfuse_client() is first
        assert (observed(), traced()) == ("secret", "secret")
        for client in (get_langfuse_client(), get_client(), Langfuse()):
            client.start_observation(name="late", input="secret").end()
            client.flush()

    thread = threading.Thread(target=late)
    thread.start()
    thread.join()

    assert collector.exports == []
    assert {thread for thread in threading.enumerate() if "process_request" not in thread.name} <= before
    health = tracing_health()
    assert (health.ended, health.dropped, health.reason) == (5, {"after_shutdown": 5}, "tracing was shut down")
    (line,) = lines()
    assert "ended after tracing was shut down" in line

    init_tracing(flush_at=1)
    observed()
    assert shutdown_tracing().exported == 1
    assert tracing_health().dropped == {}


def test_a_filtered_span_that_ends_after_the_shutdown_does_not_count(keys, lines):
    init_tracing(**keys, should_export_span=lambda span: span.name != "filtered")
    shutdown_tracing()
    for name in ("filtered", "late"):
        get_langfuse_client().start_observation(name=name).end()

    assert tracing_health().dropped == {"after_shutdown": 1}


def test_no_thread_stays_behind(keys):
    before = set(threading.enumerate())
    for _ in range(3):
        init_tracing(**keys)
        observe_one()
        shutdown_tracing()

    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert [name for name in left if "process_request_thread" not in name] == []  # the collector's own


async def test_shutdown_from_asyncio(collector, keys):
    init_tracing(**keys)
    observe_one()
    report = await asyncio.to_thread(shutdown_tracing)
    assert report.exported == 1

    init_tracing(**keys)
    observe_one()
    assert shutdown_tracing().exported == 1


class TestThreads(ConcurrencyTestBase):
    def test_one_installation_for_sixty_four_threads(self):
        clients = self.run_with_many_threads(
            lambda: init_tracing(
                public_key="pk-lf-t", secret_key="sk-lf-t", base_url="http://127.0.0.1:9", shutdown_timeout=0
            ),
            num_threads=64,
        )
        assert len({id(client) for client in clients}) == 1
        reports = self.run_with_many_threads(lambda: shutdown_tracing(2.0), num_threads=16)
        assert all(report.exported == 0 for report in reports)
        assert singleton_module.singleton.installation is None


def test_nothing_is_sent_after_a_shutdown_that_timed_out(collector, keys):
    collector.reply = Reply(hang=True)
    init_tracing(**keys, timeout=1.0)
    sender = singleton_module.singleton.installation.pipeline.sender
    observe_one()
    # A request is under way and will fail by its own timeout.
    collector.wait_for(lambda: collector.requests)
    report = shutdown_tracing(timeout=0.1)
    assert (report.timed_out, report.dropped) == (True, {"shutdown": 1})

    sender.join(30.0)
    assert not sender.alive
    assert len(collector.requests) == 1


@pytest.mark.slow
def test_a_shutdown_tries_until_its_deadline(collector, keys):
    """Langfuse is restarted: it refuses for longer than a few attempts take."""
    collector.reply = lambda _: Reply(503) if len(collector.requests) < 5 else Reply()
    init_tracing(**keys, flush_at=500, flush_interval=600)
    observe_one()
    report = shutdown_tracing(timeout=30.0)

    assert (report.exported, report.timed_out) == (1, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "settings"),
    [(Reply(hang=True), {}), (Reply(503), {"breaker_failure_threshold": 2})],
    ids=["deadline", "breaker open"],
)
def test_a_shutdown_that_leaves_spans_says_so_once(collector, keys, lines, reply, settings):
    collector.reply = reply
    init_tracing(**keys, flush_at=500, flush_interval=600, **settings)
    for _ in range(3):
        observe_one()
    report = shutdown_tracing(timeout=0.5)

    assert report.dropped == {"shutdown": 3}
    (line,) = [line for line in lines() if "did not accept all spans" in line]
    assert "3 are dropped (shutdown)" in line


@pytest.mark.slow
def test_no_thread_waits_for_langfuse_after_a_shutdown_that_timed_out(collector, keys):
    """Not those of the SDK either: a score is being sent, and a media file uploaded."""
    before = set(threading.enumerate())
    collector.reply = Reply(hang=True)
    client = init_tracing(**keys, timeout=3600.0)
    observe_one()
    client.create_score(name="s", value=1, trace_id="a" * 32)
    collector.wait_for(lambda: len({seen.path for seen in collector.requests}) == 2)
    assert shutdown_tracing(timeout=0.1).timed_out

    def left():
        return [thread for thread in threading.enumerate() if thread not in before and "langfuse" in thread.name]

    collector.wait_for(lambda: not left())


def test_the_exit_handlers_of_the_sdk_are_off_from_the_start(keys, monkeypatch):
    """Python 3.14 calls those that are taken off while it ends."""
    taken_off, unregister = [], atexit.unregister
    monkeypatch.setattr(atexit, "unregister", lambda function: taken_off.append(function) or unregister(function))
    resources = langfuse_internals.resources_of(init_tracing(**keys))

    assert resources.shutdown in taken_off


@pytest.mark.parametrize(
    "variable", ["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", None]
)
@pytest.mark.usefixtures("fresh")
def test_a_limit_that_cuts_json_is_said(keys, lines, monkeypatch, variable):
    if variable is not None:
        monkeypatch.setenv(variable, "128")
    init_tracing(**keys)
    found = [line for line in lines() if "cuts values" in line]

    assert len(found) == (variable is not None)
    assert all("after 128 characters" in line for line in found)
