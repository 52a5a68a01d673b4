"""Rules of the server's view, one by one: fields that an attribute of Langfuse's SDK sets."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.helpers.spans import seen, seen_foreign

O = "langfuse.observation."  # noqa: E741 - the prefix of nearly every key here


def as_json(value):
    return json.dumps(value)


class TestType:
    @pytest.mark.parametrize(
        "name",
        ["span", "generation", "event", "embedding", "agent", "tool", "chain", "retriever", "guardrail", "evaluator"],
    )
    def test_the_types_of_the_sdk(self, name):
        assert seen({f"{O}type": name}).type == name

    @pytest.mark.parametrize("name", ["GENERATION", "bogus", "", " generation", 3, ["generation", "x"]])
    def test_only_the_exact_lower_case_word_counts(self, name):
        assert seen({f"{O}type": name}).type == "span"

    def test_an_own_type_wins_over_a_framework_s(self):
        assert seen({f"{O}type": "span", "gen_ai.operation.name": "chat"}).type == "span"

    def test_a_model_does_not_make_a_generation_of_a_span(self):
        observation = seen({f"{O}type": "span", f"{O}model.name": "gpt-4o"})
        assert (observation.type, observation.model) == ("span", "gpt-4o")

    @pytest.mark.parametrize(
        ("version", "kind"),
        [
            ("3.3.0", "generation"),
            ("3.2", "generation"),
            ("2", "generation"),
            (None, "generation"),
            ("dev", "generation"),
            ("3.4.0", "span"),
            ("4", "span"),
            ("5.0.4", "span"),
        ],
    )
    def test_sdks_up_to_3_3_recorded_generations_as_spans(self, version, kind):
        attributes = {f"{O}type": "span", f"{O}model.name": "gpt-4o"}
        resource = {"telemetry.sdk.language": "python"}
        assert seen(attributes, scope_version=version, resource=resource).type == kind

    def test_of_old_sdks_only_python_s(self):
        attributes = {f"{O}type": "span", f"{O}model.name": "gpt-4o"}
        assert seen(attributes, scope_version="3.2.0").type == "span"


class TestLevelAndStatus:
    @pytest.mark.parametrize(
        ("word", "level"),
        [
            ("DEBUG", "DEBUG"),
            ("trace", "DEBUG"),
            ("INFO", "DEFAULT"),
            ("success", "DEFAULT"),
            (" warn ", "WARNING"),
            ("error", "ERROR"),
            ("Critical", "ERROR"),
            ("BOGUS", "DEFAULT"),
            ("", "DEFAULT"),
            (3, "DEFAULT"),
        ],
    )
    def test_the_level_in_many_words(self, word, level):
        assert seen({f"{O}level": word}).level == level

    def test_the_level_wins_over_the_status(self):
        assert seen({f"{O}level": "DEFAULT"}, status="ERROR").level == "DEFAULT"
        assert seen({f"{O}level": "WARNING"}, status="ERROR").level == "WARNING"

    def test_an_unknown_level_leaves_it_to_the_status(self):
        assert seen({f"{O}level": "BOGUS"}, status="ERROR").level == "ERROR"

    def test_the_status_alone(self):
        assert seen(status="ERROR").level == "ERROR"
        assert seen(status="OK").level == "DEFAULT"

    def test_the_message_of_the_attribute_wins(self):
        assert seen(status_message="otel").status_message == "otel"
        assert seen({f"{O}status_message": "own"}, status="ERROR", status_message="otel").status_message == "own"
        assert seen({f"{O}status_message": ""}, status_message="otel").status_message == ""

    def test_livekit_s_noise_is_debug(self):
        assert seen_foreign(scope="livekit-agents", name="tts_node").level == "DEBUG"
        assert seen_foreign(scope="livekit-agents", name="tts_node", status="ERROR").level == "ERROR"
        assert seen_foreign(name="tts_node").level == "DEFAULT"


class TestInputAndOutput:
    @pytest.mark.parametrize(
        ("sent", "shown"),
        [
            ("12", 12),
            ("true", True),
            ("null", None),
            ('"q"', "q"),
            ('{"a": 1}', {"a": 1}),
            (" [1] ", [1]),
            ("why?", "why?"),
            ("", ""),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
            ("{'a': 1}", "{'a': 1}"),
            ("[1", "[1"),
            ("[1e3, NaN]", "[1e3, NaN]"),
            ("12 monkeys", "12 monkeys"),
            ("01", "01"),
            ("tru", "tru"),
            ("\ufeff1", "\ufeff1"),
        ],
    )
    def test_text_that_is_json_is_read_as_json(self, sent, shown):
        observation = seen({f"{O}input": sent, f"{O}output": sent})
        assert observation.input == shown
        assert type(observation.output) is type(shown)

    @pytest.mark.parametrize(
        ("sent", "shown"),
        [
            ("9007199254740991", 9007199254740991),
            ("9007199254740993", "9007199254740993"),
            ("[1152921504606846976]", ["1152921504606846976"]),
            ("100000000000000000000", 10**20),
            ('{"ts": 1721001600000}', {"ts": 1721001600000}),
            ("1e500", "1e500"),
            ("1e-500", "1e-500"),
            ("1e3", 1000),
            ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
            ("0.1", 0.1),
            ("-0.50", -0.5),
        ],
    )
    def test_numbers_that_a_double_cannot_hold_stay_text(self, sent, shown):
        assert seen({f"{O}input": sent}).input == shown

    def test_json_that_is_nested_too_deeply_stays_text(self):
        deep = "[" * 100_000 + "]" * 100_000
        assert seen({f"{O}input": deep}).input == deep

    def test_other_attributes_fill_in_when_the_sdk_set_neither(self):
        assert seen({"prompt": "P"}).input == "P"
        assert seen({"prompt": "P", f"{O}output": "o"}).input is None

    def test_a_big_input_is_complete(self):
        big = "x" * 1_000_000
        assert seen({f"{O}input": big}).input == big


class TestMetadata:
    @pytest.mark.parametrize(
        "value", ["x", "12", 3, 2.5, True, None, [], {"a": {"b": [1, None]}}, "", '{"json": "text"}']
    )
    def test_values_keep_their_kind(self, value):
        assert seen({f"{O}metadata.k": as_json(value)}).metadata == {"k": value}

    def test_integers_beyond_a_double_become_text(self):
        assert seen({f"{O}metadata.k": "[9007199254740993]"}).metadata == {"k": ["9007199254740993"]}

    def test_the_trace_s_wins(self):
        metadata = seen({"langfuse.trace.metadata.same": '"trace"', f"{O}metadata.same": '"own"'}).metadata
        assert metadata == {"same": "trace"}

    @pytest.mark.parametrize("whole", ['"text"', "7", "true", "broken", '"{\\"a\\":1}"', ""])
    def test_metadata_that_is_no_dict_is_dropped(self, whole):
        assert seen({f"{O}metadata": whole}).metadata == {}

    def test_a_list_becomes_its_indices(self):
        assert seen({f"{O}metadata": '[1, {"a": 2, "b": {"c": 3}}]'}).metadata == {"0": 1, "1.a": 2, "1.b.c": 3}

    def test_an_object_that_is_sent_whole_is_flattened(self):
        metadata = seen({f"{O}metadata": '{"a": {"b": 1, "empty": {}}, "l": [{"x": 1}], "n": null}'}).metadata
        assert metadata == {"a.b": 1, "l": [{"x": 1}], "n": ""}

    def test_the_first_of_two_equal_keys_stands(self):
        assert seen({f"{O}metadata": '{"a": {"b": 1}, "a.b": 2}'}).metadata == {"a.b": 1}

    def test_the_later_attribute_stands(self):
        attributes = {f"{O}metadata": '{"a": 1, "b": 2}', f"{O}metadata.a": "3", "langfuse.metadata.a": "4"}
        assert seen(attributes).metadata == {"a": 4, "b": 2}

    def test_keys_with_dots(self):
        assert seen({f"{O}metadata.a.b": "1"}).metadata == {"a.b": 1}

    @pytest.mark.parametrize("key", ["scope", "resourceAttributes", "attributes"])
    def test_the_server_s_own_keys_can_be_replaced(self, key):
        assert seen({f"{O}metadata.{key}": '"mine"'}).metadata == {key: "mine"}
        assert seen_foreign({"other": "x", f"{O}metadata.attributes": '"mine"'}).metadata["attributes"] == "mine"

    def test_other_attributes_of_langfuse_s_spans_are_dropped(self):
        assert seen({"http.method": "GET"}).metadata == {}

    def test_attributes_of_foreign_spans_are_metadata(self):
        attributes = {
            "http.method": "GET",
            "n": 1,
            "f": 1.5,
            "b": True,
            "l": [1, 2],
            "json": '{"a": 1}',
            "digits": "12",
        }
        assert seen_foreign(attributes).metadata == {
            "attributes.http.method": "GET",
            "attributes.n": 1,
            "attributes.f": 1.5,
            "attributes.b": True,
            "attributes.l": [1, 2],
            "attributes.json": {"a": 1},
            "attributes.digits": 12,
        }

    def test_what_is_shown_elsewhere_is_no_metadata(self):
        attributes = {"input": "I", "gen_ai.prompt.0.content": "p", "llm.output_messages.0.message.role": "r"}
        assert seen_foreign(attributes).metadata == {}

    def test_any_scope_of_the_sdk_is_langfuse_s(self):
        assert seen_foreign({"http.method": "GET"}, scope="langfuse-sdk.js").metadata == {}


class TestValuesOfAttributes:
    """What happens to values between the span and the server's code."""

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (2**53 + 1, 2**53),
            (2**63 - 1, 9223372036854776000),
            (-(2**63), -9223372036854776000),
            (3_000_000_000, 3_000_000_000),
            (-5, -5),
            (2.0, 2),
            (1e21, 1e21),
            (float("nan"), None),
            (float("inf"), None),
            ([], {"arrayValue": {}}),
            ([[], 1], ['{"arrayValue":{}}', 1]),
            (None, {}),
            ([None, "a"], ["{}", "a"]),
            (b"\x01\x02", {"bytesValue": {"type": "Buffer", "data": [1, 2]}}),
            (
                {"k": [1, 2.5, True, "x", {}]},
                {
                    "kvlistValue": {
                        "values": [
                            {
                                "key": "k",
                                "value": {
                                    "arrayValue": {
                                        "values": [
                                            {"intValue": "1"},
                                            {"doubleValue": 2.5},
                                            {"boolValue": True},
                                            {"stringValue": "x"},
                                            {"kvlistValue": {}},
                                        ]
                                    }
                                },
                            }
                        ]
                    }
                },
            ),
        ],
    )
    def test_over_protobuf(self, value, shown):
        assert seen_foreign({"v": value}).metadata == {"attributes.v": shown}

    def test_a_number_that_json_cannot_write_is_no_input(self):
        assert seen_foreign({"input": float("nan"), "output": [float("inf"), 1]}).input is None
        assert seen_foreign({"input": float("nan"), "output": [float("inf"), 1]}).output == [None, 1]

    def test_over_json(self):
        assert seen_foreign({"v": []}, wire="json").metadata == {"attributes.v": []}
        shown = seen_foreign({"v": {"k": b"\x01", "l": []}}, wire="json").metadata["attributes.v"]
        assert shown["kvlistValue"]["values"] == [
            {"key": "k", "value": {"bytesValue": "AQ=="}},
            {"key": "l", "value": {"arrayValue": {"values": []}}},
        ]


