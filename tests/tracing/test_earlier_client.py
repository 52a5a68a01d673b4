"""A `Langfuse(...)` that was built before `init_tracing` is taken over."""

import gc
import inspect
import threading

import pytest
from langfuse import Langfuse, get_client, observe
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from pytest_langfuse.tracing import init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing import singleton as singleton_module
from tests.helpers.loopback_langfuse import Reply

pytestmark = pytest.mark.usefixtures("fresh")


def environments(collector):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = {}
    for seen in collector.exports:
        for resource in ExportTraceServiceRequest.FromString(seen.body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    values = {attribute.key: attribute.value.string_value for attribute in span.attributes}
                    found[span.name] = values.get("langfuse.environment")
    return found


def end(client):
    """End a client that was not taken over, with its connections."""
    client.shutdown()
    client._resources.tracer_provider.shutdown()
    client._resources.httpx_client.close()


def made_by_all_ways(earlier):
    """One span by each way that an application has."""

    @observe(name="decorated")
    def decorated():
        pass

    earlier.start_observation(name="by the earlier client").end()
    get_client().start_observation(name="by get_client").end()
    decorated()
    return ["by get_client", "by the earlier client", "decorated"]


def test_its_spans_go_through_the_pipeline_once(collector, keys, lines):
    earlier = Langfuse(**keys, flush_at=512, flush_interval=3600)
    earlier.start_observation(name="queued").end()
    unfinished = earlier.start_observation(name="open")
    client = init_tracing(**keys)
    expected = ["open", "queued", *made_by_all_ways(earlier)]
    unfinished.end()
    client.flush()

    assert sorted(collector.accepted) == sorted(expected)
    health = tracing_health()
    assert (health.ended, health.exported, health.unaccounted, health.healthy) == (5, 5, 0, True)
    (line,) = [line for line in lines() if "was built before init_tracing()" in line]
    assert line.startswith(
        "A Langfuse client for pk-lf-test was built before init_tracing(). It is taken over, and its spans go through "
        "the pipeline"
    )
    assert shutdown_tracing().exported == 5


def test_its_settings_are_kept_where_none_are_given(collector, keys, lines, monkeypatch):
    monkeypatch.setenv("LANGFUSE_TRACING_ENVIRONMENT", "of-the-variable")
    earlier = Langfuse(
        **keys,
        environment="kept",
        release="r1",
        timeout=7,
        flush_at=9,
        sample_rate=1.0,
        mask=lambda *, data, **_: "masked",
        should_export_span=lambda span: "private" not in span.name,
        additional_headers={"x-team": "shop"},
    )
    client = init_tracing(flush_at=3, sample_rate=1.0)
    config = singleton_module.singleton.installation.config
    assert (config.public_key, config.secret_key, config.base_url) == tuple(keys.values())
    assert (config.environment, config.release, config.timeout, config.flush_at) == ("kept", "r1", 7, 3)
    for one in (earlier, client, get_client()):
        one.start_observation(name="x", input="s3cret").end()
        one.start_observation(name="private").end()
    client.flush()

    assert collector.accepted == ["x"] * 3
    assert environments(collector) == {"x": "kept"}
    bodies = b"".join(seen.body for seen in collector.exports)
    assert b"masked" in bodies
    assert b"s3cret" not in bodies
    assert {seen.headers["x-team"] for seen in collector.exports} == {"shop"}
    (line,) = [line for line in lines() if "was built before init_tracing()" in line]
    assert "of its settings are kept: environment, base_url, release, timeout, additional_headers, mask" in line
    assert "it has flush_at=3 instead of 9 now" in line
    assert "mask" in line
    assert "sk-lf" not in line


def test_what_init_tracing_is_given_wins(collector, keys, lines):
    earlier = Langfuse(**{**keys, "secret_key": "sk-lf-earlier", "base_url": "http://127.0.0.1:9"}, environment="old")
    client = init_tracing(**keys, environment="new")
    expected = made_by_all_ways(earlier)
    client.flush()

    assert environments(collector) == dict.fromkeys(expected, "new")
    (line,) = [line for line in lines() if "was built before init_tracing()" in line]
    assert "environment='new' instead of 'old'" in line
    assert "secret_key=*** instead of ***" in line
    assert "sk-lf" not in line


def test_a_rate_of_the_earlier_client_does_not_hide_errors(collector, keys):
    # langfuse 4.5 takes 0.0 for no rate.
    earlier = Langfuse(**keys, sample_rate=1e-12)
    client = init_tracing(**keys)
    earlier.start_observation(name="fine").end()
    earlier.start_observation(name="bad", level="ERROR").end()
    client.flush()

    assert collector.accepted == ["bad"]
    assert tracing_health().dropped == {"sampled_out": 1}


def test_a_provider_of_the_application_is_kept(collector, keys):
    provider = TracerProvider(shutdown_on_exit=False)
    earlier = Langfuse(**keys, tracer_provider=provider)
    client = init_tracing(**keys)
    earlier.start_observation(name="x").end()
    client.flush()

    assert collector.accepted == ["x"]
    assert trace.get_tracer_provider() is not provider
    assert singleton_module.singleton.installation.pipeline.provider.provider is provider


def test_a_client_of_another_project_is_left_alone(collector, keys, lines):
    other = Langfuse(**{**keys, "public_key": "pk-lf-other"}, flush_at=1)
    client = init_tracing(**keys)
    client.start_observation(name="mine").end()
    other.start_observation(name="theirs").end()
    client.flush()
    other.flush()
    sent = {seen.spans[0]: seen.headers["x-langfuse-public-key"] for seen in collector.exports}

    assert sent == {"mine": "pk-lf-test", "theirs": "pk-lf-other"}
    assert not [line for line in lines() if "was built before" in line]
    end(other)


def test_a_client_that_was_off_is_on(collector, keys):
    off = Langfuse(**keys, tracing_enabled=False)
    client = init_tracing(**keys)
    client.start_observation(name="on").end()
    off.start_observation(name="also").end()
    client.flush()

    assert sorted(collector.accepted) == ["also", "on"]


def test_its_scores_and_prompts_go_the_new_way(collector, keys):
    # The thread of langfuse 4.5 collects scores for so long before it sends any, whoever waits for it.
    earlier = Langfuse(**keys, flush_at=100, flush_interval=2)
    earlier.create_score(name="before", value=1, trace_id="0" * 31 + "1")
    client = init_tracing(**keys)
    earlier.create_score(name="after", value=1, trace_id="0" * 31 + "1")
    client.flush()

    def sent():
        """Those that a thread of the earlier client had taken already come when it ends."""
        bodies = [seen.body for seen in collector.requests if "scores" in seen.path or "ingestion" in seen.path]
        return sorted(name for body in bodies for name in (b"before", b"after") if name in body)

    collector.wait_for(lambda: sent() == [b"after", b"before"])
    collector.reply = Reply(503)
    with pytest.raises(Exception, match="503"):
        earlier.get_prompt("p", max_retries=0)
    assert not tracing_health().healthy


@pytest.mark.slow
def test_no_thread_of_it_is_left(keys):
    before = set(threading.enumerate())
    Langfuse(**keys)
    init_tracing(**keys)
    shutdown_tracing()
    gc.collect()
    left = [thread.name for thread in set(threading.enumerate()) - before if "langfuse-tracing" not in thread.name]
    for thread in threading.enumerate():
        if thread.name == "langfuse-tracing-retire":
            thread.join(10)
    left = [thread for thread in set(threading.enumerate()) - before if "langfuse-tracing" not in thread.name]
    for thread in left:
        thread.join(10)

    assert [thread.name for thread in left if thread.is_alive()] == []


def test_an_exporter_of_its_own_is_named(collector, keys, lines):
    if "span_exporter" not in inspect.signature(Langfuse).parameters:
        pytest.skip("this SDK takes no exporter")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    earlier = Langfuse(**keys, span_exporter=memory)
    client = init_tracing(**keys)
    earlier.start_observation(name="x").end()
    client.flush()

    assert collector.accepted == ["x"]
    assert memory.get_finished_spans() == ()
    assert "its span_exporter is not used any more" in "\n".join(lines())


def test_when_init_fails_the_earlier_client_goes_on(collector, keys, tmp_path):
    earlier = Langfuse(**keys, flush_at=1)
    (tmp_path / "s.lock").mkdir()
    with pytest.raises(ValueError, match="spool_path"):
        init_tracing(**keys, spool_path=tmp_path / "s")
    earlier.start_observation(name="x").end()
    earlier.flush()

    assert collector.accepted == ["x"]
    assert get_client()._resources is earlier._resources
    end(earlier)
