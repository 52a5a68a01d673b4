"""LF012: several clients or tracer providers where the application uses them as if there were one."""

from textwrap import dedent

import pytest
from langfuse import Langfuse, get_client, observe
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.rules.test_lf022 import run


@pytest.fixture(autouse=True)
def fresh(langfuse_fresh_client):
    """Let no client of this file outlive its test."""


def build(key, **settings):
    return Langfuse(public_key=key, secret_key="sk-lf", base_url="http://127.0.0.1:9", **settings)


@observe()
def answer():
    return "Paris"


def test_observe_makes_nothing_between_two_clients(find, langfuse_spans):
    LangfuseResourceManager._instances.clear()
    build("pk-lf-chat")
    build("pk-lf-jobs")
    answer()
    (finding,) = find("LF012")
    assert finding.severity == "error"
    assert (
        "returned a client that makes nothing, since there are 2: pk-lf-chat (tests/rules/test_lf012.py:"
        in finding.text
    )
    assert finding.fix.startswith("pass public_key= to get_client(), and langfuse_public_key= to observed functions")
    assert not langfuse_spans.all("any answer")


def test_get_client_is_named_once(find):
    LangfuseResourceManager._instances.clear()
    build("pk-lf-chat")
    build("pk-lf-jobs")
    for _ in range(3):
        get_client()
    assert len(find("LF012")) == 1


def test_two_projects_on_purpose(find):
    LangfuseResourceManager._instances.clear()
    build("pk-lf-chat", tracer_provider=TracerProvider())
    build("pk-lf-jobs", tracer_provider=TracerProvider())
    answer(langfuse_public_key="pk-lf-chat")
    answer(langfuse_public_key="pk-lf-jobs")
    with get_client(public_key="pk-lf-jobs").start_as_current_observation(name="job"):
        pass
    assert find("LF012") == []


def test_a_client_of_two_projects_on_one_provider(find):
    LangfuseResourceManager._instances.clear()
    build("pk-lf-chat").start_observation(name="a").end()
    build("pk-lf-jobs").start_observation(name="b").end()
    assert find("LF012") == []


def test_one_project_over_two_tracer_providers(find):
    LangfuseResourceManager._instances.clear()
    build("pk-lf-chat", tracer_provider=TracerProvider()).start_observation(name="a").end()
    LangfuseResourceManager._instances.clear()
    build("pk-lf-chat", tracer_provider=TracerProvider()).start_observation(name="b").end()
    (finding,) = find("LF012")
    assert finding.text.startswith(
        "2 tracer providers export to the project pk-lf-chat: 'a' (tests/rules/test_lf012.py:"
    )
    assert finding.text.endswith("have different ones, each with a queue and a shutdown of its own")


def test_a_second_provider_that_exports_elsewhere(find):
    LangfuseResourceManager._instances.clear()
    client = build("pk-lf-chat", tracer_provider=TracerProvider())
    with (
        client.start_as_current_observation(name="a"),
        TracerProvider().get_tracer("db").start_as_current_span("query"),
    ):
        pass
    assert find("LF012") == []


def test_one_client_that_many_ask_for(find):
    LangfuseResourceManager._instances.clear()
    build("pk-lf-chat")
    for _ in range(3):
        get_client()
        answer()
        build("pk-lf-chat")
    assert find("LF012") == []


KEYS_TEXT = "secret_key='sk-lf-app', base_url='http://127.0.0.1:9'"


APP = f"""
    from langfuse import Langfuse, observe
    def make(key):
        return Langfuse(public_key=key, {KEYS_TEXT})
    @observe()
    def answer():
        pass
"""


@pytest.mark.parametrize(
    "tests",
    [
        """
        def test_one():
            app.make("pk-lf-1")
        def test_two():
            app.make("pk-lf-2")
            app.answer()
        """,
        """
        @pytest.fixture(scope="session")
        def of_session():
            return app.make("pk-lf-session")
        def test_two(of_session):
            app.make("pk-lf-2")
            app.answer()
        """,
        f"""
        def test_two():
            langfuse.Langfuse(public_key="pk-lf-1", {KEYS_TEXT})
            app.make("pk-lf-2")
            app.answer()
        """,
        """
        def test_two():
            app.make("pk-lf-1")
            app.make("pk-lf-2")
            langfuse.get_client()
        """,
    ],
    ids=["earlier test", "session fixture", "the test's own", "the test asks"],
)
def test_what_tests_and_fixtures_do_is_not_the_applications(pytester, tests):
    result = run(pytester, app=APP, test_app="import app, langfuse, pytest\n" + dedent(tests))
    assert "failed" not in result.parseoutcomes()


def test_clients_of_two_modules(pytester):
    result = run(
        pytester,
        chat=f"from langfuse import Langfuse\nlangfuse = Langfuse(public_key='pk-lf-1', {KEYS_TEXT})",
        jobs=f"""
            from langfuse import Langfuse, observe
            langfuse = Langfuse(public_key='pk-lf-2', {KEYS_TEXT})
            @observe()
            def work():
                pass
        """,
        test_app="import chat, jobs\ndef test_it():\n    jobs.work()",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["LF012 several clients: get_client() at jobs.py:3 returned *: pk-lf-1 (chat.py:2) and pk-lf-2 (jobs.py:2). *"]
    )


# -- a library's tracer provider -------------------------------------------------------------------------------------

LOGFIRE = "logfire.openai_agents"


class ShowParentsConsoleSpanExporter(SpanExporter):
    """As logfire's is called, which it has by default."""

    def export(self, spans):
        return SpanExportResult.SUCCESS


class Wrapper(SpanProcessor):
    """A processor around another one, as logfire has several."""

    def __init__(self, processor):
        self.processor = processor

    def on_end(self, span):
        self.processor.on_end(span)


class Collecting(SpanProcessor):
    def on_end(self, span):
        pass


def agent(*processors, operation="chat"):
    """A run of openai-agents as logfire records it, with a tracer provider of its own."""
    provider = TracerProvider()
    for processor in processors:
        provider.add_span_processor(processor)
    tracer = provider.get_tracer(LOGFIRE)
    with tracer.start_as_current_span("Agent run"):
        for _ in range(2):
            with tracer.start_as_current_span("Chat completion") as span:
                if operation:
                    span.set_attributes({"gen_ai.operation.name": operation, "gen_ai.request.model": "gpt-4o"})


@pytest.mark.parametrize(
    "processors", [[], [SpanProcessor(), Wrapper(SimpleSpanProcessor(ShowParentsConsoleSpanExporter()))]]
)
def test_model_calls_with_a_tracer_provider_at_which_langfuse_is_not(client, find, processors):
    agent(*processors)
    (finding,) = find("LF012")
    assert finding.text.startswith("'Chat completion' (tests/rules/test_lf012.py:")
    assert finding.text.endswith(
        ") and 1 more of 'logfire.openai_agents' have a tracer provider of their own, at which Langfuse is not, and "
        "which exports nowhere"
    )
    assert finding.fix.startswith("set logfire up before the first Langfuse client, which then takes its tracer prov")


@pytest.mark.parametrize("second", [Wrapper(SimpleSpanProcessor(InMemorySpanExporter())), Collecting()])
def test_a_second_backend(client, find, second):
    agent(SimpleSpanProcessor(ShowParentsConsoleSpanExporter()), second)
    assert find("LF012") == []


def test_other_spans_of_such_a_provider(client, find):
    agent(operation="")
    assert find("LF012") == []


def test_model_calls_of_an_application_without_langfuse(client, find):
    LangfuseResourceManager._instances.clear()
    agent()
    assert find("LF012") == []