class TestUsage:
    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ({"input": 10, "output": 5}, {"input": 10, "output": 5, "total": 15}),
            ({"input": 10, "output": 5, "total": 99}, {"input": 10, "output": 5, "total": 99}),
            ({"input": 10, "cache_read_input_tokens": 7}, {"input": 10, "cache_read_input_tokens": 7, "total": 17}),
            ({"input": 10, "output": None}, {"input": 10, "total": 10}),
            ({"input": 1.5}, {}),
            ({"input": 2.0}, {"input": 2, "total": 2}),
            ({"input": -3}, {}),
            ({"input": True}, {}),
            (
                {"input": "10", "a": "-1", "b": "x", "c": "7 tokens", "d": "2.9"},
                {"input": 10, "c": 7, "d": 2, "total": 19},
            ),
            ({"input": 1, "details": {"a": 2}}, {"input": 1, "total": 1}),
            ({"input": 0, "output": 0}, {"input": 0, "output": 0, "total": 0}),
            ({}, {}),
            # OpenAI, complete
            (
                {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "total_tokens": 15,
                    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": None},
                    "completion_tokens_details": {"reasoning_tokens": 2},
                },
                {"input": 6, "output": 3, "total": 15, "input_cached_tokens": 4, "output_reasoning_tokens": 2},
            ),
            (
                {
                    "input_tokens": 1,
                    "output_tokens": 5,
                    "total_tokens": 6,
                    "input_tokens_details": {"cached_tokens": 4},
                },
                {"input": 0, "output": 5, "total": 6, "input_cached_tokens": 4},
            ),
            # not exactly OpenAI's
            (
                {"prompt_tokens": 10, "completion_tokens": 5},
                {"prompt_tokens": 10, "completion_tokens": 5, "total": 15},
            ),
            (
                {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "other": 4},
                {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "other": 4, "total": 10},
            ),
            (
                {
                    "prompt_tokens": 1,
                    "completion_tokens": 2,
                    "total_tokens": 3,
                    "prompt_tokens_details": {"cached_tokens": -1},
                },
                {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "total": 6},
            ),
        ],
    )
    def test_usage(self, given, shown):
        assert seen({f"{O}usage_details": as_json(given)}).usage == shown

    @pytest.mark.parametrize("given", ["[1]", "7", '"x"', 5, ["x"]])
    def test_usage_that_is_no_object_is_none(self, given):
        assert seen({f"{O}usage_details": given, "gen_ai.usage.input_tokens": 9}).usage == {}

    @pytest.mark.parametrize("given", ["broken", ""])
    def test_usage_that_is_no_json_leaves_it_to_the_framework(self, given):
        assert seen({f"{O}usage_details": given, "gen_ai.usage.input_tokens": 9}).usage == {"input": 9, "total": 9}

    def test_an_agent_operation_has_neither_model_nor_usage_nor_cost(self):
        observation = seen(
            {
                f"{O}type": "generation",
                f"{O}model.name": "m",
                f"{O}usage_details": '{"input": 1}',
                f"{O}cost_details": '{"total": 1}',
                "gen_ai.operation.name": "invoke_agent",
            }
        )
        assert (observation.model, observation.usage, observation.cost) == (None, {}, {})


