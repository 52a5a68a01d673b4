"""An observation whose parent Langfuse does not get is exported below its nearest ancestor that it gets."""

import contextlib
import gc
import subprocess
import sys
import threading

import pytest
from langfuse import Langfuse
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytest_langfuse.recording import decode_otlp
from pytest_langfuse.tracing import extract_context, init_tracing, inject_headers, shutdown_tracing, tracing_health
from pytest_langfuse.tracing.exported_ancestor import MOST_LATE, exported_ancestors
from pytest_langfuse.tracing.langfuse_internals import IS_APP_ROOT, METADATA_IS_JSON
from tests.helpers.loopback_langfuse import TRACES

pytestmark = pytest.mark.usefixtures("fresh")

FILTERED = "pytest_langfuse.filtered_parent_id"
REMOTE = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}


@pytest.fixture
def start(keys):
    """`init_tracing` that sends nothing before it is flushed."""
    return lambda **settings: init_tracing(**{**keys, "flush_at": 1000, "flush_interval": 60.0, **settings})


@pytest.fixture
def library():
    """A tracer whose spans Langfuse's default filter drops; ask for it after `start`."""
    return lambda name: trace.get_tracer("a.library").start_as_current_span(name)


@pytest.fixture
def exported(collector):
    """Flush, and return what has arrived by name."""

    def read(client):
        client.flush()
        bodies = [request.body for request in collector.requests if request.path == TRACES]
        return {one.name: one for body in bodies for one in decode_otlp(body)}

    return read


def parents(found):
    names = {one.id: name for name, one in found.items()}
    return {name: names.get(one.parent_id, one.parent_id) for name, one in found.items()}


def attributes(observation):
    return {one.key: one.value.string_value for one in observation.span.attributes}


def span_id(span):
    return trace.format_span_id(span.get_span_context().span_id)


def test_the_nearest_exported_ancestor_is_the_parent(start, library, exported):
    client = start()
    with client.start_as_current_observation(name="a"):
        with library("x"), library("y") as y, client.start_as_current_observation(name="b"):
            client.start_observation(name="c").end()
        with library("z"):
            pass

    found = exported(client)
    assert parents(found) == {"a": None, "b": "a", "c": "b"}
    assert attributes(found["b"])[FILTERED] == span_id(y)
    assert FILTERED not in attributes(found["c"])
    assert tracing_health().reparented == 1
    if METADATA_IS_JSON:  # version 5 of the SDK, which marks the application's root
        assert {name: one.is_app_root for name, one in found.items()} == {"a": True, "b": False, "c": False}


def test_without_an_exported_ancestor_it_is_a_root(start, library, exported):
    client = start()
    with library("server"), library("handler"), client.start_as_current_observation(name="a", input="i") as a:
        a.update(output="o")
        client.start_observation(name="b").end()

    found = exported(client)
    assert parents(found) == {"a": None, "b": "a"}
    assert found["a"].is_root


def test_a_root_is_exported_while_its_filtered_ancestor_is_open(start, library, exported):
    client = start(flush_at=1)
    with library("server"):
        client.start_observation(name="a").end()
        assert parents(exported(client)) == {"a": None}


def test_only_the_first_observation_is_the_applications_root(start, library, exported):
    """The SDK marks each one whose parent is not exported."""
    client = start()
    tracer = trace.get_tracer("an.instrumentation")
    with tracer.start_as_current_span("chat", attributes={"gen_ai.system": "x"}), library("x"):
        observation = client.start_observation(name="a")
        marked = IS_APP_ROOT in observation._otel_span.attributes
        observation.end()

    found = exported(client)
    assert parents(found) == {"chat": None, "a": "chat"}
    assert marked == METADATA_IS_JSON
    assert not found["a"].is_app_root


def test_a_parent_in_another_process_stays(start, library, exported):
    client = start()
    token = otel_context.attach(extract_context(REMOTE))
    with library("server"), library("handler"):
        client.start_observation(name="a").end()
    client.start_observation(name="b").end()
    otel_context.detach(token)

    found = exported(client)
    assert parents(found) == {"a": "2" * 16, "b": "2" * 16}
    if METADATA_IS_JSON:
        assert found["a"].is_app_root
    assert tracing_health().reparented == 1


def test_a_parent_that_was_made_up_to_carry_an_id_stays(start, exported):
    client = start()
    client.start_observation(name="a", trace_context={"trace_id": "3" * 32, "parent_span_id": "4" * 16}).end()

    assert parents(exported(client)) == {"a": "4" * 16}
    assert tracing_health().reparented == 0


def late(span):
    """A filter that decides by what is set while a span is open."""
    return "keep" in (span.attributes or {}) if span.instrumentation_scope.name == "a.library" else True


@pytest.mark.parametrize("flush_at", [1, 1000])
def test_an_ended_ancestor_is_judged_by_the_attributes_that_it_ended_with(start, library, exported, flush_at):
    client = start(should_export_span=late, flush_at=flush_at)
    with library("kept") as kept, library("dropped"):
        kept.set_attribute("keep", value=True)
        client.start_observation(name="a").end()

    assert parents(exported(client)) == {"kept": None, "a": "kept"}


