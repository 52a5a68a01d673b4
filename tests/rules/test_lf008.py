"""LF008: a root with neither input nor output."""

from contextlib import suppress

import pytest
from langfuse import observe


def search(client):
    client.start_observation(name="search", as_type="retriever", input="why?", output=["because"]).end()


def test_an_empty_root(client, find):
    with client.start_as_current_observation(name="answer"), client.start_as_current_observation(name="step"):
        search(client)
    (finding,) = find("LF008")
    assert finding.severity == "warning"
    assert finding.text.startswith("'answer' (tests/rules/test_lf008.py:14) has neither input nor output")
    assert "while 'search' below has" in finding.text
    assert finding.fix == "call update(input=..., output=...) on 'answer'"


def test_a_decorated_function_that_captures_nothing(client, find):
    @observe(capture_input=False, capture_output=False)
    def answer():
        search(client)

    answer()
    assert [one.observation for one in find("LF008")] == ["answer"]


@pytest.mark.parametrize("given", [{"input": "why?"}, {"output": "because"}, {"level": "ERROR"}])
def test_one_of_both_is_enough(client, find, given):
    with client.start_as_current_observation(name="answer", **given):
        search(client)
    assert find("LF008") == []


def test_a_function_that_returns_nothing(client, find):
    @observe()
    def answer(question):
        search(client)

    answer("why?")
    assert find("LF008") == []


def test_a_failed_root(client, find):
    with suppress(ValueError), client.start_as_current_observation(name="answer"):
        search(client)
        raise ValueError
    assert find("LF008") == []


def test_a_root_of_a_framework(client, find, langfuse_spans):
    from opentelemetry import trace
    from opentelemetry.trace import use_span

    root = trace.get_tracer("openinference.instrumentation.openai_agents").start_span("Agent workflow")
    with use_span(root, end_on_exit=True):
        search(client)
    assert find("LF008") == []
    assert [one.name for one in langfuse_spans] == ["Agent workflow", "search"]


def test_nothing_to_tell(client, find):
    with client.start_as_current_observation(name="answer"), client.start_as_current_observation(name="step"):
        pass
    client.create_event(name="started")
    assert find("LF008") == []
