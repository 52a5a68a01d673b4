"""LF015: two instrumentations of one model call."""

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.trace import use_span

USAGE = {"input": 10, "output": 2}


def llm(client, name="llm", model="gpt-4o", usage=USAGE):
    return client.start_as_current_observation(name=name, as_type="generation", model=model, usage_details=usage)


def instrumented(scope="opentelemetry.instrumentation.openai.v1", tokens=(10, 2)):
    """A call as an instrumentor of OpenTelemetry records it."""
    span = trace.get_tracer(scope).start_span("openai.chat")
    span.set_attributes(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": tokens[0],
            "gen_ai.usage.output_tokens": tokens[1],
        }
    )
    return use_span(span, end_on_exit=True)


@pytest.mark.parametrize("inner", ["gpt-4o", "openai/gpt-4o", "gpt-4o-2024-08-06", "GPT-4o-latest"])
def test_an_outer_one_that_repeats_the_inner(client, find, inner):
    with llm(client, "answer"), llm(client, "llm", inner):
        pass
    (finding,) = find("LF015")
    assert finding.severity == "error"
    assert f"count the same 12 tokens of {inner!r}" in finding.text
    assert finding.fix == "leave usage_details and cost_details out of 'answer'"
    assert finding.observation == "answer"


def test_a_sum_of_calls(client, find):
    with llm(client, "answer", usage={"input": 20, "output": 4}), client.start_as_current_observation(name="chain"):
        for name in ("plan", "write"):
            with llm(client, name):
                pass
    (finding,) = find("LF015")
    assert "'answer'" in finding.text
    assert "'plan'" in finding.text


def test_the_wrapper_below_a_framework_is_to_be_dropped(client, find):
    with llm(client, "ChatOpenAI"), llm(client, "OpenAI-generation"):
        pass
    (finding,) = find("LF015")
    assert finding.observation == "OpenAI-generation"
    assert "langfuse.openai" in finding.fix


def test_an_instrumentation_of_another_library(client, find):
    with client.start_as_current_observation(name="answer"), llm(client, "ChatOpenAI"), instrumented():
        pass
    (finding,) = find("LF015")
    assert finding.fix == "remove the instrumentation 'opentelemetry.instrumentation.openai.v1'"


def test_side_by_side(client, find):
    with client.start_as_current_observation(name="answer"):
        outer = client.start_observation(name="ChatOpenAI", as_type="generation", model="gpt-4o", usage_details=USAGE)
        with instrumented():
            pass
        outer.end()
    (finding,) = find("LF015")
    assert "'ChatOpenAI'" in finding.text
    assert "'openai.chat'" in finding.text


def test_gathered_calls(client, find):
    async def call():
        with llm(client):
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(call(), call(), call())

    with client.start_as_current_observation(name="answer"):
        asyncio.run(main())
    assert find("LF015") == []


def test_retries_of_a_double_and_other_libraries_one_after_the_other(client, find):
    with client.start_as_current_observation(name="answer"):
        for _ in range(2):
            with llm(client):
                pass
        with instrumented():
            pass
    assert find("LF015") == []


@pytest.mark.parametrize(
    ("model", "usage"), [("gpt-4o-mini", USAGE), ("gpt-4o", None), ("gpt-4o", {"input": 0}), ("gpt-4o", {"input": 3})]
)
def test_another_call_inside(client, find, model, usage):
    with llm(client, "answer"), llm(client, "llm", model, usage):
        pass
    assert find("LF015") == []


def test_gathered_calls_beside_one_of_another_library(client, find):
    with client.start_as_current_observation(name="answer"):
        outer = client.start_observation(name="a", as_type="generation", model="gpt-4o", usage_details=USAGE)
        client.start_observation(name="b", as_type="generation", model="gpt-4o", usage_details=USAGE).end()
        outer.end()
        with instrumented():
            pass
    assert find("LF015") == []


def test_the_agent_in_a_tool_of_the_outer_call(client, find):
    """As Google ADK's `AgentTool` is recorded, with a scripted model whose calls all have the same usage."""
    adk = "gcp.vertex.agent"
    with instrumented(adk), client.start_as_current_observation(name="spanish", as_type="tool"), instrumented(adk):
        pass
    assert find("LF015") == []


@pytest.mark.parametrize("between", ["chain", "agent", "span"])
def test_other_observations_between_both(client, find, between):
    with llm(client, "answer"), client.start_as_current_observation(name="step", as_type=between), llm(client, "llm"):
        pass
    assert len(find("LF015")) == 1
