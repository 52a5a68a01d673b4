"""Rules of the server's view for spans of other instrumentations."""

from __future__ import annotations

import json

import pytest

from tests.helpers.spans import seen, seen_foreign

MESSAGES = '[{"role": "user", "content": "hi"}]'
PARSED = [{"role": "user", "content": "hi"}]


class TestType:
    @pytest.mark.parametrize(
        ("attributes", "kind"),
        [
            ({"openinference.span.kind": "LLM"}, "generation"),
            ({"openinference.span.kind": "RETRIEVER"}, "retriever"),
            ({"openinference.span.kind": "llm"}, "span"),
            ({"openinference.span.kind": "AGENT", "gen_ai.operation.name": "chat"}, "agent"),
            ({"gen_ai.operation.name": "chat"}, "generation"),
            ({"gen_ai.operation.name": "text_completion"}, "generation"),
            ({"gen_ai.operation.name": "embeddings"}, "embedding"),
            ({"gen_ai.operation.name": "execute_tool"}, "tool"),
            ({"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m"}, "agent"),
            ({"gen_ai.operation.name": "unknown", "gen_ai.request.model": "m"}, "generation"),
            ({"genkit:metadata:subtype": "embedder"}, "embedding"),
            ({"genkit:metadata:subtype": "tool.v2"}, "tool"),
            ({"operation.name": "ai.generateText.doGenerate my-fn", "ai.model.id": "m"}, "generation"),
            ({"ai.operationId": "ai.embed.doEmbed", "gen_ai.request.model": "m"}, "embedding"),
            ({"ai.operationId": "ai.streamText.doStream"}, "span"),
            ({"ai.operationId": "ai.toolCall"}, "tool"),
            ({"gen_ai.tool.name": "weather"}, "tool"),
            ({"gen_ai.tool.call.id": "1", "gen_ai.request.model": "m"}, "tool"),
            ({"flue.tool.call_id": "1"}, "tool"),
            ({"flue.task.agent": "a"}, "agent"),
            ({"llm.model_name": "m"}, "generation"),
            ({"model": "m"}, "generation"),
            ({"model": ""}, "span"),
            ({"operation.name": ["ai.toolCall"]}, "span"),
            ({"http.method": "GET"}, "span"),
        ],
    )
    def test_type(self, attributes, kind):
        assert seen_foreign(attributes).type == kind

    @pytest.mark.parametrize(
        ("attribute", "kinds"),
        [
            (
                "openinference.span.kind",
                (
                    "CHAIN=chain RETRIEVER=retriever LLM=generation EMBEDDING=embedding AGENT=agent TOOL=tool "
                    "GUARDRAIL=guardrail EVALUATOR=evaluator"
                ),
            ),
            (
                "gen_ai.operation.name",
                (
                    "chat=generation completion=generation text_completion=generation generate_content=generation "
                    "generate=generation embeddings=embedding invoke_agent=agent create_agent=agent execute_tool=tool"
                ),
            ),
            (
                "genkit:metadata:subtype",
                (
                    "background-model=generation model=generation embedder=embedding tool=tool tool.v2=tool "
                    "retriever=retriever evaluator=evaluator"
                ),
            ),
        ],
    )
    def test_every_named_type(self, attribute, kinds):
        for pair in kinds.split():
            value, kind = pair.split("=")
            assert (value, seen_foreign({attribute: value}).type) == (value, kind)

    @pytest.mark.parametrize(
        ("name", "kind"), [("agent_turn", "agent"), ("function_tool", "tool"), ("tts_node", "span")]
    )
    def test_livekit_by_name(self, name, kind):
        assert seen_foreign(scope="livekit-agents", name=name).type == kind
        assert seen_foreign(name=name).type == "span"


