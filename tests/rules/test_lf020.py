"""LF020: a secret where the application's mask does not reach."""

import pytest
from langfuse import get_client
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode

KEY = "sk-" + "lf-" + "7c1e5b2a-94d3-4f68-b0a7-e2d95c3f8146"


def hide(*, data, **_):
    return "***" if data else data


@pytest.fixture
def masking(langfuse_fresh_client):
    return langfuse_fresh_client(
        public_key="pk-lf-020", secret_key="sk-lf-020", mask=hide, tracer_provider=TracerProvider()
    )


def of_library(client, name="ChatCompletion"):
    provider = client._resources.tracer_provider
    return provider.get_tracer("opentelemetry.instrumentation.openai").start_as_current_span(name)


def test_a_span_of_another_library(masking, find):
    with masking.start_as_current_observation(name="answer", input=KEY), of_library(masking) as span:
        span.set_attributes({"gen_ai.request.model": "gpt-4o", "gen_ai.prompt": f"use {KEY}"})
    (finding,) = find("LF020")
    assert finding.severity == "error"
    assert finding.text.startswith("'ChatCompletion' (tests/rules/test_lf020.py:")
    assert finding.text.endswith(
        "has a Langfuse secret key in its attribute 'gen_ai.prompt', which mask= of the client did not mask"
    )
    assert finding.fix.startswith("pass mask_otel_spans= to Langfuse()")
    assert KEY not in str(finding)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("http.request.header.authorization", ["Bearer " + "Zq8vN3kLw7Rt2YpX5mBd"]),
        ("rpc.metadata.authorization", "Bearer " + "Zq8vN3kLw7Rt2YpX5mBd"),
        ("http.request.header.x_key", [KEY]),
    ],
)
def test_headers_that_a_library_traces(masking, find, key, value):
    with of_library(masking) as span:
        span.set_attributes({"gen_ai.request.model": "gpt-4o", key: value})
    (finding,) = find("LF020")
    assert f"in its attribute {key!r}," in finding.text


@pytest.mark.parametrize(
    ("leak", "where", "fix"),
    [
        (lambda span: span.record_exception(ValueError(KEY)), "exception event", "leave the secret out"),
        (lambda span: span.add_event("retry", {"header": KEY}), "other events", "leave the secret out"),
        (lambda span: span.add_event("retry", {"headers": ["a", KEY]}), "other events", "leave the secret out"),
        (lambda span: span.set_status(StatusCode.ERROR, KEY), "span status", "leave the secret out"),
        (
            lambda _: get_client(public_key="pk-lf-020").update_current_span(status_message=KEY),
            "status message",
            "pass",
        ),
    ],
)
def test_what_no_mask_sees_of_an_own_observation(masking, find, leak, where, fix):
    with masking.start_as_current_observation(name="call"):
        leak(trace.get_current_span())
    (finding,) = find("LF020")
    assert f"has a Langfuse secret key in its {where}, which mask= of the client did not mask" in finding.text
    assert finding.fix.startswith(fix)
    assert KEY not in str(finding)


def test_an_error_that_the_application_raises(masking, find):
    with pytest.raises(ValueError, match="refused"), masking.start_as_current_observation(name="call"):
        raise ValueError(f"refused {KEY}")
    found = find("LF020")
    assert KEY not in str(found)
    assert [finding.text.partition(" has ")[2] for finding in found] == [
        f"a Langfuse secret key in its {where}, which mask= of the client did not mask"
        for where in ("span status", "exception event")
    ]


def test_what_a_mask_has_seen_and_kept(langfuse_fresh_client, find):
    client = langfuse_fresh_client(public_key="pk-lf-020", secret_key="sk-lf-020", mask=lambda data, **_: data)
    with client.start_as_current_observation(name="call", input=KEY):
        trace.get_current_span().add_event("retry")
    assert find("LF020") == []
    assert find("LF010") != []


def test_without_a_mask_it_is_another_rules(client, find):
    with pytest.raises(ValueError, match="refused"), client.start_as_current_observation(name="call"):
        raise ValueError(f"refused {KEY}")
    with of_library(client) as span:
        span.set_attributes({"gen_ai.request.model": "gpt-4o", "gen_ai.prompt": KEY})
    assert find("LF020") == []
    assert find("LF010") != []


def test_what_the_mask_has_replaced(masking, find):
    masking.start_observation(name="call", input={"key": KEY}, metadata={"key": KEY}).update(output=KEY).end()
    assert find("LF020") == []


def test_errors_without_secrets(masking, find):
    with pytest.raises(ValueError, match="refused"), masking.start_as_current_observation(name="call"):
        raise ValueError("refused: 7c1e5b2a-94d3-4f68-b0a7-e2d95c3f8146")
    assert find("LF020") == []


def test_the_mask_of_another_project(masking, langfuse_fresh_client, find):
    other = langfuse_fresh_client(
        public_key="pk-lf-020-other", secret_key="sk-lf-020-other", tracer_provider=TracerProvider()
    )
    other.start_observation(name="call").update(status_message=KEY).end()
    assert find("LF020") == []
