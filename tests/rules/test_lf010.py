"""LF010: a secret in what Langfuse stores."""

import json

import pytest
from langfuse import observe, propagate_attributes
from opentelemetry.trace import StatusCode

from pytest_langfuse.recording.sdk import hooks
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet

KEY = "sk-" + "lf-" + "7c1e5b2a-94d3-4f68-b0a7-e2d95c3f8146"
HEADER = "Bearer " + "Zq8vN3kLw7Rt2YpX5mBd"


def wheres(find):
    found = find("LF010")
    assert KEY not in str(found)
    assert HEADER not in str(found)
    return [(one.observation, one.text.partition(" has ")[2]) for one in found]


def test_where_it_stands(client, find):
    with client.start_as_current_observation(
        name="answer", input=[{"role": "user", "content": f"use {KEY}"}], metadata={"headers": {"k": KEY}, "model": "a"}
    ) as answer:
        answer.update(output=KEY, status_message=KEY)
    kind = "a Langfuse secret key in its "
    assert sorted(wheres(find)) == [
        ("answer", kind + where) for where in ("input", "metadata 'headers'", "output", "status message")
    ]
    finding = find("LF010")[0]
    assert finding.severity == "error"
    assert finding.text.startswith("'answer' (tests/rules/test_lf010.py:")


def test_arguments_of_a_decorated_function(client, find):
    @observe()
    def call(headers):
        return 200

    call({"Authorization": HEADER})
    assert wheres(find) == [("call", "an Authorization header in its input")]


def test_an_attribute_of_a_framework_and_of_a_propagated_value(client, find):
    with propagate_attributes(user_id=KEY), client.start_as_current_observation(name="answer") as answer:
        answer._otel_span.set_attribute("gen_ai.prompt", ["a", KEY])
    assert wheres(find) == [
        ("answer", "a Langfuse secret key in its user_id"),
        ("answer", "a Langfuse secret key in its attribute 'gen_ai.prompt'"),
    ]


def test_names_and_keys_are_not_repeated(client, find):
    with client.start_as_current_observation(name=f"call {KEY}", metadata={KEY: 1, f"{KEY}.": KEY}):
        pass
    found = wheres(find)
    assert [where for _, where in found] == [
        "a Langfuse secret key in its name",
        "a Langfuse secret key in its metadata",
    ]
    finding = find("LF010")[0]
    assert finding.observation == ""
    assert finding.text.startswith("a span (tests/rules/test_lf010.py:")
    assert finding.place is not None


def test_keys_of_metadata(client, find):
    with client.start_as_current_observation(name="call", metadata={KEY: 1}):
        pass
    assert wheres(find) == [("call", "a Langfuse secret key in its metadata")]


def test_an_exception_that_leaves_a_block(client, find):
    with pytest.raises(ValueError, match="connect"), client.start_as_current_observation(name="call", as_type="tool"):
        raise ValueError(f"cannot connect with {KEY}")
    assert wheres(find) == [("call", "a Langfuse secret key in its status message")]
    assert find("LF010")[0].fix == (
        "leave it out of the status message, which mask= of Langfuse() does not see, and renew it"
    )


def test_an_exception_that_leaves_a_function(client, find):
    @observe()
    def call():
        raise ValueError(f"cannot connect with {KEY}")

    with pytest.raises(ValueError, match="connect"):
        call()
    assert wheres(find) == [("call", "a Langfuse secret key in its status message")]


def test_langfuse_stores_the_message_that_the_application_sets_and_no_exception_events(client, find):
    def call():
        with client.start_as_current_observation(name="call") as observation:
            observation.update(level="ERROR", status_message="cannot connect")
            raise ValueError(f"cannot connect with {KEY}")

    with pytest.raises(ValueError, match="connect"):
        call()
    assert wheres(find) == []


def test_a_status_without_an_exception(client, find):
    with client.start_as_current_observation(name="call") as call:
        call._otel_span.set_status(StatusCode.ERROR, f"cannot connect with {KEY}")
    assert wheres(find) == [("call", "a Langfuse secret key in its status message")]


def test_events_from_which_langfuse_takes_input_and_output(client, find):
    with client.start_as_current_observation(name="call") as call:
        call._otel_span.add_event("gen_ai.user.message", {"content": f"use {KEY}"})
    assert wheres(find) == [("call", "a Langfuse secret key in its event")]


@pytest.mark.parametrize(
    "headers",
    [
        [["accept", "*/*"], ["authorization", HEADER]],
        [("Authorization", HEADER)],
        [(b"authorization", HEADER.encode())],
        str([(b"authorization", HEADER.encode())]),
    ],
)
def test_headers_as_pairs(client, find, headers):
    with client.start_as_current_observation(name="call", input={"headers": headers}):
        pass
    assert wheres(find) == [("call", "an Authorization header in its input")]


def test_a_header_behind_the_key_of_an_attribute(client, find):
    with client.start_as_current_observation(name="call", metadata={"authorization": HEADER}) as call:
        call._otel_span.set_attribute("http.request.header.authorization", [HEADER])
    assert wheres(find) == [
        ("call", "an Authorization header in its metadata 'authorization'"),
        ("call", "an Authorization header in its attribute 'http.request.header.authorization'"),
    ]


def test_masked_values_are_not_found(langfuse_fresh_client, langfuse_spans):
    def mask(*, data, **_):
        return json.loads(json.dumps(data).replace(KEY, "***"))

    client = langfuse_fresh_client(
        public_key="pk-lf-masked", secret_key="sk-lf-masked", base_url="http://127.0.0.1:9", mask=mask
    )
    with client.start_as_current_observation(name="answer", input={"key": KEY}):
        pass
    evidence = evidence_of(langfuse_spans._source, "test", final=True)
    assert len(evidence.observations) == 1
    assert RuleSet.of(["LF010"]).find(evidence) == []


@pytest.mark.parametrize(
    "text",
    [
        "Set OPENAI_API_KEY=sk-proj-your-key and Authorization: Bearer <your-token-from-the-page>",
        "postgres://user:password@db/app, trace 4bf92f3577b34da6a3ce929d0e0e4736",
        "https://example.com/@me",
    ],
)
def test_what_models_write_about_secrets(client, find, text):
    with client.start_as_current_observation(name="answer", output=text, metadata={"page": text}):
        pass
    assert find("LF010") == []


def test_content_is_not_decoded(client, langfuse_spans):
    assert hooks.recorder is not None
    for text in ("Paris", KEY):
        with client.start_as_current_observation(name="answer", output={"text": text}):
            pass
    evidence = evidence_of(langfuse_spans._source, "test", final=True)
    assert len(RuleSet.of(["LF010"]).find(evidence)) == 1
    with pytest.raises(AttributeError):
        object.__getattribute__(evidence.observations[0], "input")