class TestInputAndOutput:
    @pytest.mark.parametrize(
        ("attributes", "given", "answered"),
        [
            ({"gcp.vertex.agent.llm_request": '{"q": 1}', "gcp.vertex.agent.llm_response": "r"}, {"q": 1}, "r"),
            (
                {
                    "gcp.vertex.agent.llm_request": "{}",
                    "gcp.vertex.agent.llm_response": "{}",
                    "gcp.vertex.agent.tool_call_args": '{"x": 1}',
                    "gcp.vertex.agent.tool_response": "ok",
                },
                {"x": 1},
                "ok",
            ),
            ({"prompt": "p", "all_messages_events": MESSAGES}, "p", PARSED),
            ({"lk.user_transcript": "hello", "lk.response.text": "yes"}, "hello", "yes"),
            ({"lk.function_tool.output": "out", "lk.response.text": "yes"}, None, "out"),
            (
                {"events": '[{"event.name": "gen_ai.user.message", "c": 1}, {"event.name": "gen_ai.choice", "c": 2}]'},
                [{"event.name": "gen_ai.user.message", "c": 1}],
                {"event.name": "gen_ai.choice", "c": 2},
            ),
            ({"events": "broken", "input": "i"}, "i", None),
            ({"events": "[]", "input": "i"}, "i", None),
            ({"mlflow.spanInputs": '{"a": 1}', "mlflow.spanOutputs": "2"}, {"a": 1}, 2),
            ({"traceloop.entity.input": "a", "traceloop.entity.output": "b"}, "a", "b"),
            ({"input.value": "a", "output.value": "b"}, "a", "b"),
            ({"input": "a", "output": "b"}, "a", "b"),
            ({"input": 5, "output": ["a", 1.0]}, 5, ["a", 1]),
            ({"input": 0, "tool_arguments": "{}"}, {}, None),
            ({"tool_arguments": '{"x": 1}', "tool_response": "r"}, {"x": 1}, "r"),
            ({"gen_ai.input.messages": MESSAGES, "gen_ai.output.messages": "[1]"}, PARSED, [1]),
            ({"gen_ai.tool.call.arguments": '{"x": 1}', "gen_ai.tool.call.result": "r"}, {"x": 1}, "r"),
            ({}, None, None),
        ],
    )
    def test_by_attribute(self, attributes, given, answered):
        observation = seen_foreign(attributes)
        assert (observation.input, observation.output) == (given, answered)

    def test_the_first_source_gives_both(self):
        observation = seen_foreign({"input.value": "i", "output": "o"})
        assert (observation.input, observation.output) == ("i", None)

    @pytest.mark.parametrize(
        ("attributes", "given", "answered"),
        [
            (
                {"genkit:input": '{"messages": [1], "config": {}}', "genkit:output": '{"message": {"c": 1}}'},
                [1],
                {"c": 1},
            ),
            ({"genkit:input": '{"flow": 1}', "genkit:output": "text"}, {"flow": 1}, "text"),
            ({"input": "ignored"}, None, None),
        ],
    )
    def test_genkit(self, attributes, given, answered):
        observation = seen_foreign(attributes, scope="genkit-tracer")
        assert (observation.input, observation.output) == (given, answered)

    @pytest.mark.parametrize(
        ("attributes", "given", "answered"),
        [
            ({"ai.prompt.messages": MESSAGES, "ai.prompt": "p", "ai.response.text": "t"}, PARSED, "t"),
            ({"ai.prompt": "p", "ai.response.text": "", "ai.response.object": '{"o": 1}'}, "p", {"o": 1}),
            (
                {"ai.toolCall.args": "{}", "ai.response.text": "t", "ai.response.toolCalls": "[]"},
                {},
                {"role": "assistant", "content": "t", "tool_calls": "[]"},
            ),
            ({"ai.result.text": "old"}, None, "old"),
            ({"gen_ai.input.messages": MESSAGES, "ai.response.text": "t"}, PARSED, "t"),
            ({"input": "ignored"}, None, None),
        ],
    )
    def test_vercel(self, attributes, given, answered):
        observation = seen_foreign(attributes, scope="ai")
        assert (observation.input, observation.output) == (given, answered)

    def test_flue(self):
        attributes = {"flue.tool.arguments": '{"x": 1}', "flue.operation.result": "r"}
        observation = seen_foreign(attributes, scope="@flue/opentelemetry")
        assert (observation.input, observation.output) == ({"x": 1}, "r")
        assert seen_foreign(attributes).input is None
        assert seen_foreign({"input": "i"}, scope="@flue/opentelemetry").input == "i"

    def test_pydantic_ai(self):
        attributes = {
            "pydantic_ai.all_messages": MESSAGES,
            "final_result": "done",
            "gen_ai.system_instructions": '[{"type": "text", "content": "be kind"}, "and short"]',
        }
        observation = seen_foreign(attributes, scope="pydantic-ai")
        assert observation.input == [{"role": "system", "content": "be kind\nand short"}, *PARSED]
        assert observation.output == "done"
        assert seen_foreign(attributes).input is None

    @pytest.mark.parametrize(
        ("instructions", "messages", "shown"),
        [
            ("be kind", MESSAGES, [{"role": "system", "content": "be kind"}, *PARSED]),
            ("{", MESSAGES, [{"role": "system", "content": "{"}, *PARSED]),
            ("x", '[{"role": "system", "content": "s"}]', [{"role": "system", "content": "s"}]),
            ("x", "no list", "no list"),
            ("x", '{"a": 1}', {"a": 1}),
            ('{"a": 1}', MESSAGES, [{"role": "system", "content": "[object Object]"}, *PARSED]),
        ],
    )
    def test_system_instructions(self, instructions, messages, shown):
        attributes = {"gen_ai.input.messages": messages, "gen_ai.system_instructions": instructions}
        assert seen_foreign(attributes).input == shown

    @pytest.mark.parametrize(
        ("keys", "shown"),
        [
            (
                {"0.role": "user", "0.content": "hi", "1.role": "x"},
                [{"role": "user", "content": "hi"}, {"role": "x"}],
            ),
            ({"1.content": "b"}, [None, {"content": "b"}]),
            (
                {"0.tool_calls.1.name": "t", "0.tool_calls.1.arguments": "{}"},
                [{"tool_calls": [None, {"name": "t", "arguments": "{}"}]}],
            ),
            ({"user": "hi", "deep.key": "x"}, {"user": "hi", "deep": {"key": "x"}}),
            ({"0.content": "a", "10001.content": "too far"}, [{"content": "a"}]),
            ({"99999999999999999999999.content": "too far"}, {}),
            ({"00.content": "a", "0.list.00": "no index"}, [{"content": "a", "list": []}]),
            ({f"{'0' * 5000}1.content": "b"}, [None, {"content": "b"}]),
            ({"0.__proto__.x": "1", "0.role": "user"}, [{"role": "user"}]),
            ({"0": "whole"}, {"0": "whole"}),
            ({"a.toString.b": "lost", "a.k": "v", "toString.b": "kept"}, {"a": {"k": "v"}, "toString": {"b": "kept"}}),
            ({"0": "whole", "0.a": "part"}, [{"undefined": "whole", "a": "part"}]),
        ],
    )
    @pytest.mark.parametrize("prefix", ["gen_ai.prompt", "llm.input_messages"])
    def test_dotted_keys(self, prefix, keys, shown):
        assert seen_foreign({f"{prefix}.{key}": value for key, value in keys.items()}).input == shown

    def test_a_whole_prompt(self):
        observation = seen_foreign({"gen_ai.prompt": "p", "gen_ai.completion": '{"c": 1}'})
        assert (observation.input, observation.output) == ("p", {"c": 1})

    def test_one_side_only(self):
        assert seen_foreign({"gen_ai.completion.0.content": "c"}).input == {}

    @pytest.mark.parametrize("scope", ["langfuse-sdk", "my.library"])
    def test_message_events(self, scope):
        observation = seen_foreign(
            scope=scope,
            events=[
                ("gen_ai.system.message", {"content": "be kind"}),
                ("gen_ai.user.message", {"content": "hi"}),
                ("exception", {"exception.type": "ValueError"}),
                ("gen_ai.choice", {"index": 0, "message": "yo"}),
            ],
        )
        assert observation.input == [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]
        assert observation.output == {"index": 0, "message": "yo"}

    def test_several_choices(self):
        choices = [("gen_ai.choice", {"index": 0}), ("gen_ai.choice", {"index": 1})]
        observation = seen_foreign(events=choices)
        assert (observation.input, observation.output) == (None, [{"index": 0}, {"index": 1}])

    def test_the_operation_details_event_comes_first(self):
        details = {"gen_ai.input.messages": MESSAGES, "gen_ai.output.messages": "[2]"}
        observation = seen_foreign(
            events=[("gen_ai.choice", {"x": 1}), ("gen_ai.client.inference.operation.details", details)]
        )
        assert (observation.input, observation.output) == (PARSED, [2])

    def test_semantic_kernel_s_events(self):
        observation = seen_foreign(
            events=[
                ("gen_ai.content.prompt", {"gen_ai.prompt": MESSAGES}),
                ("gen_ai.content.completion", {"other": "x"}),
            ]
        )
        assert (observation.input, observation.output) == (PARSED, {"other": "x"})

    def test_an_exception_event_is_not_stored(self):
        observation = seen(events=[("exception", {"exception.message": "boom"})])
        assert (observation.input, observation.output, observation.metadata) == (None, None, {})