def test_an_open_ancestor_is_judged_by_the_attributes_that_it_has(start, library, exported):
    client = start(should_export_span=late)
    with library("x") as x:
        client.start_observation(name="early").end()
        early = parents(exported(client))
        x.set_attribute("keep", value=True)
        client.start_observation(name="a").end()
        assert exported(client)["a"].parent_id == span_id(x)
    assert early == {"early": None}


def test_an_ancestor_that_is_turned_down_only_when_it_ends(start, library, exported):
    client = start(should_export_span=lambda span: span.end_time is None or span.name not in {"x", "y"})
    with client.start_as_current_observation(name="a"), library("x"), library("y"):
        client.start_observation(name="b").end()

    assert parents(exported(client)) == {"a": None, "b": "a"}


def test_a_filter_that_fails_turns_down(start, library, exported, lines):
    def failing(span):
        if span.name == "x":
            raise ValueError("boom")
        return True

    client = start(should_export_span=failing)
    with client.start_as_current_observation(name="a"), library("x"):
        client.start_observation(name="b").end()

    assert parents(exported(client)) == {"a": None, "b": "a"}
    assert any("asking should_export_span" in line and "boom" in line for line in lines())


def test_observations_that_the_filter_turns_down(start, exported):
    client = start(should_export_span=lambda span: span.name != "x")
    with (
        client.start_as_current_observation(name="a"),
        client.start_as_current_observation(name="x"),
        client.start_as_current_observation(name="b"),
    ):
        pass

    assert parents(exported(client)) == {"a": None, "b": "a"}


@pytest.mark.slow
def test_observations_of_another_project(start, exported):
    client = start()
    provider = trace.get_tracer_provider()
    other = Langfuse(public_key="pk-lf-other", secret_key="sk-lf-other", base_url="http://127.0.0.1:9", timeout=1)
    assert other._resources.tracer_provider is provider
    with client.start_as_current_observation(name="a"), other.start_as_current_observation(name="x"):
        client.start_observation(name="b").end()

    assert parents(exported(client)) == {"a": None, "b": "a"}


def test_spans_of_another_tracer_provider(start, exported):
    client = start()
    foreign = TracerProvider().get_tracer("foreign")
    with client.start_as_current_observation(name="a"), foreign.start_as_current_span("x"):
        client.start_observation(name="b").end()
    with foreign.start_as_current_span("y"):
        client.start_observation(name="c").end()

    assert parents(exported(client)) == {"a": None, "b": "a", "c": None}


def test_spans_of_another_tracer_provider_between_two_observations(start, exported):
    client = start()
    foreign = TracerProvider().get_tracer("foreign").start_as_current_span

    def observe(number):
        with client.start_as_current_observation(name=f"a{number}"), foreign("x"), foreign("y"):
            client.start_observation(name=f"b{number}").end()

    with foreign("first"):
        client.start_observation(name="c").end()
    observe(1)
    observe(2)

    assert parents(exported(client)) == {"c": None, "a1": None, "b1": "a1", "a2": None, "b2": "a2"}


@pytest.mark.slow
def test_what_starts_and_ends_after_its_filtered_parent(start, library, exported):
    client = start()
    with client.start_as_current_observation(name="a"), library("x"):
        inside = otel_context.get_current()
    exported(client)
    gc.collect()

    def background(inside):
        token = otel_context.attach(inside)
        with library("y"), client.start_as_current_observation(name="b"):
            pass
        otel_context.detach(token)

    thread = threading.Thread(target=background, args=(inside,))
    del inside
    thread.start()
    thread.join()

    assert parents(exported(client)) == {"a": None, "b": "a"}


@pytest.mark.slow
def test_other_exporters_see_the_spans_as_the_application_made_them(start, library, exported):
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    client = start()
    with client.start_as_current_observation(name="a"), library("x"):
        client.start_observation(name="b").end()

    assert parents(exported(client)) == {"a": None, "b": "a"}
    spans = {span.name: span for span in memory.get_finished_spans()}
    assert spans["b"].parent == spans["x"].get_span_context()
    assert spans["x"].parent == spans["a"].get_span_context()
    assert FILTERED not in spans["b"].attributes


def test_links_and_events_are_kept(start, library, exported, collector):
    client = start()
    with library("x") as x, client.start_as_current_observation(name="a"):
        span = trace.get_current_span()
        span.add_event("happened")
        span.add_link(x.get_span_context())

    one = exported(client)["a"].span
    assert ([event.name for event in one.events], len(one.links)) == (["happened"], 1)


def test_headers_name_the_ancestor_that_the_export_names(start, library, exported):
    client = start()
    with client.start_as_current_observation(name="a") as a, library("x"):
        assert a.id in inject_headers({})["traceparent"]
        with client.start_as_current_observation(name="b") as b, library("y"):
            assert b.id in inject_headers({})["traceparent"]

    assert parents(exported(client)) == {"a": None, "b": "a"}


