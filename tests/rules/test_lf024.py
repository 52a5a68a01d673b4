"""LF024: two observations with one id."""

import random

from opentelemetry import trace as otel_trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from pytest_langfuse import Observations
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet


def answer(langfuse, name: str) -> None:
    random.seed(7)  # for the same examples in the prompt each time
    langfuse.start_observation(name=name).end()


def test_an_application_that_seeds(client, find):
    answer(client, "first")
    answer(client, "second")
    (finding,) = find("LF024")
    assert finding.text == (
        "'second' (tests/rules/test_lf024.py:15) has the same id as 'first', and Langfuse keeps one of both"
    )
    assert finding.observation == "second"
    assert finding.place.line == 15
    assert "random.Random(seed)" in finding.fix


def test_in_a_file(client, langfuse_spans):
    answer(client, "first")
    answer(client, "second")
    spans = [recorded.ended for recorded in langfuse_spans._source.own.spans]
    source = Observations.from_otlp(encode_spans(spans).SerializeToString())._source
    (finding,) = RuleSet.of(["LF024"]).find(evidence_of(source, "", final=True))
    assert finding.text == "'second' has the same id as 'first', and Langfuse keeps one of both"


def test_silent_for_a_span_that_a_file_has_twice(client, langfuse_spans):
    answer(client, "first")
    spans = [recorded.ended for recorded in langfuse_spans._source.own.spans] * 2
    source = Observations.from_otlp(encode_spans(spans).SerializeToString())._source
    assert len(source.observations()) == 2
    assert RuleSet.of(["LF024"]).find(evidence_of(source, "", final=True)) == []


def test_silent_for_a_generator_of_the_application(client, find, langfuse_spans):
    for name in ("first", "second"):
        random.Random(7).random()
        client.start_observation(name=name).end()
    otel_trace.get_tracer("web.framework").start_span("left out").end()
    assert len(langfuse_spans) == 2
    assert find("LF024") == []


def test_silent_for_tests_that_are_seeded_alike(pytester):
    pytester.makepyfile(
        """
        import random
        from langfuse import Langfuse

        langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")

        def test_one():
            random.seed(7)
            langfuse.start_observation(name="answer").end()

        test_two = test_one
        """
    )
    result = pytester.runpytest("--langfuse-strict", "-p", "no:randomly", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