class TestCost:
    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ('{"input": 0.001, "output": 0.002}', {"input": 0.001, "output": 0.002, "total": 0.003}),
            ('{"input": 0.5}', {"input": 0.5, "total": 0.5}),
            ('{"total": 0.5}', {"total": 0.5}),
            ('{"input": 0.1, "cache": 0.3}', {"input": 0.1, "cache": 0.3}),
            ('{"foo": 1.0}', {"foo": 1}),
            ('{"total": "NaN"}', {"total": "NaN"}),
            ('{"input": "0.1", "output": 0.2}', {"input": "0.1", "output": 0.2, "total": "0.10.2"}),
            ('{"input": null, "output": 0.2}', {"input": None, "output": 0.2, "total": 0.2}),
            ('{"input": null}', {}),
            ('{"input": 1, "total": null}', {"input": 1, "total": None}),
            ('{"input": 1, "total": 5}', {"input": 1, "total": 5}),
            ("{}", {}),
            ("[]", {}),
        ],
    )
    def test_cost(self, given, shown):
        assert seen({f"{O}cost_details": given}).cost == shown

    def test_cost_of_frameworks(self):
        assert seen_foreign({"gen_ai.usage.cost": 0.5}).cost == {"total": 0.5}
        assert seen_foreign({"gen_ai.usage.cost": "", "llm.cost.total": "0.25"}).cost == {"total": "0.25"}
        assert seen_foreign({"gen_ai.usage.cost": 0.5}).usage == {}


