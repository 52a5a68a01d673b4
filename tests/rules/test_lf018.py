"""LF018: sampling that drops traces with errors."""

import asyncio
import re
import sysconfig
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from typing import Any

import pytest
from langfuse import Langfuse, observe
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context

#: Turns practically every trace down.
RATE = 1e-9
FIX = "set up tracing by init_tracing(sample_rate=1e-09), which keeps all traces with errors"


@pytest.fixture
def sampled(client, langfuse_fresh_client):
    """A client that samples, by a rate or by the sampler of its tracer provider."""

    def sampled(sampler: Sampler | float = RATE, public_key: str = "pk-lf-sampled") -> Langfuse:
        how = (
            {"sample_rate": sampler}
            if isinstance(sampler, float)
            else {"tracer_provider": TracerProvider(sampler=sampler)}
        )
        return langfuse_fresh_client(
            public_key=public_key, secret_key="sk-lf-sampled", base_url="http://127.0.0.1:9", **how
        )

    return sampled


def texts(findings):
    """Their texts, with a name in place of lines of this file, and without what all of them say."""
    shown = [re.sub(r"tests/rules/test_lf018\.py:\d+", "HERE", finding.text) for finding in findings]
    return [text.split(", and its trace")[0] for text in shown]


def fail():
    raise ValueError("refused")


def test_an_exception_in_a_trace_that_is_not_sampled(sampled, find):
    client = sampled()
    start = client.start_as_current_observation
    with suppress(ValueError), start(name="answer"), start(name="search", as_type="retriever"):
        fail()
    (finding,) = find("LF018")
    assert finding.severity == "error"
    assert finding.fix == FIX
    assert finding.place.line == test_an_exception_in_a_trace_that_is_not_sampled.__code__.co_firstlineno + 3
    assert re.sub(r"tests/rules/test_lf018.py:\d+", "HERE", finding.text) == (
        "'search' (HERE) raised ValueError, and its trace, 'answer' (HERE), is not sampled: the sampler, of the "
        "rate 1e-09, decides before it can be known how a trace ends"
    )


def test_an_observed_function(sampled, find):
    sampled()

    @observe()
    def answer():
        fail()

    with suppress(ValueError):
        answer(langfuse_public_key="pk-lf-sampled")
    assert texts(find("LF018")) == ["'answer' (HERE) has the level ERROR"]


def test_an_observed_coroutine(sampled, find):
    sampled()

    @observe()
    async def answer():
        fail()

    with suppress(ValueError):
        asyncio.run(answer(langfuse_public_key="pk-lf-sampled"))
    assert texts(find("LF018")) == ["'answer' (HERE) has the level ERROR"]


def test_a_thread_of_a_library_has_the_place_where_its_trace_began(sampled, find):
    """LangGraph calls tools in threads, in which no frame is the application's."""
    client = sampled()
    text = "def call(client):\n    client.start_observation(name='tool', as_type='tool').update(level='ERROR').end()"
    library: dict[str, Any] = {}
    exec(compile(text, f"{sysconfig.get_path('purelib')}/acme/tracing.py", "exec"), library)
    with client.start_as_current_observation(name="answer"):
        thread = Thread(target=copy_context().run, args=(library["call"], client))
        thread.start()
        thread.join()
    (finding,) = find("LF018")
    assert finding.text.startswith("'tool' has the level ERROR, and its trace, 'answer' (tests/rules/test_lf018.py:")
    assert finding.place.file == __file__


def test_levels_that_are_set(sampled, find):
    client = sampled()
    search = client.start_observation(name="search")
    search.update(level="ERROR", status_message="refused")
    search.end()
    client.start_observation(name="rank", level="ERROR").end()
    client.create_event(name="refused", level="ERROR")
    with client.start_as_current_observation(name="answer"):
        client.update_current_span(level="ERROR")
    assert texts(find("LF018")) == [
        f"'{name}' (HERE) has the level ERROR" for name in ("search", "rank", "refused", "answer")
    ]


@pytest.mark.parametrize("status", [(StatusCode.ERROR,), (Status(StatusCode.ERROR, "refused"),)])
def test_the_status_of_a_span_of_opentelemetry(sampled, find, status):
    span = sampled()._otel_tracer.start_span("search")
    span.set_status(*status)
    span.end()
    assert texts(find("LF018")) == ["'search' (HERE) has the status ERROR"]


