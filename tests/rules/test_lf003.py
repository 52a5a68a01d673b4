"""LF003: an observation whose parent is not exported."""

from importlib.metadata import version

import pytest
from langfuse import Langfuse
from opentelemetry import trace as otel_trace
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.trace import TracerProvider


def lines(findings) -> list[str]:
    return [str(finding) for finding in findings]


@pytest.fixture
def tracer(client):
    """The tracer of the application's own instrumentation, which Langfuse's default filter leaves out."""
    return otel_trace.get_tracer("bot.pipeline")


def pipeline(langfuse, tracer, names=("search",)) -> None:
    with langfuse.start_as_current_observation(name="answer"), tracer.start_as_current_span("step"):
        for name in names:
            langfuse.start_observation(name=name).end()


def test_a_parent_that_is_filtered_out(client, tracer, find):
    pipeline(client, tracer)
    (line,) = lines(find("LF003"))
    assert line == (
        "LF003 dangling parent: 'search' (tests/rules/test_lf003.py:25) has the parent 'step' "
        "(tests/rules/test_lf003.py:23), which is not exported (default span filter): Langfuse shows it beside "
        "the rest of the trace. Fix: keep the spans of 'bot.pipeline' with should_export_span=, or call "
        "init_tracing() of pytest_langfuse.tracing, which moves observations below the nearest parent that is exported."
    )


def test_one_finding_for_a_parent(client, tracer, find):
    pipeline(client, tracer, ["one", "two", "three"])
    (finding,) = find("LF003")
    assert finding.text.startswith("'one' (tests/rules/test_lf003.py:25) and 2 more have the parent 'step'")


def test_a_service_that_is_called_through_spans_that_are_not_exported(client, tracer, find, langfuse_spans):
    """The client's span and the server's are filtered out: the two services' parts of the trace are not joined."""
    with client.start_as_current_observation(name="ask"), tracer.start_as_current_span("HTTP GET"):
        inject(headers := {})
    with tracer.start_as_current_span("GET /", context=extract(headers)):
        client.start_observation(name="answer").end()
    assert len(langfuse_spans.traces) == 1
    (finding,) = find("LF003")
    assert finding.text.startswith("'answer' (")
    assert "has the parent 'GET /'" in finding.text


def test_a_parent_that_was_dropped(client, find):
    provider = TracerProvider()
    other = Langfuse(
        public_key="pk-lf-2", secret_key="sk-lf-2", base_url="http://127.0.0.1:9", tracer_provider=provider
    )
    with other.start_as_current_observation(name="answer"):
        client.start_observation(name="search").end()
        provider.shutdown()
    (finding,) = find("LF003")
    assert "its span processor had been shut down when it ended" in finding.text
    assert finding.fix.startswith("mend what drops 'answer'")


def test_two_projects_on_purpose(client, find, langfuse_fresh_client):
    one, two = (
        langfuse_fresh_client(public_key=f"pk-lf-{name}", secret_key="sk-lf", base_url="http://127.0.0.1:9")
        for name in ("one", "two")
    )
    with one.start_as_current_observation(name="answer"):
        two.start_observation(name="search").end()
    assert find("LF003") == []


def exported_parent(langfuse, tracer) -> None:
    with langfuse.start_as_current_observation(name="answer"):
        langfuse.start_observation(name="search").end()


def seeded_trace(langfuse, tracer) -> None:
    context = {"trace_id": langfuse.create_trace_id(seed="order 1")}
    langfuse.start_observation(name="answer", trace_context=context).end()


def given_parent(langfuse, tracer) -> None:
    context = {"trace_id": langfuse.create_trace_id(seed="order 1"), "parent_span_id": "00f067aa0ba902b7"}
    langfuse.start_observation(name="answer", trace_context=context).end()


def parent_still_runs(langfuse, tracer) -> None:
    span = tracer.start_span("GET /")
    with otel_trace.use_span(span):
        langfuse.start_observation(name="answer").end()


def filtered_parent_still_runs(langfuse, tracer) -> None:
    with langfuse.start_as_current_observation(name="answer"), otel_trace.use_span(tracer.start_span("step")):
        langfuse.start_observation(name="search").end()


def filtered_with_nothing_below(langfuse, tracer) -> None:
    with langfuse.start_as_current_observation(name="answer"):
        tracer.start_span("SELECT").end()


@pytest.mark.parametrize(
    "run",
    [
        exported_parent,
        seeded_trace,
        given_parent,
        parent_still_runs,
        filtered_parent_still_runs,
        filtered_with_nothing_below,
    ],
)
def test_silent(client, tracer, find, langfuse_spans, run):
    run(client, tracer)
    assert len(langfuse_spans) > 0
    assert lines(find("LF003")) == []


def test_silent_for_what_the_sdk_marks_as_root(client, tracer, find, langfuse_spans):
    """FastAPI traces its requests itself; Langfuse takes what is exported at the top for a root."""
    with tracer.start_as_current_span("GET /"):
        client.start_observation(name="answer").end()
        client.start_observation(name="rate").end()
    # langfuse 4.5 marks nothing, later ones do.
    is_marked = all(observation.is_app_root for observation in langfuse_spans)
    assert is_marked or version("langfuse").startswith("4.")
    assert (find("LF003") == []) is is_marked
