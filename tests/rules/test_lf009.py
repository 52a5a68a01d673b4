"""LF009: an environment that Langfuse stores as another one."""

import pytest

from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet


@pytest.fixture
def found(langfuse_fresh_client, langfuse_spans):
    """What is found for a client of this environment."""

    def in_environment(environment):
        client = langfuse_fresh_client(
            public_key="pk-lf-env", secret_key="sk-lf-env", base_url="http://127.0.0.1:9", environment=environment
        )
        with client.start_as_current_observation(name="answer"), client.start_as_current_observation(name="step"):
            pass
        assert len(langfuse_spans) == 2
        return RuleSet.of(["LF009"]).find(evidence_of(langfuse_spans._source, "test", final=True))

    return in_environment


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("Production", "production"),
        ("langfuse-x", "x"),
        ("my env!", "default"),
        ("e" * 45, "e" * 40),
    ],
)
def test_rewritten(found, given, stored):
    (finding,) = found(given)
    assert finding.severity == "warning"
    assert finding.observation == "answer"
    assert f"is of the environment {given!r}, which Langfuse stores as {stored!r}" in finding.text
    assert finding.fix.startswith("use a name of" if stored == "default" else f"use {stored!r}, or another name of")


@pytest.mark.parametrize("given", [None, "default", "production", "staging_2", "e" * 40])
def test_stored_as_it_is(found, given):
    assert found(given) == []
