"""Rules that few applications meet. The expected values are what the server's own code makes of the attributes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytest_langfuse.recording import from_readable_span, observe
from tests.helpers.spans import seen, seen_foreign

OWN = "langfuse.observation."
PARAMETERS = f"{OWN}model.parameters"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null", {}),
        ("0", {}),
        ('""', {}),
        ("false", {}),
        ("5", 5),
        ("true", True),
        ('"text"', "text"),
        ('"12"', 12),
        ('"null"', {}),
        ('"{\\"a\\": [1]}"', {"a": [1]}),
        ("[1, [2]]", {"0": 1, "1": "[2]"}),
        ("not JSON", {}),
        ('{"a": 1e300}', {"a": 1e300}),
        ('{"b": {"10": 1, "9": 2, "a": 3}}', {"b": '{"9":2,"10":1,"a":3}'}),
    ],
)
def test_model_parameters_that_are_not_an_object(text, expected):
    assert seen({PARAMETERS: text}).model_parameters == expected
    assert seen_foreign({"llm.invocation_parameters": text, "gen_ai.request.model": "m"}).model_parameters == expected


def test_model_parameters_of_a_framework_fill_in_for_false_ones():
    assert seen({PARAMETERS: "null", "gen_ai.request.top_p": 1}).model_parameters == {"top_p": 1}
    assert seen({PARAMETERS: "5", "gen_ai.request.top_p": 1}).model_parameters == 5


@pytest.mark.parametrize("space", ["\ufeff", "\u2028", "\xa0", " \t\v", "\u3000"])
def test_white_space_of_javascript_around_a_level(space):
    assert seen({f"{OWN}level": f"{space}error{space}"}).level == "ERROR"


@pytest.mark.parametrize("space", ["\x1c", "\x85", "\u200b"])
def test_what_only_python_takes_for_white_space(space):
    assert seen({f"{OWN}level": f"{space}error"}).level == "DEFAULT"


def test_metadata_that_would_set_a_prototype_is_lost():
    observation = seen_foreign(
        {f"{OWN}metadata.__proto__": '"lost"', f"{OWN}metadata.k": '"kept"', "__proto__": "lost"}
    )
    assert observation.metadata == {"k": "kept"}
    assert seen({f"{OWN}metadata": '{"__proto__": 1}'}).metadata == {"__proto__": 1}


def test_a_message_loses_it_too():
    events = [("gen_ai.choice", {"__proto__": "lost", "content": "kept"})]
    assert seen_foreign({}, events=events).output == {"content": "kept"}


def test_metadata_under_an_empty_key():
    assert seen({f"{OWN}metadata": '{"": {"a": 1}, "b": {"": 2}}'}).metadata == {"a": 1, "b.": 2}


@pytest.mark.parametrize(
    "attributes",
    [
        {"ai.usage.reasoningTokens": float("nan")},
        {"ai.usage.reasoningTokens": "null"},
        {"ai.usage.cachedInputTokens": ""},
        {"ai.response.providerMetadata": ["a", "b"]},
        {"ai.response.providerMetadata": "5"},
        {"ai.response.providerMetadata": '{"openai": null}'},
        {"ai.response.providerMetadata": '{"anthropic": 5}'},
        {"ai.response.providerMetadata": '{"bedrock": null}'},
    ],
)
def test_usage_of_vercel_falls_back_to_the_conventions(attributes):
    tokens = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read_tokens": 4}
    observation = seen_foreign({**tokens, **attributes}, scope="ai")
    assert observation.usage == {"input": 6, "input_cached_tokens": 4, "total": 10}


@pytest.mark.parametrize("metadata", ["[]", "{}", '{"openai": 5}', '{"anthropic": {"usage": "x"}}', '{"bedrock": 5}'])
def test_provider_metadata_without_usage_is_ignored(metadata):
    attributes = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read_tokens": 4}
    observation = seen_foreign({**attributes, "ai.response.providerMetadata": metadata}, scope="ai")
    assert observation.usage == {"input": 10, "output": 0, "total": 10}


@pytest.mark.parametrize("key", ["gen_ai.tool.name", "genkit:name", "logfire.msg", "ai.toolCall.name"])
def test_a_name_that_is_a_list_is_json(key):
    assert seen_foreign({key: ["a", 1]}).name == '["a",1]'


def test_a_prompt_name_that_is_a_list_is_json():
    observation = seen({f"{OWN}type": "generation", f"{OWN}prompt.name": ["p"], f"{OWN}prompt.version": 2})
    assert (observation.prompt_name, observation.prompt_version) == ('["p"]', 2)


def test_a_type_in_a_list_of_one_counts():
    assert seen({f"{OWN}type": ["generation"]}).type == "generation"


@pytest.mark.parametrize(("given", "shown"), [([1, "2"], [1, "2"]), (2**53 + 1, 9007199254740992), (1e300, 1e300)])
def test_input_that_is_not_text(given, shown):
    assert seen({f"{OWN}input": given}, wire="json").input == shown


def test_an_end_at_0_is_the_start():
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("x")
    tracer.start_span("ends at 0", start_time=1_700_000_000_000_000_000).end(end_time=0)
    observation = observe(from_readable_span(exporter.get_finished_spans()[0]))
    start = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (observation.start_time, observation.end_time, observation.duration) == (start, start, 0)
    running = observe(from_readable_span(tracer.start_span("runs", start_time=1_700_000_000_000_000_000)))
    assert (running.start_time, running.end_time) == (start, None)


def test_text_that_is_nested_hundreds_deep():
    depth = 300
    text = '{"a":' * depth + "1" + "}" * depth
    observation = seen({f"{OWN}input": text, f"{OWN}metadata.k": text, PARAMETERS: f'{{"p": {text}}}'})
    assert observation.input == observation.metadata["k"]
    assert observation.model_parameters == {"p": text}