class TestModel:
    def test_parameters_are_texts_and_numbers(self):
        given = {
            "temperature": 0.5,
            "name": "s",
            "stop": ["x", 1.0, "ü"],
            "stream": True,
            "none": None,
            "o": {"a": 1e-7},
        }
        assert seen({f"{O}model.parameters": as_json(given)}).model_parameters == {
            "temperature": 0.5,
            "name": "s",
            "stop": '["x",1,"ü"]',
            "stream": "true",
            "none": "null",
            "o": '{"a":1e-7}',
        }

    def test_parameters_that_are_no_json_leave_it_to_the_framework(self):
        attributes = {f"{O}model.parameters": "broken", "gen_ai.request.temperature": 0.3, "gen_ai.request.model": "m"}
        assert seen(attributes).model_parameters == {"temperature": 0.3}

    def test_the_own_model_wins(self):
        assert seen({f"{O}model.name": "own", "gen_ai.response.model": "other"}).model == "own"
        assert seen({f"{O}model.name": "", "gen_ai.response.model": "other"}).model == "other"

    @pytest.mark.parametrize(
        ("kind", "version", "shown"),
        [
            ("generation", 3, ("p", 3)),
            ("generation", "3", ("p", 3)),
            ("generation", 0, ("p", None)),
            ("generation", 70_000, ("p", None)),
            ("generation", "x", ("p", None)),
            ("span", 3, (None, None)),
            ("embedding", 3, (None, None)),
        ],
    )
    def test_a_prompt_belongs_to_a_generation(self, kind, version, shown):
        observation = seen({f"{O}type": kind, f"{O}prompt.name": "p", f"{O}prompt.version": version})
        assert (observation.prompt_name, observation.prompt_version) == shown


