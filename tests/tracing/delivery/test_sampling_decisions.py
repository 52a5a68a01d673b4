"""Each decision is counted, and stands on the trace that is kept: its rate and its reason."""

import math
from collections import Counter

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from pytest_langfuse.tracing import SamplingRule, request_context, shutdown_tracing, tracing_health

#: Their lower half decides: the first is kept at a rate of 0.5, the second is not.
KEPT, DROPPED = f"{'1' * 16}{'2' * 16}", f"{'1' * 16}{'e' * 16}"


def made(client, name, trace_id, *, error=False, **attributes):
    """A trace of two observations, in which the second may fail."""
    with client.start_as_current_observation(name=name, trace_context={"trace_id": trace_id}, **attributes):
        below = client.start_observation(name="below")
        if error:
            below.update(level="ERROR")
        below.end()


def sampling(spans):
    """The metadata of all top observations, by name; nothing else has it."""
    shutdown_tracing(30)
    assert not [one for one in spans if one.parent_id and "sampling" in one.metadata and one.name == "below"]
    return {one.name: one.metadata.get("sampling") for one in spans if one.name != "below"}


def test_a_kept_trace_tells_why(tracing, langfuse_spans):
    client = tracing(sample_rate=0.5)
    made(client, "within", KEPT)
    made(client, "failed within", "2" + KEPT[1:], error=True)
    made(client, "failed", DROPPED, error=True)
    made(client, "gone", "3" + DROPPED[1:])

    assert sampling(langfuse_spans) == {
        "within": {"rate": 0.5, "reason": "rate"},
        "failed within": {"rate": 0.5, "reason": "error"},
        "failed": {"rate": 0.5, "reason": "error"},
    }
    assert tracing_health().decisions == {"rate": 1, "error": 2, "dropped": 1}


def test_the_trace_has_it_in_langfuse(tracing, langfuse_spans):
    tracing(sample_rate=0.5).start_observation(name="a", trace_context=None).end()
    while not langfuse_spans:
        tracing(sample_rate=0.5).start_observation(name="a").end()
    (found, *_) = langfuse_spans.traces
    assert found.metadata["sampling"] == {"rate": 0.5, "reason": "rate"}


def test_a_slow_one_tells_so(tracing, langfuse_spans):
    client = tracing(sample_rate=0.0, keep_slower_than=0.001)
    tracer = trace.get_tracer_provider().get_tracer("langfuse-sdk")
    del tracer
    root = client.start_observation(name="slow")
    root._otel_span._start_time -= 10**9
    root.end()
    assert sampling(langfuse_spans) == {"slow": {"rate": 0.0, "reason": "slow"}}


def test_a_rule_is_named(tracing, langfuse_spans):
    def audited(seen):
        return 1.0 if "audit" in seen.tags else None

    client = tracing(
        sample_rate=1.0,
        sampling=[
            SamplingRule(True, user_id="vip-*", reason="vip"),
            audited,
            SamplingRule(0.5, name="GET /items/*"),
            SamplingRule(False, name="GET /healthz"),
        ],
    )
    with request_context(user_id="vip-7"):
        made(client, "GET /vip", DROPPED)
    with request_context(tags=["audit"]):
        made(client, "GET /audit", "2" + DROPPED[1:])
    made(client, "GET /items/{a}", KEPT)
    made(client, "GET /items/{b}", "3" + DROPPED[1:])
    made(client, "GET /items/{c}", "4" + DROPPED[1:], error=True)
    made(client, "GET /healthz", "5" + KEPT[1:])
    made(client, "other", "6" + DROPPED[1:])

    assert sampling(langfuse_spans) == {
        "GET /vip": {"rate": 1.0, "reason": "vip"},
        "GET /audit": {"rate": 1.0, "reason": "audited"},
        "GET /items/{a}": {"rate": 0.5, "reason": "name=GET /items/*"},
        "GET /items/{c}": {"rate": 0.5, "reason": "error"},
        "other": None,
    }
    health = tracing_health()
    assert health.decisions == {"vip": 1, "audited": 1, "name=GET /items/*": 1, "error": 1, "rate": 1, "dropped": 2}
    assert (health.sampled, health.dropped, health.unaccounted) == (10, {"sampled_out": 4}, 0)


