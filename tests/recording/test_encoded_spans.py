"""What the exporters of a test would put on the wire, where they can't encode a span."""

import pytest
from langfuse import Langfuse

from pytest_langfuse import Observations, TreeMismatch
from pytest_langfuse.recording.sdk import hooks
from pytest_langfuse.recording.start_place import StartPlaces
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet

HALF = "caf\ud83d"


@pytest.fixture
def client(langfuse_spans) -> Langfuse:
    return Langfuse(public_key="pk-lf-half", secret_key="sk-lf-half", base_url="http://127.0.0.1:9")


@pytest.mark.parametrize("part", ["name", "status message", "event"])
def test_a_span_that_cannot_be_encoded_does_not_hide_the_others(client, langfuse_spans, part):
    for number in range(4):
        client.start_observation(name=f"before-{number}").end()
    bad = client.start_observation(name=HALF if part == "name" else "bad")
    if part == "status message":
        bad.update(level="ERROR", status_message=HALF)
    if part == "event":
        bad._otel_span.add_event(HALF)
    bad.end()
    client.start_observation(name="after", input="hunter-2").end()
    (wire,) = langfuse_spans._source.wire()
    names = [one.name for one in Observations.from_otlp(wire.body)]
    assert names == ["before-0", "before-1", "before-2", "before-3", "after"]
    langfuse_spans.assert_not_exported("hunter-1")
    with pytest.raises(TreeMismatch, match="exporter Langfuse, after, attribute"):
        langfuse_spans.assert_not_exported("hunter-2")


def test_rules_about_bodies_can_be_evaluated(client, langfuse_spans):
    recorder = hooks.recorder
    recorder.places = StartPlaces(lambda _: False)
    try:
        client.start_observation(name=HALF, input="x" * 6_000_000).end()
        evidence = evidence_of(langfuse_spans._source, "test", final=True)
        assert "LF014" not in [finding.code for finding in RuleSet.of().find(evidence)]
    finally:
        recorder.places = None
