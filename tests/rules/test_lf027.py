"""LF027: several roots in one trace."""

import pytest
from langfuse import Langfuse
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from pytest_langfuse import Observations
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet


class TraceOfTheOrder(RandomIdGenerator):
    """Gives all that is done for an order one trace id, as some applications do to find it again."""

    def generate_trace_id(self) -> int:
        return 0x0AF7651916CD43DD8448EB211C80319C


@pytest.fixture
def orders(client, langfuse_fresh_client) -> Langfuse:
    return langfuse_fresh_client(
        public_key="pk-lf-orders",
        secret_key="sk-lf-orders",
        base_url="http://127.0.0.1:9",
        tracer_provider=TracerProvider(id_generator=TraceOfTheOrder()),
    )


def steps(langfuse, *names: str) -> None:
    for name in names:
        langfuse.start_observation(name=name).end()


def test_two_roots(orders, find):
    steps(orders, "plan", "answer")
    (finding,) = find("LF027")
    assert finding.severity == "warning"
    assert finding.text == (
        "'plan' (tests/rules/test_lf027.py:33) and 'answer' (tests/rules/test_lf027.py:33) are roots of the same "
        "trace: its name, input and output are those of the one that arrives last"
    )
    assert finding.fix.startswith("start 'answer' inside of 'plan'")


def test_one_finding_for_a_trace(orders, find):
    steps(orders, "plan", "answer", "reply", "rate")
    (finding,) = find("LF027")
    assert "and 2 more, are roots" in finding.text


def test_silent_for_a_seeded_trace_id(client, find, langfuse_spans):
    context = {"trace_id": client.create_trace_id(seed="order 1")}
    for name in ("plan", "answer"):
        client.start_observation(name=name, trace_context=context).end()
    assert len(langfuse_spans.traces) == 1
    assert find("LF027") == []


def test_silent_for_an_evaluator_outside(client, find, langfuse_spans):
    with client.start_as_current_observation(name="answer") as answer:
        context = {"trace_id": answer.trace_id, "parent_span_id": answer.id}
    client.start_observation(name="judge", as_type="evaluator", trace_context=context).end()
    assert len(langfuse_spans.traces) == 1
    assert find("LF027") == []


def test_silent_for_traces_and_for_siblings(client, find):
    with client.start_as_current_observation(name="answer"):
        steps(client, "one", "two")
    steps(client, "other")
    assert find("LF027") == []


def test_silent_for_a_root_that_a_file_has_twice(client, langfuse_spans):
    steps(client, "answer")
    spans = [recorded.ended for recorded in langfuse_spans._source.own.spans] * 2
    source = Observations.from_otlp(encode_spans(spans).SerializeToString())._source
    assert len(source.observations()) == 2
    assert RuleSet.of(["LF027"]).find(evidence_of(source, "", final=True)) == []
