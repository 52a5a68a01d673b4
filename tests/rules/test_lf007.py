"""LF007: a generation without usage."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from langchain_core.language_models import FakeListChatModel
from langfuse import observe
from langfuse.langchain import CallbackHandler


def llm(client, name="llm", as_type="generation", **fields):
    fields = {"model": "gpt-4o", "output": "Paris", **fields}
    client.start_observation(name=name, as_type=as_type, **fields).end()


@pytest.mark.parametrize("usage", [None, {}, {"input": 0, "output": 0}])
def test_output_without_usage(client, find, usage):
    llm(client, usage_details=usage)
    (finding,) = find("LF007")
    assert finding.severity == "warning"
    assert finding.text.startswith("'llm' (tests/rules/test_lf007.py:14) has an output but no usage")
    assert "usage_details=" in finding.fix


def test_a_stream_has_another_fix(client, find):
    llm(client, completion_start_time=datetime.now(UTC))
    (finding,) = find("LF007")
    assert finding.fix == 'pass stream_options={"include_usage": True} and read the stream to its end'


@pytest.mark.parametrize(
    "fields",
    [
        {"usage_details": {"input": 1}},
        {"cost_details": {"total": 0.1}},
        {"output": None},
        {"level": "ERROR"},
        {"model": "unknown"},
        {"name": "MockLLM"},
        {"as_type": "embedding", "output": None, "input": "Paris"},
        {"as_type": "span", "model": None},
    ],
)
def test_not(client, find, fields):
    llm(client, **fields)
    assert find("LF007") == []


def test_a_function_around_a_call_that_is_traced(client, find):
    @observe(as_type="generation")
    def answer():
        llm(client, usage_details={"input": 1, "output": 1})
        return "Paris"

    answer()
    assert find("LF007") == []


def test_a_failed_call_before_a_retry(client, find):
    with suppress(ConnectionError), client.start_as_current_observation(name="llm", as_type="generation"):
        raise ConnectionError
    llm(client, usage_details={"input": 1})
    assert find("LF007") == []


def test_a_double_of_langchain(client, find):
    handler = CallbackHandler(public_key="pk-lf-rules")
    FakeListChatModel(responses=["Paris"]).invoke("why?", config={"callbacks": [handler]})
    assert find("LF007") == []