def test_a_sampler_below_another_one(sampled, find):
    client = sampled(ParentBased(TraceIdRatioBased(RATE)))
    with suppress(ValueError), client.start_as_current_observation(name="answer"):
        fail()
    assert texts(find("LF018")) == ["'answer' (HERE) raised ValueError"]


def test_one_finding_for_a_loop(sampled, find):
    client = sampled()
    for _ in range(3):
        with suppress(ValueError), client.start_as_current_observation(name="answer"):
            fail()
    assert len(find("LF018")) == 1


def test_a_run(pytester):
    pytester.makepyfile(
        bot="""
            from langfuse import Langfuse
            langfuse = Langfuse(
                public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9", sample_rate=1e-9
            )

            def answer(question):
                with langfuse.start_as_current_observation(name="answer", input=question):
                    return {"why?": "because"}[question]
        """,
        test_bot="""
            import pytest, bot
            def test_answer():
                assert bot.answer("why?") == "because"
            def test_unknown():
                with pytest.raises(KeyError):
                    bot.answer("how?")
        """,
    )
    result = pytester.runpytest("--langfuse-strict", "-p", "no:randomly", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*LF018 sampling drops errors: 'answer' (bot.py:7) raised KeyError, and its trace *"])


# -- what must not fire ------------------------------------------------------------------------------------------------


def test_traces_without_errors(sampled, find, langfuse_spans):
    client = sampled()
    with client.start_as_current_observation(name="answer", level="DEFAULT") as answer:
        with suppress(ValueError):
            # Handled inside: nothing would be recorded of it.
            fail()
        try:
            fail()
        except ValueError:
            with client.start_as_current_observation(name="again") as again:
                again.update(level="WARNING", output="Paris")
                again._otel_span.set_status(StatusCode.OK)
        answer.update(output="Paris")
    assert find("LF018") == []
    assert len(langfuse_spans) == 0


def test_an_error_in_a_trace_that_is_sampled(sampled, find, langfuse_spans):
    client = sampled(1 - RATE)
    with suppress(ValueError), client.start_as_current_observation(name="answer"):
        fail()
    assert find("LF018") == []
    assert langfuse_spans.one("span answer").level == "ERROR"


class HealthChecks(Sampler):
    """Drops what the application never wants to see."""

    def should_sample(self, *args, **kwargs):
        return SamplingResult(Decision.DROP)

    def get_description(self):
        return "HealthChecks"


@pytest.mark.parametrize("sampler", [0.0, ALWAYS_OFF, HealthChecks()], ids=["rate 0", "always off", "by name"])
def test_what_is_dropped_on_purpose(sampled, find, sampler):
    client = sampled(sampler)
    with suppress(ValueError), client.start_as_current_observation(name="health"):
        fail()
    assert find("LF018") == []


@pytest.mark.parametrize("sampler", [TraceIdRatioBased(RATE), ParentBased(TraceIdRatioBased(RATE))])
def test_what_the_caller_of_the_service_has_not_sampled(sampled, find, langfuse_spans, sampler):
    client = sampled(sampler)
    # Of all ids it is the one that is sampled last.
    remote = SpanContext(trace_id=(1 << 128) - 1, span_id=1, is_remote=True, trace_flags=TraceFlags(0))
    token = attach(set_span_in_context(NonRecordingSpan(remote)))
    start = client.start_as_current_observation
    with suppress(ValueError), start(name="order"), start(name="charge"):
        fail()
    detach(token)
    assert find("LF018") == []
    assert len(langfuse_spans) == 0


def test_production_tracing_keeps_errors(client, find, langfuse_tracing, langfuse_spans):
    production = langfuse_tracing(sample_rate=RATE)
    with suppress(ValueError), production.start_as_current_observation(name="answer"):
        fail()
    assert [one.level for one in langfuse_spans] == ["ERROR"]
    assert find("LF018") == []


def test_the_application_sees_spans_as_without_the_plugin(sampled):
    span = sampled()._otel_tracer.start_span("search")
    assert type(span) is NonRecordingSpan
    assert span.is_recording() is False
    assert span.set_status(StatusCode.ERROR) is None
    span.end()
