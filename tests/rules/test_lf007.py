"""LF007: a generation without usage."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langfuse import observe
from langfuse.langchain import CallbackHandler
from opentelemetry import trace

from pytest_langfuse.rules.evidence import Evidence
from pytest_langfuse.rules.rule_set import RuleSet


def llm(client, name="llm", as_type="generation", **fields):
    fields = {"model": "gpt-4o", "output": "Paris", **fields}
    client.start_observation(name=name, as_type=as_type, **fields).end()


@pytest.mark.parametrize("usage", [None, {}, {"input": 0, "output": 0}])
def test_output_without_usage(client, find, usage):
    llm(client, usage_details=usage)
    (finding,) = find("LF007")
    assert finding.severity == "warning"
    assert finding.text.startswith("'llm' (tests/rules/test_lf007.py:20) has an output but no usage")
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


@pytest.mark.parametrize("call", ["invoke", "stream"])
def test_a_double_of_langchain_under_a_name_of_its_own(client, find, call):
    class Scripted(GenericFakeChatModel):
        model_name: str = "gpt-4o"

    chat = Scripted(messages=iter([AIMessage("Paris is it")]))
    answer = getattr(chat, call)("why?", config={"callbacks": [CallbackHandler(public_key="pk-lf-rules")]})
    assert list(answer)
    assert find("LF007") == []


def langchain(client, *, in_package=True, **fields):
    """A generation as Langfuse's handler records it of a chat model, here of langchain-openai."""
    metadata = {"ls_model_type": "chat", "ls_integration": "langchain_openai" if in_package else "langchain_chat_model"}
    llm(client, "ChatOpenAI", metadata=metadata, **fields)


def test_a_stream_of_langchain(client, find):
    langchain(client, completion_start_time=datetime.now(UTC))
    (finding,) = find("LF007")
    assert finding.fix == "pass stream_usage=True to the chat model, and read the stream to its end"


def test_a_call_of_langchain(client, find):
    langchain(client)
    (finding,) = find("LF007")
    assert finding.fix == "set usage_metadata on the AIMessage that the chat model returns"


def test_a_chat_model_of_the_application_in_a_recorded_trace(client, find, langfuse_spans):
    """In a test it may be a double; in what production has recorded it is none."""
    langchain(client, in_package=False)
    assert find("LF007") == []
    assert [one.code for one in RuleSet.of(["LF007"]).find(Evidence(list(langfuse_spans)))] == ["LF007"]


#: As openinference-instrumentation-llama-index records a chat model.
LLAMA_INDEX = "openinference.instrumentation.llama_index"
CALL = {
    "llm.model_name": "gpt-4o",
    "openinference.span.kind": "LLM",
    "output.value": "assistant: sunny",
    "llm.input_messages.0.message.content": "Rome?",
    "llm.output_messages.0.message.content": "sunny",
}
#: The method that makes the arguments of a call of the messages and tools.
HELPER = {
    "llm.model_name": "gpt-4o",
    "llm.invocation_parameters": '{"is_chat_model": true}',
    "openinference.span.kind": "LLM",
    "input.value": '{"tools": ["<FunctionTool object>"], "user_msg": null}',
    "output.value": '{"messages": [], "tools": []}',
}


@pytest.mark.parametrize(("name", "attributes", "found"), [("astream_chat", CALL, 1), ("_prepare_chat", HELPER, 0)])
def test_calls_of_a_model_and_other_methods_of_it(client, find, name, attributes, found):
    with trace.get_tracer(LLAMA_INDEX).start_as_current_span(f"OpenAI.{name}") as span:
        span.set_attributes(attributes)
    fix = (
        'if it is a stream, pass stream_options={"include_usage": True} and read it to its end, else update the '
        f"instrumentation {LLAMA_INDEX!r}"
    )
    assert [finding.fix for finding in find("LF007")] == [fix] * found