class TestUserSessionTags:
    @pytest.mark.parametrize(
        ("attributes", "user"),
        [
            ({"user.id": "u"}, "u"),
            ({"langfuse.user.id": "compat", "user.id": "u"}, "compat"),
            ({"user.id": "", f"{O}metadata.langfuse_user_id": '"u-md"'}, '"u-md"'),
            ({"user.id": 7}, "7"),
            ({"user.id": ["a"]}, '["a"]'),
            ({"user.id": []}, "[]"),
            ({"user.id": ""}, None),
        ],
    )
    def test_user(self, attributes, user):
        assert seen(attributes, wire="json").user_id == user

    def test_the_session_may_be_the_conversation(self):
        assert seen({"gen_ai.conversation.id": "c"}).session_id == "c"
        assert seen({"gen_ai.conversation.id": "c", "session.id": "s"}).session_id == "s"

    @pytest.mark.parametrize(
        ("tags", "shown"),
        [
            (["b", "a"], ["b", "a"]),
            (["one,two"], ["one,two"]),
            ('["b", 3, null, true]', ["b", "3", "null", "true"]),
            # what baggage makes of a Python list
            ("['a', 'b']", ["['a'", "'b']"]),
            ("a, b", ["a", "b"]),
            ("one", ["one"]),
            ("", []),
            (7, []),
            ([1, True], ["1", "true"]),
        ],
    )
    def test_tags(self, tags, shown):
        assert seen({"langfuse.trace.tags": tags}).tags == shown

    def test_tags_in_metadata(self):
        assert seen({f"{O}metadata.langfuse_tags": '["x"]'}).tags == ["x"]


class TestEnvironmentVersionRelease:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("Prod", "prod"),
            ("langfuse-x", "x"),
            ("LANGFUSElangfuse_y", "y"),
            ("langfuse", "default"),
            ("x" * 45, "x" * 40),
            ("my env!", "default"),
            ("prod\n", "default"),
            ("été", "default"),
            (7, "default"),
        ],
    )
    def test_the_environment_is_normalised(self, value, shown):
        assert seen({"langfuse.environment": value}).environment == shown
        assert seen(resource={"deployment.environment": value}).environment == shown

    def test_where_the_environment_comes_from(self):
        assert seen().environment == "default"
        assert seen(resource={"deployment.environment.name": "a", "deployment.environment": "b"}).environment == "a"
        assert seen({"langfuse.environment": ""}, resource={"langfuse.environment": "r"}).environment == "r"
        assert seen({"deployment.environment": "s"}, resource={"langfuse.environment": "r"}).environment == "r"

    def test_version_and_release(self):
        resource = {"service.version": "1.2.3", "langfuse.release": "r1"}
        assert (seen(resource=resource).version, seen(resource=resource).release) == ("1.2.3", "r1")
        own = seen({"langfuse.version": "own", "langfuse.release": "r2"}, resource=resource)
        assert (own.version, own.release) == ("own", "r2")