def test_nothing_is_added_where_all_are_kept(tracing, langfuse_spans):
    client = tracing(sample_rate=1.0)
    made(client, "all", KEPT, error=True)
    assert sampling(langfuse_spans) == {"all": None}
    assert tracing_health().decisions == {}


def test_an_applications_own_metadata_of_that_name_stays(tracing, langfuse_spans):
    client = tracing(sample_rate=0.5)
    made(client, "own", KEPT, metadata={"sampling": {"temperature": 1}})
    with request_context(metadata={"sampling": "mine"}):
        made(client, "trace's own", "2" + KEPT[1:])
    shutdown_tracing(30)
    found = {one.name: one.metadata["sampling"] for one in langfuse_spans if one.name != "below"}
    assert found == {"own": {"temperature": 1}, "trace's own": "mine"}


def test_it_stands_on_the_observation_whose_parent_is_not_exported(tracing, langfuse_spans):
    client = tracing(sample_rate=0.5)
    remote = NonRecordingSpan(SpanContext(int(KEPT, 16), 7, True, TraceFlags(1)))
    tracer = trace.get_tracer("opentelemetry.instrumentation.wsgi")
    with (
        tracer.start_as_current_span("filtered", context=trace.set_span_in_context(remote)),
        client.start_as_current_observation(name="top"),
    ):
        client.start_observation(name="below").end()
    assert sampling(langfuse_spans) == {"top": {"rate": 0.5, "reason": "rate"}}


def test_scores_of_a_trace_follow_the_rules(tracing, langfuse_spans, langfuse_api):
    client = tracing(sample_rate=1.0, sampling=[SamplingRule(False, name="gone")])
    for name, trace_id in [("gone", KEPT), ("kept", DROPPED)]:
        made(client, name, trace_id)
        client.create_score(name=f"of {name}", value=1, trace_id=trace_id)
    client.flush()
    assert [score.name for score in langfuse_spans.scores] == ["of kept"]


def test_a_share_is_kept_and_all_errors(tracing, langfuse_spans):
    """2,000 traces with 20 errors: no trace in part, and the rates within three standard deviations."""
    rules = [SamplingRule(0.5, name="half"), SamplingRule(True, user_id="vip")]
    client = tracing(sample_rate=0.1, sampling=rules, flush_at=512)
    for number in range(2_000):
        name, user = ("half", "u") if number % 2 else ("tenth", "vip" if number % 100 == 0 else "u")
        with request_context(user_id=user), client.start_as_current_observation(name=name):
            below = client.start_observation(name="below")
            if number % 100 == 1:
                below.update(level="ERROR")
            below.end()
    shutdown_tracing(60)

    sizes = Counter(one.trace_id for one in langfuse_spans)
    assert set(sizes.values()) == {2}
    tops = [one for one in langfuse_spans if one.name != "below"]
    reasons = Counter((one.name, one.metadata["sampling"]["reason"]) for one in tops)
    assert reasons["half", "error"] == reasons["tenth", "user_id=vip"] == 20
    for key, traces, rate in [(("half", "name=half"), 980, 0.5), (("tenth", "rate"), 980, 0.1)]:
        assert abs(reasons[key] - traces * rate) <= 3 * math.sqrt(traces * rate * (1 - rate)) + 1, key


@pytest.mark.parametrize("keep_errors", [True, False])
def test_rules_need_what_ends_also_where_errors_do_not(tracing, langfuse_spans, keep_errors):
    client = tracing(sample_rate=0.0, keep_errors=keep_errors, sampling=[SamplingRule(True, tag="x")])
    with request_context(tags=["x"]):
        made(client, "kept", DROPPED)
    made(client, "gone", KEPT)
    assert sampling(langfuse_spans) == {"kept": {"rate": 1.0, "reason": "tag=x"}}