def test_headers_without_an_exported_ancestor_say_so(start, library):
    start()
    with library("x") as x:
        headers = inject_headers({"tracestate": "other=1"})

    assert headers["traceparent"].split("-")[2] == span_id(x)
    assert headers["tracestate"] == f"pytest-langfuse={span_id(x)}-{'0' * 16}"


def test_headers_that_other_instrumentations_inject_say_who_stands_for_their_span(start, library):
    client = start()
    carrier, inner, own = {}, {}, {}
    token = otel_context.attach(extract_context({**REMOTE, "tracestate": "other=1,pytest-langfuse=9"}))
    with client.start_as_current_observation(name="a") as a:
        propagate.inject(own)
        with library("client") as x:
            propagate.inject(carrier)
            with library("inner") as y:
                propagate.inject(inner)
    otel_context.detach(token)

    assert carrier["traceparent"].split("-")[2] == span_id(x)
    assert carrier["tracestate"] == f"pytest-langfuse={span_id(x)}-{a.id},other=1"
    assert inner["tracestate"] == f"pytest-langfuse={span_id(y)}-{a.id},other=1"
    assert own["tracestate"] == "other=1,pytest-langfuse=9"
    shutdown_tracing()
    assert isinstance(propagate.get_global_textmap(), CompositePropagator)


@pytest.mark.parametrize(
    ("state", "parent"),
    [
        (f"{'2' * 16}-{'3' * 16}", "3" * 16),
        (f"{'2' * 16}-{'0' * 16}", None),
        # Of a span further up, which was handed on.
        (f"{'4' * 16}-{'3' * 16}", "2" * 16),
        ("nonsense", "2" * 16),
    ],
)
@pytest.mark.parametrize("between", [[], ["server", "handler"]])
def test_who_stands_for_a_callers_span(start, library, exported, state, parent, between):
    client = start()
    token = otel_context.attach(propagate.extract({**REMOTE, "tracestate": f"pytest-langfuse={state}"}))
    with contextlib.ExitStack() as stack:
        for name in between:
            stack.enter_context(library(name))
        client.start_observation(name="a").end()
    otel_context.detach(token)

    assert parents(exported(client)) == {"a": parent}


@pytest.mark.parametrize(("headers", "parent"), [({}, None), (REMOTE, "2" * 16)])
def test_what_is_kept_of_a_trace_whose_first_part_was_sampled_out(start, library, exported, headers, parent):
    client = start(sample_rate=0.0)
    token = otel_context.attach(extract_context(headers))
    with client.start_as_current_observation(name="request"), library("x"):
        inside = otel_context.get_current()
    otel_context.attach(inside)
    with library("task"), client.start_as_current_observation(name="a") as a:
        a.update(level="ERROR")
        client.start_observation(name="b").end()
    client.start_observation(name="c", level="ERROR").end()
    otel_context.detach(token)

    assert parents(exported(client)) == {"a": parent, "b": "a", "c": parent}
    assert tracing_health().dropped == {"sampled_out": 1}


def test_it_can_be_switched_off(start, library, exported):
    client = start(reparent_filtered=False)
    with library("x") as x:
        client.start_observation(name="a").end()

    assert exported(client)["a"].parent_id == span_id(x)
    assert tracing_health().reparented == 0


@pytest.mark.slow
def test_nothing_is_kept_of_spans_that_nobody_refers_to(collector):
    """In a process of its own: a recorder of this one keeps the spans that it has seen."""
    script = f"""
import gc
from opentelemetry import trace
from pytest_langfuse.tracing import init_tracing
from pytest_langfuse.tracing.exported_ancestor import exported_ancestors

client = init_tracing(public_key="pk-lf-1", secret_key="sk-lf-1", base_url={collector.url!r}, flush_at=1000)
library = trace.get_tracer("a.library").start_as_current_span
for _ in range(100):
    with library("x"), library("y"):
        client.start_observation(name="a").end()
print(len(exported_ancestors._unsure) > 0)
client.flush()
gc.collect()
print(exported_ancestors._unsure)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "{}"]


@pytest.mark.slow
def test_spans_that_are_turned_down_at_their_end_are_remembered_within_a_limit(start):
    start(should_export_span=lambda span: span.end_time is None)
    for _ in range(MOST_LATE + 10):
        trace.get_tracer("a.library").start_span("x").end()

    assert len(exported_ancestors._late) == MOST_LATE


def test_a_span_that_is_certain_costs_no_question(start, exported):
    asked = []

    def counting(span):
        asked.append(span.name)
        return True

    client = start(should_export_span=counting)
    with client.start_as_current_observation(name="a"):
        for _ in range(10):
            client.start_observation(name="b").end()
    exported(client)

    # The SDK asks at the end, version 5 also at the start; we ask once, at the start.
    assert len(asked) <= 11 * 3
