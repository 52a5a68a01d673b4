"""Rules of sampling: what each matches, which one decides, and what a function may return."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from pytest_langfuse.tracing import ConfigError, SampledTrace, SamplingRule, TracingConfig, get_tracing_config
from pytest_langfuse.tracing.sampling import SamplingDecision, SamplingRules

#: The lower half of the trace id decides.
KEPT_AT_HALF, DROPPED_AT_HALF = 1 << 62, (1 << 63) + 1
TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("t")


def span(name="span", **attributes):
    one = TRACER.start_span(name, attributes={key.replace("__", "."): value for key, value in attributes.items()})
    one.end()
    return one


def trace(name="root", trace_id=DROPPED_AT_HALF, spans=(), **attributes):
    return SampledTrace(trace_id, span(name, **attributes), spans)


def decision(*rules, rate=0.5, sampled=True, **of_trace):
    return SamplingRules(rate, rules).decide(trace(**of_trace), sampled=sampled)


class TestATrace:
    def test_has_what_was_set_on_any_of_its_spans(self):
        it = trace(spans=[
            span(user__id="u-1", langfuse__trace__tags=["a"]),
            span(user__id="u-2", session__id="s", langfuse__trace__tags=["b", "a"], langfuse__trace__metadata__k="1"),
        ])  # fmt: skip
        assert (it.user_id, it.session_id, it.tags, it.metadata) == ("u-1", "s", ("a", "b"), {"k": "1"})

    def test_has_nothing_else(self):
        it = trace()
        assert (it.user_id, it.session_id, it.tags, it.metadata, it.name) == (None, None, (), {}, "root")
        assert it.trace_id == f"{DROPPED_AT_HALF:032x}"

    def test_is_called_as_the_application_calls_it(self):
        assert trace(langfuse__trace__name="checkout").name == "checkout"

    def test_lasts_from_its_first_start_to_its_last_end(self):
        root = TRACER.start_span("root", start_time=10**18)
        child = TRACER.start_span("child", start_time=10**18 + 10**9)
        assert SampledTrace(1, root, []).duration == 0.0
        child.end(10**18 + 3 * 10**9)
        root.end(10**18 + 2 * 10**9)
        assert SampledTrace(1, root, [child]).duration == 3.0


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({"name": "GET /items/*"}, {"name": "GET /items/{id}"}),
        ({"name": "checkout"}, {"langfuse__trace__name": "checkout"}),
        ({"name": "root"}, {"langfuse__trace__name": "checkout"}),
        ({"name": ["nothing", "check*"]}, {"name": "checkout"}),
        ({"user_id": "vip-*"}, {"user__id": "vip-7"}),
        ({"session_id": "s-?"}, {"session__id": "s-1"}),
        ({"tag": "audit"}, {"langfuse__trace__tags": ["beta", "audit"]}),
        ({"tag": "audit", "user_id": "u"}, {"langfuse__trace__tags": ["audit"], "user__id": "u"}),
        ({}, {}),
    ],
)
def test_a_rule_matches(rule, matches):
    assert SamplingRule(0.25, **rule)(trace(**matches)) == 0.25


@pytest.mark.parametrize(
    ("rule", "other"),
    [
        ({"name": "GET /items/*"}, {"name": "GET /carts/1"}),
        ({"name": "checkout"}, {"name": "checkouts"}),
        ({"name": "Checkout"}, {"name": "checkout"}),
        ({"user_id": "*"}, {}),
        ({"tag": "*"}, {}),
        ({"tag": "audit", "user_id": "u"}, {"langfuse__trace__tags": ["audit"], "user__id": "v"}),
        ({"tag": "audit", "user_id": "u"}, {"user__id": "u"}),
    ],
)
def test_a_rule_does_not_match(rule, other):
    assert SamplingRule(0.25, **rule)(trace(**other)) is None


class TestTheDecision:
    def test_is_the_first_verdict(self):
        rules = (SamplingRule(True, user_id="vip"), SamplingRule(0.0, name="root"), SamplingRule(True))
        assert decision(*rules, user__id="vip") == SamplingDecision(True, 1.0, "user_id=vip")
        assert decision(*rules) == SamplingDecision(False, 0.0, "name=root")
        assert decision(*rules, name="other") == (True, 1.0, "rate")

    def test_is_by_the_rate_where_no_rule_matches(self):
        rule = SamplingRule(True, tag="x")
        assert decision(rule) == (False, 0.5, "rate")
        assert decision(rule, trace_id=KEPT_AT_HALF) == (True, 0.5, "rate")

    @given(st.integers(1, (1 << 128) - 1), st.floats(0, 1), st.floats(0, 1))
    def test_is_by_the_trace_id_at_a_rules_rate(self, trace_id, rate, other):
        theirs = TraceIdRatioBased(rate).should_sample(None, trace_id, "x").decision.is_sampled()
        assert decision(SamplingRule(rate), rate=other, trace_id=trace_id) == (theirs, rate, "rate")

    def test_names_the_rule(self):
        def checkouts(_):
            return 1.0

        class Vips:
            def __call__(self, _):
                return True

        def error(_):
            return True

        named = SamplingRule(True, user_id=["a", "b"], tag="t", reason="audit")
        given = {"user__id": "b", "langfuse__trace__tags": ["t"]}
        assert decision(named, **given).reason == "audit"
        assert decision(SamplingRule(True, user_id=["a", "b"], tag="t"), **given).reason == "user_id=a|b tag=t"
        assert [decision(rule).reason for rule in (checkouts, Vips(), error)] == ["checkouts", "Vips", "error()"]

    def test_stands_in_the_metadata(self):
        assert json.loads(SamplingDecision(True, 0.1, "GET /ü").metadata) == {"rate": 0.1, "reason": "GET /ü"}

    @pytest.mark.parametrize(
        ("verdict", "expected"),
        [
            (True, (True, 1.0, "rule")),
            (False, (False, 0.0, "rule")),
            (1, (True, 1.0, "rule")),
            (0.5, (False, 0.5, "rule")),
        ],
    )
    def test_of_a_function_is_a_rate_or_a_truth(self, verdict, expected):
        def rule(_):
            return verdict

        assert decision(rule, rate=1.0) == expected

    def test_of_a_caller_who_has_not_sampled_the_trace_stands_unless_it_is_always_kept(self):
        assert decision(SamplingRule(1.0), sampled=False) == (False, 1.0, "rate")
        assert decision(SamplingRule(True), sampled=False) == (True, 1.0, "rate")

    @pytest.mark.parametrize("verdict", [2.0, -1, float("nan"), "yes", ValueError("no\x1b[31m")])
    def test_is_the_next_rules_where_a_function_fails(self, verdict, lines):
        def vips(_):
            if isinstance(verdict, Exception):
                raise verdict
            return verdict

        assert decision(vips, SamplingRule(True, reason="next")) == (True, 1.0, "next")
        (line,) = lines()
        assert "asking the sampling rule vips" in line
        assert "\x1b" not in line

    def test_in_a_hurry_asks_no_function(self):
        def never(_):
            raise AssertionError

        rules = SamplingRules(0.5, (never, SamplingRule(True, name="root")))
        assert rules.decide(trace(), sampled=True, ask_functions=False).kept


@pytest.fixture(autouse=True)
def _quiet_again():
    from pytest_langfuse.tracing.failures import failures

    failures.forget()


class TestTheSetting:
    def test_takes_rules_functions_and_rates(self):
        def own(trace):
            return None

        rule = SamplingRule(0.5)
        assert get_tracing_config(sampling=[rule, own, 0.25]).sampling == (rule, own, SamplingRule(0.25))
        assert get_tracing_config(sampling=own).sampling == (own,)

    def test_can_be_a_variable(self, monkeypatch):
        rules = [{"rate": True, "user_id": "vip-*", "reason": "vip"}, {"rate": 0.5, "name": ["GET /a", "GET /b"]}]
        monkeypatch.setenv("LANGFUSE_SAMPLING", json.dumps(rules))
        assert get_tracing_config().sampling == (
            SamplingRule(True, user_id="vip-*", reason="vip"),
            SamplingRule(0.5, name=("GET /a", "GET /b")),
        )

    def test_is_the_same_in_a_variable_and_in_code(self, monkeypatch):
        for text in (
            "[]",
            "[1]",
            "[0.5, true]",
            '[{"rate": false, "tag": ["a", "b"]}, 0.1]',
            '[{"rate": 1, "name": null}]',
        ):
            monkeypatch.setenv("LANGFUSE_SAMPLING", text)
            assert get_tracing_config().sampling == TracingConfig(sampling=json.loads(text)).sampling
        for text in (
            "1",
            "null",
            '"x"',
            '{"rate": 1}',
            "[null]",
            '["x"]',
            "[2]",
            "[[1]]",
            '[{"rate": "yes"}]',
            "[NaN]",
        ):
            monkeypatch.setenv("LANGFUSE_SAMPLING", text)
            with pytest.raises(ConfigError) as of_variable:
                get_tracing_config()
            with pytest.raises((ConfigError, TypeError, ValueError)) as of_code:
                TracingConfig(sampling=json.loads(text))
            if not text.startswith(("1", "null", '"')):
                problem = str(of_variable.value).partition(". Allowed")[0].partition(" has ")[2]
                assert problem in str(of_code.value)

    def test_of_a_variable_is_mended_in_its_own_syntax(self, monkeypatch):
        for text in ("x", "1", "[2]", '[{"rate": 2}]', "[" * 100_000):
            monkeypatch.setenv("LANGFUSE_SAMPLING", text)
            with pytest.raises(ConfigError) as caught:
                get_tracing_config()
            message = str(caught.value)
            assert "function" not in message
            assert "SamplingRule(T" not in message
            # What the fix says, as a shell reads it, works.
            fix = message.partition("Fix: set ")[2].removesuffix(".")
            name, _, value = shlex.split(fix)[0].partition("=")
            assert name == "LANGFUSE_SAMPLING"
            monkeypatch.setenv(name, value)
            assert get_tracing_config().sampling == (
                SamplingRule(True, user_id="vip-*"),
                SamplingRule(0.5, name="GET /items/*"),
            )

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("0.5", "is a single rate, which sample_rate is for"),
            ("[0.5", "is not a list of rules"),
            ('[{"rate": 2}]', "which makes no rule (SamplingRule(): rate=2 is out of range)"),
            ('[{"rat": 1}]', "unexpected keyword argument 'rat'"),
            ('[{"name": "x"}]', "missing 1 required positional argument: 'rate'"),
        ],
    )
    def test_of_a_variable_that_makes_no_rule_is_an_error(self, monkeypatch, value, problem):
        monkeypatch.setenv("LANGFUSE_SAMPLING", value)
        with pytest.raises(ValueError, match="LANGFUSE_SAMPLING") as caught:
            get_tracing_config()
        assert problem in str(caught.value)
