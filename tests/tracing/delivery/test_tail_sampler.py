"""Which traces are kept, and that none is kept in part."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags

from pytest_langfuse.tracing import SamplingRule, init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery.held_bytes import HeldBytes
from pytest_langfuse.tracing.delivery.intake import Intake
from pytest_langfuse.tracing.delivery.sampling_decisions import SamplingDecisions
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.delivery.tail_sampler import TailSampler
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.sampling import SamplingRules

KEPT_AT_HALF, DROPPED_AT_HALF = (1 << 62), (1 << 63) + 1


class Ids(IdGenerator):
    """Trace ids as told, else random from a seed."""

    def __init__(self, seed=1):
        self.random = random.Random(seed)
        self.traces = []

    def generate_span_id(self):
        return self.random.getrandbits(64) or 1

    def generate_trace_id(self):
        return self.traces.pop(0) if self.traces else self.random.getrandbits(128) or 1


class Sampled:
    """A tracer behind a `TailSampler`, and what came out of it."""

    def __init__(
        self, rate=0.5, *, rules=(), keep_errors=True, keep_slower_than=None, max_spans=1000, max_bytes=10**9, seed=1
    ):
        self.exporter = InMemorySpanExporter()
        self.ledger = SpanLedger()
        self.held = HeldBytes(max_bytes)
        self.sampler = TailSampler(
            Intake(SimpleSpanProcessor(self.exporter), ledger=self.ledger, held=self.held), held=self.held,
            decisions=SamplingDecisions(SamplingRules(rate, rules), self.ledger, most=1000),
            keep_errors=keep_errors, keep_slower_than=keep_slower_than, ledger=self.ledger, max_spans=max_spans,
        )  # fmt: skip
        self.ids = Ids(seed)
        self.provider = TracerProvider(id_generator=self.ids, shutdown_on_exit=False)
        self.provider.add_span_processor(self.sampler)
        self.tracer = self.provider.get_tracer("test")

    def root(self, trace_id=DROPPED_AT_HALF, name="root", **arguments):
        self.ids.traces.append(trace_id)
        return self.tracer.start_span(name, **arguments)

    def child(self, parent, name="child", **arguments):
        return self.tracer.start_span(name, trace.set_span_in_context(parent), **arguments)

    @property
    def names(self):
        return [span.name for span in self.exporter.get_finished_spans()]

    @property
    def dropped(self):
        return self.ledger.balance().dropped.get("sampled_out", 0)


def test_a_trace_within_the_rate_is_passed_on_span_by_span():
    it = Sampled()
    root = it.root(KEPT_AT_HALF)
    it.child(root).end()
    assert it.names == ["child"]
    root.end()
    assert it.names == ["child", "root"]
    assert (it.sampler.waiting, it.dropped) == (0, 0)


def test_a_trace_outside_of_it_waits_and_is_dropped_as_a_whole():
    it = Sampled()
    root = it.root()
    it.child(root).end()
    assert (it.sampler.waiting, it.dropped) == (1, 0)
    root.end()
    assert (it.sampler.waiting, it.dropped, it.names) == (0, 2, [])


@pytest.mark.parametrize("failing", ["early", "late", "root"])
def test_one_error_keeps_all_of_it(failing):
    it = Sampled()
    root = it.root()
    for name in ("early", "late"):
        span = it.child(root, name)
        if name == failing:
            span.set_status(StatusCode.ERROR)
        span.end()
    if failing == "root":
        root.set_status(StatusCode.ERROR)
    root.end()

    assert sorted(it.names) == ["early", "late", "root"]
    assert it.dropped == 0


def test_a_child_that_fails_after_its_root_ended_keeps_the_trace():
    it = Sampled()
    root = it.root()
    child = it.child(root)
    root.end()
    child.set_status(StatusCode.ERROR)
    child.end()

    assert sorted(it.names) == ["child", "root"]


def test_what_starts_after_the_decision_follows_it():
    it = Sampled()
    root = it.root()
    failed = it.child(root, "failed")
    failed.set_status(StatusCode.ERROR)
    failed.end()
    it.child(root, "later").end()
    root.end()
    it.child(root, "very late").end()

    assert it.names == ["failed", "later", "root", "very late"]


def test_an_error_after_the_trace_was_dropped_is_still_shown():
    it = Sampled()
    root = it.root()
    root.end()
    late = it.child(root, "late")
    late.set_status(StatusCode.ERROR)
    late.end()

    assert (it.names, it.dropped) == (["late"], 1)


@pytest.mark.parametrize(("keep_errors", "kept"), [(True, 1), (False, 0)])
def test_errors_can_be_treated_like_all_others(keep_errors, kept):
    it = Sampled(keep_errors=keep_errors)
    root = it.root()
    root.set_status(StatusCode.ERROR)
    root.end()

    assert len(it.names) == kept


@pytest.mark.parametrize(("seconds", "kept"), [(1.999, 0), (2.0, 1), (5, 1)])
def test_slow_traces_are_kept(seconds, kept):
    it = Sampled(keep_slower_than=2.0)
    it.root(start_time=10**18).end(10**18 + int(seconds * 10**9))

    assert len(it.names) == kept


def test_a_remote_parent_changes_nothing():
    it = Sampled()
    remote = NonRecordingSpan(SpanContext(DROPPED_AT_HALF, 7, True, TraceFlags(1)))
    ok = it.child(remote, "ok")
    it.child(ok, "inner").end()
    ok.end()
    assert (it.names, it.dropped) == ([], 2)
    failed = it.child(remote, "failed")
    failed.set_status(StatusCode.ERROR)
    failed.end()
    assert it.names == ["failed"]


def test_never_ended_spans_are_bounded(monkeypatch):
    monkeypatch.setattr("pytest_langfuse.tracing.delivery.tail_sampler.MOST_TRACES", 100)
    it = Sampled()
    for number in range(1000):
        root = it.root(DROPPED_AT_HALF + number)
        it.child(root).end()

    assert len(it.sampler._traces) == 100
    assert (it.sampler.waiting, it.dropped) == (100, 900)


def test_waiting_spans_are_bounded():
    it = Sampled(max_spans=50)
    root = it.root()
    for _ in range(200):
        it.child(root).end()
    assert it.sampler.waiting <= 50
    late = it.child(root, "late")
    late.set_status(StatusCode.ERROR)
    late.end()
    it.sampler.force_flush()

    assert "late" in it.names


def test_decisions_are_forgotten_in_the_end(monkeypatch):
    monkeypatch.setattr("pytest_langfuse.tracing.delivery.tail_sampler.MOST_TRACES", 10)
    it = Sampled()
    for number in range(100):
        root = it.root(DROPPED_AT_HALF + number)
        root.set_status(StatusCode.ERROR)
        root.end()

    assert len(it.sampler._kept) == 10
    assert len(it.names) == 100


def test_at_the_end_what_waits_is_decided_by_the_rate():
    it = Sampled()
    root = it.root()
    it.child(root).end()
    it.sampler.shutdown()

    assert (it.sampler.waiting, it.dropped) == (0, 1)


@given(st.integers(1, (1 << 128) - 1), st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_the_rule_is_that_of_opentelemetrys_own_sampler(trace_id, rate):
    held = HeldBytes(10**9)
    ledger = SpanLedger()
    sampler = TailSampler(
        Intake(SimpleSpanProcessor(InMemorySpanExporter()), ledger=ledger, held=held), held=held,
        decisions=SamplingDecisions(SamplingRules(rate), ledger, most=1),
        keep_errors=True, keep_slower_than=None, ledger=ledger, max_spans=1,
    )  # fmt: skip
    theirs = TraceIdRatioBased(rate).should_sample(None, trace_id, "x").decision.is_sampled()

    assert sampler._passes(SpanContext(trace_id, 1, is_remote=False, trace_flags=TraceFlags(1))) == theirs


STEP = st.tuples(st.sampled_from(["start", "end", "fail"]), st.integers(0, 5), st.integers(0, 3))


@pytest.mark.slow
@given(
    st.lists(STEP, max_size=60),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([(), (lambda trace: 0.5 if len(trace.spans) > 2 else None,), (SamplingRule(0.3, name="1"),)]),
)
@settings(max_examples=300, deadline=None)
def test_a_trace_is_kept_whole_or_not_at_all(steps, rate, rules):
    """Any interleaving of traces whose spans start while one of their spans is open."""
    it = Sampled(rate, seed=3, rules=rules)
    traces = {}
    for what, number, position in steps:
        spans = traces.setdefault(number, {"open": [], "all": 0, "failed": False, "done": False})
        if spans["done"]:
            continue
        if what == "start":
            parent = spans["open"][position % len(spans["open"])] if spans["open"] else None
            span = (
                it.child(parent, str(number)) if parent else it.root(it.ids.random.getrandbits(128) or 1, str(number))
            )
            spans["open"].append(span)
            spans["all"] += 1
        elif spans["open"]:
            span = spans["open"].pop(position % len(spans["open"]))
            if what == "fail":
                span.set_status(StatusCode.ERROR)
                spans["failed"] = True
            span.end()
            spans["done"] = not spans["open"]
    for spans in traces.values():
        while spans["open"]:
            spans["open"].pop().end()
    kept = {str(number): it.names.count(str(number)) for number in traces}

    for number, spans in traces.items():
        assert kept[str(number)] in {0, spans["all"]}
        if spans["failed"] or (rate == 1.0 and not rules):
            assert kept[str(number)] == spans["all"]
    assert it.sampler.waiting == 0
    assert not it.sampler._traces
    assert it.dropped == sum(spans["all"] for spans in traces.values()) - len(it.names)


# -- by rules --------------------------------------------------------------------------------------------------


def vips(trace):
    return True if trace.user_id == "vip" else None


def user(span, name="vip"):
    span.set_attribute("user.id", name)


class TestRules:
    def test_decide_when_the_last_span_has_ended(self):
        it = Sampled(rules=[vips])
        for trace_id in (DROPPED_AT_HALF, KEPT_AT_HALF):
            root = it.root(trace_id)
            child = it.child(root)
            root.end()
            assert it.names == []
            user(child)
            child.end()
            assert sorted(it.names) == ["child", "root"]
            it.exporter.clear()
        assert it.sampler.waiting == 0

    def test_leave_the_rest_to_the_rate(self):
        it = Sampled(rules=[vips])
        it.root(DROPPED_AT_HALF, "dropped").end()
        it.root(KEPT_AT_HALF, "kept").end()
        assert (it.names, it.dropped) == (["kept"], 1)

    @pytest.mark.parametrize("rules", [[SamplingRule(False)], [SamplingRule(0.0), vips], [lambda _: 0.0]])
    def test_drop_what_the_rate_would_keep_but_no_error(self, rules):
        it = Sampled(1.0, rules=rules)
        it.root(KEPT_AT_HALF).end()
        failed = it.root(KEPT_AT_HALF + 1, "failed")
        failed.set_status(StatusCode.ERROR)
        failed.end()
        assert (it.names, it.dropped) == (["failed"], 1)

    def test_are_not_asked_again_about_what_comes_late(self):
        asked = []

        def late(trace):
            asked.append(trace.name)
            return trace.name == "late"

        it = Sampled(1.0, rules=[late])
        root = it.root(KEPT_AT_HALF)
        root.end()
        it.child(root, "late").end()
        assert (it.names, it.dropped, asked) == ([], 2, ["root"])
        failed = it.child(root, "failed")
        failed.set_status(StatusCode.ERROR)
        failed.end()
        assert it.names == ["failed"]

    def test_are_asked_without_a_lock(self):
        it = Sampled(rules=[lambda _: locked.append(it.ledger.lock._is_owned()) or True])
        locked = []
        it.root().end()
        failed = it.root(DROPPED_AT_HALF + 1)
        failed.set_status(StatusCode.ERROR)
        failed.end()
        open_span = it.root(DROPPED_AT_HALF + 2)
        it.child(open_span).end()
        it.sampler.decide()
        assert locked == [False, False, False]

    def test_may_start_spans_of_the_same_trace(self):
        def asks_an_llm(seen):
            if seen.name == "root" and not grown:
                grown.append(it.child(root, "late"))
            return True

        grown = []
        it = Sampled(rules=[asks_an_llm])
        root = it.root()
        root.end()
        assert it.names == []
        grown[0].end()
        assert sorted(it.names) == ["late", "root"]

    @pytest.mark.parametrize("failed", [False, True])
    def test_are_not_asked_about_traces_that_they_make(self, failed):
        def asks_an_llm(seen):
            asked.append(seen.name)
            made = it.tracer.start_span("made")
            if failed:
                made.set_status(StatusCode.ERROR)
            made.end()
            return seen.name == "root"

        asked = []
        it = Sampled(1.0, rules=[asks_an_llm, SamplingRule(failed, name="made")])
        root = it.root()
        root.end()
        # `made` is decided by the rules that are not functions, and the rate.
        assert (asked, it.names, it.dropped) == (["root"], ["made", "root"] if failed else ["root"], int(not failed))
        it.root(DROPPED_AT_HALF + 1).end()
        assert asked == ["root", "root"]

    def test_decide_about_what_they_add_to_the_trace(self):
        def asks_an_llm(seen):
            asked.append(seen.name)
            it.child(root, "added").end()
            return True

        asked = []
        it = Sampled(0.0, rules=[asks_an_llm])
        root = it.root()
        root.end()
        assert (asked, sorted(it.names)) == (["root"], ["added", "root"])
        assert it.sampler.waiting == 0

    @pytest.mark.parametrize("error", [ZeroDivisionError, RecursionError, SystemExit])
    def test_that_fail_leave_the_next_to_decide(self, error):
        def fails(_):
            raise error("of the rule")

        it = Sampled(rules=[fails, vips])
        root = it.root()
        user(root)
        root.end()
        assert it.names == ["root"]
        failed = it.root()
        failed.set_status(StatusCode.ERROR)
        failed.end()
        assert it.names == ["root", "root"]

    @pytest.mark.parametrize("status", [StatusCode.OK, StatusCode.ERROR])
    def test_let_ctrl_c_through_when_the_trace_is_decided(self, status):
        def interrupted(_):
            raise KeyboardInterrupt

        it = Sampled(0.0, rules=[interrupted, SamplingRule(True, user_id="vip")])
        for number, user_id in enumerate(("vip", "other")):
            root = it.root(DROPPED_AT_HALF + number)
            user(root, user_id)
            root.set_status(status)
            with pytest.raises(KeyboardInterrupt):
                root.end()
        kept = 2 if status is StatusCode.ERROR else 1
        assert (it.names, it.dropped, it.sampler.waiting) == (["root"] * kept, 2 - kept, 0)

    def test_decide_in_the_end_whatever_they_raise(self, lines):
        class GreenletExit(BaseException):
            pass

        def raises(seen):
            raise {"exit": SystemExit, "ctrl-c": KeyboardInterrupt, "killed": GreenletExit}[seen.name]

        failures.forget()
        open_spans = []
        it = Sampled(1.0, rules=[raises])
        for number, name in enumerate(("exit", "ctrl-c", "killed")):
            open_spans.append(it.root(KEPT_AT_HALF + number, name))
            it.child(open_spans[-1]).end()
        it.sampler.shutdown()
        assert it.names == ["child"] * 3
        assert any("asking the sampling rules" in line for line in lines())

    @pytest.mark.parametrize("limit", [{"max_spans": 2}, {"max_bytes": 1000}])
    def test_decide_early_for_want_of_room_without_asking_functions(self, limit):
        it = Sampled(0.0, rules=[lambda _: 1 / 0, SamplingRule(True, user_id="vip")], **limit)
        vip = it.root(DROPPED_AT_HALF, "vip")
        user(vip)
        it.child(vip, "early").end()
        other = it.root(DROPPED_AT_HALF + 1, "other")
        for _ in range(20):
            it.child(other).end()
        it.sampler.force_flush()
        assert it.names == ["early"]
        vip.end()
        other.end()
        assert it.names == ["early", "vip"]
        assert (it.dropped, it.sampler.waiting) == (21, 0)

    def test_decide_at_the_end_about_what_is_open(self):
        it = Sampled(rules=[vips])
        root = it.root()
        user(root)
        it.child(root).end()
        it.sampler.shutdown()
        assert it.names == ["child"]

    def test_know_what_was_decided(self):
        it = Sampled(1.0, rules=[SamplingRule(False, name="dropped"), SamplingRule(True, name="kept")])
        roots = [it.root(KEPT_AT_HALF + number, name) for number, name in enumerate(["dropped", "kept", "other"])]
        ids = [root.get_span_context().trace_id for root in roots]
        assert [it.sampler.decision(one) for one in ids] == [None, None, None]
        for root in roots:
            root.end()
        assert [it.sampler.decision(one) for one in ids] == [False, True, True]
        assert it.sampler.decisions.counts == {"dropped": 1}

    def test_bound_what_they_hold(self, monkeypatch):
        monkeypatch.setattr("pytest_langfuse.tracing.delivery.tail_sampler.MOST_TRACES", 100)
        it = Sampled(rules=[SamplingRule(True, user_id="vip")])
        open_spans = []
        for number in range(1000):
            root = it.root(DROPPED_AT_HALF + number)
            user(root, "vip" if number % 2 else "other")
            open_spans.append(root)
            it.child(root).end()
        assert len(it.sampler._traces) == 100
        it.sampler.force_flush()
        assert (len(it.names), it.dropped, it.sampler.waiting) == (450, 450, 100)


# -- in the pipeline -------------------------------------------------------------------------------------------


class TestInThePipeline:
    def test_about_the_rate_of_traces_is_kept_and_every_error(self, tracing, langfuse_spans):
        client = tracing(sample_rate=0.1, flush_at=512)
        for number in range(500):
            with client.start_as_current_observation(name="ok"), client.start_as_current_observation(name="inner"):
                pass
            if number % 10 == 0:
                with (
                    client.start_as_current_observation(name="bad"),
                    client.start_as_current_observation(name="cause") as cause,
                ):
                    cause.update(level="ERROR", status_message="no")
        report = shutdown_tracing(timeout=30)

        counts = Counter(observation.name for observation in langfuse_spans)
        assert counts["bad"] == counts["cause"] == 50
        assert counts["ok"] == counts["inner"]
        assert 15 <= counts["ok"] <= 100  # 50 expected; this far off once in 10^6 runs
        assert report.exported == counts.total()
        assert report.dropped == {"sampled_out": 2 * (500 - counts["ok"])}
        assert tracing_health().ended == 1100

    def test_an_exception_of_the_application_is_an_error(self, tracing, langfuse_spans):
        client = tracing(sample_rate=0.0)
        with pytest.raises(KeyError), client.start_as_current_observation(name="bad"):
            raise KeyError

        langfuse_spans.assert_tree("span bad  level=ERROR")

    def test_nothing_is_recorded_at_a_rate_that_needs_no_end(self, tracing):
        client = tracing(sample_rate=0.0, keep_errors=False)
        with client.start_as_current_observation(name="x"):
            assert not trace.get_current_span().is_recording()
        shutdown_tracing()

        assert tracing_health().ended == 0

    def test_a_provider_of_the_application_is_sampled_too(self, tracing, langfuse_spans):
        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
        client = tracing(sample_rate=0.0)
        client.start_observation(name="x").end()
        shutdown_tracing()

        assert list(langfuse_spans) == []
        assert tracing_health().dropped == {"sampled_out": 1}

    def test_what_the_applications_own_sampler_drops_does_not_exist(self, tracing):
        trace.set_tracer_provider(TracerProvider(sampler=ParentBased(TraceIdRatioBased(0)), shutdown_on_exit=False))
        client = tracing()
        client.start_observation(name="x").end()
        shutdown_tracing()

        assert tracing_health().ended == 0

    def test_nothing_piles_up_in_the_sdk_for_what_was_dropped(self, tracing):
        client = tracing(sample_rate=0.0)
        for _ in range(50):
            client.start_observation(name="x").end()
        sampler = singleton_module.singleton.installation.pipeline.sampler
        expectations = getattr(sampler._intake.processor, "_span_export_expectation_by_id", {})

        assert expectations == {}

    def test_spans_of_other_libraries_are_stamped_where_the_resource_is_not_ours(self, tracing, langfuse_spans):
        provider = TracerProvider(shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
        tracing(environment="staging", sample_rate=1.0, release="r")
        provider.get_tracer("openinference.instrumentation.openai").start_span("llm").end()

        langfuse_spans.assert_tree("any llm  environment=staging release=r")

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_what_waits_is_delivered_at_shutdown_whatever_a_rule_raises(self, fresh, collector, keys, error):
        def raises(seen):
            raise error("of the rule")

        client = init_tracing(**keys, sample_rate=1.0, sampling=[raises], handle_signals=False)
        open_root = client.start_observation(name="root")
        open_root.start_observation(name="child").end()
        report = shutdown_tracing()
        assert (report.exported, report.timed_out) == (1, False)
        assert collector.accepted == ["child"]