class TestModelAndParameters:
    @pytest.mark.parametrize(
        ("attributes", "model"),
        [
            ({"gen_ai.response.model": "answered", "gen_ai.request.model": "asked"}, "answered"),
            ({"ai.model.id": "id", "gen_ai.request.model": "asked"}, "id"),
            ({"llm.model_name": "name", "model": "other"}, "name"),
            ({"genkit:name": "gemini", "genkit:metadata:subtype": "model"}, "gemini"),
            ({"genkit:name": "flow"}, None),
            ({"model": ["a", 1]}, '["a",1]'),
        ],
    )
    def test_model(self, attributes, model):
        assert seen_foreign(attributes).model == model

    @pytest.mark.parametrize(
        ("attributes", "parameters"),
        [
            ({"gen_ai.request.temperature": 0.3, "gen_ai.request.model": "m"}, {"temperature": 0.3}),
            ({"gen_ai.request.stop": ["x"]}, {"stop": '["x"]'}),
            ({"llm.invocation_parameters": '{"top_p": 1.0, "n": null}'}, {"top_p": 1, "n": "null"}),
            ({"llm.invocation_parameters": "{", "model_config": '{"a": 1}'}, {"a": 1}),
            ({"llm.invocation_parameters.top_p": 0.5}, {"top_p": 0.5}),
        ],
    )
    def test_parameters(self, attributes, parameters):
        assert seen_foreign(attributes).model_parameters == parameters

    def test_genkit_s_config(self):
        given = {"genkit:input": '{"config": {"temperature": 1, "stop": ["x"]}}'}
        answered = {"genkit:output": '{"request": {"config": {"k": true}}}'}
        assert seen_foreign(given, scope="genkit-tracer").model_parameters == {"temperature": 1, "stop": '["x"]'}
        assert seen_foreign(answered, scope="genkit-tracer").model_parameters == {"k": "true"}

    def test_vercel_always_has_its_parameters(self):
        observation = seen_foreign(
            {
                "gen_ai.request.temperature": 0.5,
                "gen_ai.response.finish_reasons": ["stop"],
                "langfuse.observation.model.parameters": '{"own": 1}',
                "ai.response.providerMetadata": '{"openai": {"serviceTier": "flex"}}',
            },
            scope="ai",
        )
        assert observation.model_parameters == {
            "maxSteps": None,
            "toolChoice": None,
            "maxTokens": None,
            "finishReason": "stop",
            "system": None,
            "maxRetries": None,
            "mode": None,
            "temperature": "0.5",
            "service_tier": "flex",
            "own": 1,
        }

    def test_vercel_s_prompt_user_session_and_tags(self):
        observation = seen_foreign(
            {
                "ai.operationId": "ai.generateText.doGenerate",
                "ai.model.id": "m",
                "ai.telemetry.metadata.langfusePrompt": '{"name": "p", "version": 3}',
                "ai.telemetry.metadata.userId": "u",
                "ai.telemetry.metadata.sessionId": "s",
                "ai.telemetry.metadata.tags": ["t"],
                "ai.telemetry.metadata.k": "v",
            },
            scope="ai",
        )
        assert (observation.prompt_name, observation.prompt_version) == ("p", 3)
        assert (observation.user_id, observation.session_id, observation.tags) == ("u", "s", ["t"])
        assert observation.metadata["k"] == "v"
        assert not {"userId", "sessionId", "tags", "langfusePrompt"} & observation.metadata.keys()