class TestNameAndRoot:
    @pytest.mark.parametrize(
        ("attributes", "name"),
        [
            ({}, "span"),
            ({"gen_ai.tool.name": "weather"}, "weather"),
            ({"gen_ai.tool.name": ""}, "span"),
            ({"genkit:name": "g"}, "g"),
            ({"logfire.msg": "chat gpt"}, "chat gpt"),
            ({"ai.toolCall.name": "t"}, "t"),
            ({"ai.operationId": "ai.generateText"}, "ai.generateText"),
            ({"ai.operationId": "ai.generateText", "ai.telemetry.functionId": "f"}, "f:ai.generateText"),
        ],
    )
    def test_frameworks_rename_even_langfuse_s_spans(self, attributes, name):
        assert seen(attributes).name == name

    @pytest.mark.parametrize(
        ("parent", "flag", "root", "app_root"),
        [
            (None, None, True, False),
            (None, True, True, True),
            (7, None, False, False),
            (7, True, True, True),
            (7, "true", True, True),
            (7, 1, False, False),
        ],
    )
    def test_root(self, parent, flag, root, app_root):
        attributes = {} if flag is None else {"langfuse.internal.is_app_root": flag}
        observation = seen(attributes, parent=parent)
        assert (observation.is_root, observation.is_app_root) == (root, app_root)

    def test_times_are_cut_to_milliseconds(self):
        observation = seen(start=1_700_000_000_123_999_999, end=1_700_000_001_999_999_999)
        assert observation.start_time == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
        assert observation.end_time == datetime(2023, 11, 14, 22, 13, 21, 999_000, tzinfo=UTC)
        assert observation.duration == 1.876

    def test_an_unknown_time_is_none(self):
        observation = seen(start=0, end=None)
        assert (observation.start_time, observation.end_time, observation.duration) == (None, None, None)


TOOL = {"name": "weather", "parameters": {"type": "object"}}


class TestToolsInMetadata:
    """Tool definitions move from the metadata into the input."""

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            (None, {"tools": [TOOL]}),
            ("why?", {"prompt": "why?", "tools": [TOOL]}),
            ('[{"role": "user"}]', {"messages": [{"role": "user"}], "tools": [TOOL]}),
            ('{"q": 1}', {"q": 1, "tools": [TOOL]}),
            ('{"tools": [{"name": "other"}]}', {"tools": [{"name": "other"}, TOOL]}),
            ('{"tools": [{"name": "weather"}]}', {"tools": [{"name": "weather"}]}),
        ],
    )
    def test_into_the_input(self, given, shown):
        own = {} if given is None else {f"{O}input": given}
        observation = seen({**own, f"{O}metadata.tools": as_json([TOOL]), f"{O}metadata.k": "1"})
        assert observation.input == shown
        assert observation.metadata == {"k": 1}

    def test_a_text_of_the_user_s_stays_what_it_is(self):
        attributes = {f"{O}metadata.tools": as_json([TOOL]), f"{O}metadata.attributes": '{"x": 1}'}
        assert seen(attributes).metadata == {"attributes": {"x": 1}}

    @pytest.mark.parametrize("given", ["12", "true", '{"tools": "no list"}'])
    def test_an_input_that_cannot_take_them_leaves_them(self, given):
        observation = seen({f"{O}input": given, f"{O}metadata.tools": as_json([TOOL])})
        assert observation.input == json.loads(given)
        assert observation.metadata == {"tools": [TOOL]}

    @pytest.mark.parametrize("tools", ["x", 3, [], ["x"], [{"no": "name"}], [TOOL, 3]])
    def test_what_is_no_list_of_tools_stays_metadata(self, tools):
        assert seen({f"{O}metadata.tools": as_json(tools)}).metadata == {"tools": tools}

    @pytest.mark.parametrize(
        "key",
        ["ai.prompt.tools", "gen_ai.tool.definitions", "llm.tools.0.tool.json_schema", "model_request_parameters"],
    )
    def test_attributes_of_frameworks(self, key):
        value = {
            "llm.tools.0.tool.json_schema": TOOL,
            "model_request_parameters": {"function_tools": [TOOL]},
        }.get(key, [TOOL])
        observation = seen_foreign({key: as_json(value), "input": "q"})
        assert observation.input == {"prompt": "q", "tools": [TOOL]}
        assert observation.metadata == {}

    def test_the_rest_of_the_parameters_stays(self):
        value = {"function_tools": [TOOL], "output_mode": "text"}
        metadata = seen_foreign({"model_request_parameters": as_json(value), "http.method": "GET"}).metadata
        assert metadata == {
            "attributes.model_request_parameters": {"output_mode": "text"},
            "attributes.http.method": "GET",
        }

    def test_indexed_tools_come_in_their_order(self):
        attributes = {f"llm.tools.{index}.tool.json_schema": as_json({"name": f"t{index}"}) for index in (10, 2, 0)}
        tools = seen_foreign(attributes).input["tools"]
        assert [tool["name"] for tool in tools] == ["t0", "t2", "t10"]
