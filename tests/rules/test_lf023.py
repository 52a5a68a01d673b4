"""LF023: a score of what can't exist in Langfuse."""

import uuid

import pytest
from langfuse import Langfuse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

OLDER = "0123456789abcdef0123456789abcdef"
UUID = str(uuid.UUID(OLDER))


@pytest.mark.parametrize("trace_id", [UUID, "request-1", OLDER.upper(), OLDER[:16]])
def test_what_is_no_id_of_a_trace(client, find, trace_id):
    client.create_score(name="helpful", value=1, trace_id=trace_id)
    (finding,) = find("LF023")
    assert finding.severity == "error"
    assert finding.text == (
        f"the score 'helpful' is for the trace '{trace_id}', but ids of traces have 32 lower-case hexadecimal digits"
    )
    assert finding.fix == "take the id from create_trace_id(seed=...) of the client"


def test_what_is_no_id_of_an_observation(client, find):
    client.create_score(name="helpful", value=1, trace_id=OLDER, observation_id=UUID)
    (finding,) = find("LF023")
    assert f"for the observation '{UUID}', but ids of observations have 16 lower-case" in finding.text


def test_an_id_of_zeros_alone(client, find):
    """It has the digits of an id, and is the one that the standard reserves for "none"."""
    client.create_score(name="helpful", value=1, trace_id="0" * 32)
    client.create_score(name="polite", value=1, trace_id=OLDER, observation_id="0" * 16)
    assert [(finding.text, finding.fix) for finding in find("LF023")] == [
        (
            f"the score 'helpful' is for the trace '{'0' * 32}', but no trace has an id of zeros alone",
            "take the id from create_trace_id(seed=...) of the client",
        ),
        (
            f"the score 'polite' is for the observation '{'0' * 16}', but no observation has an id of zeros alone",
            "take the id from get_current_observation_id() of the client",
        ),
    ]


def test_an_observation_that_a_filter_keeps_back(langfuse_fresh_client, find):
    client = langfuse_fresh_client(
        public_key="pk-lf-023", secret_key="sk", should_export_span=lambda span: span.name != "health"
    )
    with client.start_as_current_observation(name="answer"), client.start_as_current_observation(name="health") as span:
        span.score(name="helpful", value=1)
        span.score_trace(name="polite", value=1)
    (finding,) = find("LF023")
    assert finding.text.startswith("the score 'helpful' is for 'health' (tests/rules/test_lf023.py:")
    assert ", but it was not exported: " in finding.text
    assert finding.observation == "health"


def test_a_trace_that_is_sampled_out(langfuse_fresh_client, find):
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF))
    client = langfuse_fresh_client(public_key="pk-lf-023", secret_key="sk", tracer_provider=provider)
    span = client.start_observation(name="answer")
    span.end()
    client.create_score(name="helpful", value=1, trace_id=span.trace_id)
    (finding,) = find("LF023")
    assert "is for 'answer' (tests/rules/test_lf023.py:" in finding.text
    assert finding.text.endswith(", but its trace was not exported: sampled out")


def test_a_feedback_endpoint_scores_an_older_trace(client, find):
    client.create_score(name="helpful", value=1, trace_id=OLDER)
    client.create_score(name="helpful", value=1, trace_id=OLDER, observation_id=OLDER[:16])
    assert find("LF023") == []


def test_what_runs_is_scored(client, find):
    with client.start_as_current_observation(name="answer") as span:
        span.score(name="helpful", value=1)
        span.score_trace(name="polite", value=1)
        assert find("LF023") == []
    never_ended = client.start_observation(name="stream")
    never_ended.score_trace(name="polite", value=1)
    assert find("LF023") == []
    never_ended.end()
    assert find("LF023") == []


def test_sessions_have_other_ids(client, find):
    client.create_score(name="helpful", value=1, session_id="any text")
    assert find("LF023") == []


def test_an_unexported_neighbour_is_not_the_target(langfuse_fresh_client, find):
    client = langfuse_fresh_client(
        public_key="pk-lf-023", secret_key="sk", should_export_span=lambda span: span.name != "health"
    )
    assert isinstance(client, Langfuse)
    with client.start_as_current_observation(name="answer") as answer:
        client.start_observation(name="health").end()
        answer.score(name="helpful", value=1)
    assert find("LF023") == []


def test_a_trace_of_which_something_runs(langfuse_fresh_client, find):
    client = langfuse_fresh_client(
        public_key="pk-lf-023", secret_key="sk", should_export_span=lambda span: span.name != "health"
    )
    with client.start_as_current_observation(name="health") as health:
        stream = client.start_observation(name="stream")
        health.score_trace(name="helpful", value=1)
    assert find("LF023") == []
    stream.end()
    assert find("LF023") == []