class TestUsage:
    @pytest.mark.parametrize(
        ("attributes", "usage"),
        [
            (
                {
                    "gen_ai.usage.input_tokens": 10,
                    "gen_ai.usage.output_tokens": 5,
                    "gen_ai.usage.cache_read.input_tokens": 4,
                },
                {"input": 6, "output": 5, "input_cached_tokens": 4, "total": 15},
            ),
            (
                {"gen_ai.usage.prompt_tokens": "10", "gen_ai.usage.total_tokens": "12"},
                {"input": 10, "total": 12},
            ),
            (
                {
                    "llm.token_count.prompt": 10,
                    "llm.token_count.completion": 8,
                    "llm.token_count.completion_details.reasoning": 3,
                    "llm.token_count.prompt_details.cache_write": 2,
                },
                {"input": 8, "output": 5, "output_reasoning_tokens": 3, "input_cache_creation": 2, "total": 18},
            ),
            (
                {"gen_ai.usage.details.thoughts": 3, "gen_ai.usage.output_tokens": 5},
                {"thoughts": 3, "output": 5, "total": 8},
            ),
            ({"gen_ai.usage.input_tokens": "many"}, {}),
            ({"gen_ai.usage.input_tokens": 1.5}, {}),
            ({"gen_ai.usage.input_tokens": ""}, {"input": 0, "total": 0}),
            ({"gen_ai.usage.input_tokens": "0x10"}, {"input": 16, "total": 16}),
        ],
    )
    def test_conventions(self, attributes, usage):
        assert seen_foreign(attributes).usage == usage

    def test_langfuse_s_spans_take_them_too(self):
        assert seen({"gen_ai.usage.input_tokens": 99}).usage == {"input": 99, "total": 99}

    def test_google_adk_s_cached_tokens(self):
        attributes = {
            "gen_ai.usage.input_tokens": 10,
            "gcp.vertex.agent.llm_response": '{"usage_metadata": {"cached_content_token_count": 4}}',
        }
        observation = seen_foreign(attributes, scope="gcp.vertex.agent")
        assert observation.usage == {"input": 6, "input_cached_tokens": 4, "total": 10}
        assert seen_foreign(attributes).usage == {"input": 10, "total": 10}

    def test_genkit(self):
        output = {"usage": {"inputTokens": 5, "outputTokens": 7, "thoughtsTokens": 2, "totalTokens": 12}}
        observation = seen_foreign({"genkit:output": json.dumps(output)}, scope="genkit-tracer")
        assert observation.usage == {"input": 5, "output": 5, "total": 12, "output_reasoning": 2}

    @pytest.mark.parametrize(
        ("attributes", "usage"),
        [
            ({}, {"input": 0, "output": 0, "total": 0}),
            (
                {
                    "gen_ai.usage.input_tokens": 10,
                    "gen_ai.usage.output_tokens": 5,
                    "ai.usage.cachedInputTokens": 4,
                    "ai.usage.reasoningTokens": '{"intValue": 2}',
                },
                {
                    "input": 6,
                    "output": 3,
                    "input_cached_tokens": 4,
                    "output_reasoning_tokens": 2,
                    "total": 15,
                },
            ),
            (
                {
                    "gen_ai.usage.input_tokens": 100,
                    "ai.response.providerMetadata": json.dumps(
                        {
                            "anthropic": {
                                "usage": {
                                    "cache_creation_input_tokens": 9,
                                    "cache_read_input_tokens": 30,
                                    "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 1},
                                }
                            }
                        }
                    ),
                },
                {
                    "input": 61,
                    "output": 0,
                    "input_cache_creation": 4,
                    "input_cache_creation_5m": 4,
                    "input_cache_creation_1h": 1,
                    "input_cached_tokens": 30,
                    "total": 100,
                },
            ),
            (
                {
                    "gen_ai.usage.input_tokens": 10,
                    "ai.response.providerMetadata": '{"bedrock": {"usage": {"cacheReadInputTokens": 3}}}',
                },
                {"input": 7, "output": 0, "input_cache_read": 3, "total": 10},
            ),
            (
                {
                    "gen_ai.usage.input_tokens": 10,
                    "ai.usage.cachedInputTokens": "4",
                    "ai.response.providerMetadata": '{"openai": {"cachedPromptTokens": 3, "reasoningTokens": 1}}',
                },
                {"input": 6, "output": 0, "input_cached_tokens": 4, "output_reasoning_tokens": 1, "total": 11},
            ),
            (
                {"gen_ai.usage.input_tokens": 10, "ai.response.providerMetadata": "broken"},
                {"input": 10, "total": 10},
            ),
        ],
    )
    def test_vercel(self, attributes, usage):
        assert seen_foreign(attributes, scope="ai").usage == usage
