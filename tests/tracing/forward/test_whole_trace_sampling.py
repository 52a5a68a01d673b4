"""The stage that keeps or drops whole traces: which, when, and that no part of one is lost."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_langfuse.tracing.forward import whole_trace_sampling as module
from pytest_langfuse.tracing.forward.forward_counts import ForwardCounts
from pytest_langfuse.tracing.forward.queue_source import SCORE
from pytest_langfuse.tracing.forward.undecided_traces import TracePolicy
from pytest_langfuse.tracing.forward.whole_trace_sampling import WholeTraceSampling
from tests.helpers.trace_messages import (
    DROPPED,
    KEPT,
    MadeSpan,
    MemoryDecisions,
    MessageMaker,
    body_of,
    sampling_in,
)

POLICY = TracePolicy(0.5, keep_errors=True, keep_slower_than=2.0, wait=30.0, most_age=300.0)


class Sampled:
    """A stage with one partition, and what came out of it."""

    def __init__(self, policy=POLICY, *, most_bytes=10**9, store=None, partition=0):
        self.store = store or MemoryDecisions()
        self.counts = ForwardCounts()
        self.caught_up = False
        self.stage = WholeTraceSampling(
            policy,
            self.store,
            caught_up=lambda _: self.caught_up,
            counts=self.counts,
            most_bytes=most_bytes,
            wall=lambda: 1e10,
        )
        self.make = MessageMaker(partition)
        self.stage.assigned([self.make.assignment])
        self.delivered, self.dropped = {}, []
        self.given = []
        self.readable = True

    def take(self, *messages, **options):
        staged = self.stage.take(messages, **options)
        for message in staged.deliver:
            self.given.append(message)
            if message.kind == "spans" and self.readable:
                self.delivered.update(sampling_in(message.body))
        self.dropped += [message.position for message in staged.drop]

    def send(self, *spans, at=1000.0):
        self.take(self.make(body_of(*spans), at))

    def later(self, at):
        """A message of another trace moves time on."""
        self.send(MadeSpan(f"at {at}", f"{random.getrandbits(64):016x}{'f' * 16}", is_root=True), at=at)


def test_a_trace_waits_and_is_kept_or_dropped_as_a_whole():
    it = Sampled()
    it.send(MadeSpan("a1", KEPT), MadeSpan("a2", KEPT))
    it.send(MadeSpan("b1", DROPPED))
    it.send(MadeSpan("a root", KEPT, is_root=True), at=1010)
    it.send(MadeSpan("b root", DROPPED, is_root=True), at=1010)
    it.later(1039.9)
    assert (it.delivered, it.dropped, it.stage.held) == ({}, [], 5)
    it.later(1040)
    assert it.delivered == {"a1": None, "a2": None, "a root": {"rate": 0.5, "reason": "rate"}}
    assert (it.dropped, it.stage.held) == ([1, 3], 2)
    assert it.counts.decisions == {"rate": 1, "dropped": 1}


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        (MadeSpan("bad", failed=True), "error"),
        (MadeSpan("bad", attributes={"langfuse.observation.level": "ERROR"}), "error"),
        (MadeSpan("bad", start=990.0, seconds=1), "slow"),
    ],
)
def test_an_error_in_any_service_and_a_slow_trace_keep_all_of_it(span, reason):
    it = Sampled()
    it.send(MadeSpan("root", start=1000, seconds=0.5, is_root=True))
    it.send(span, at=1001)
    it.send(MadeSpan("third"), at=1002)
    it.later(1040)
    assert it.delivered == {"root": {"rate": 0.5, "reason": reason}, "bad": None, "third": None}


@pytest.mark.parametrize("text", ["ERROR", "langfuse.observation.level ERROR"])
def test_a_text_about_errors_is_none(text):
    it = Sampled()
    it.send(MadeSpan("root", attributes={"langfuse.observation.input": text, "langfuse.observation.level": "DEFAULT"}))
    it.later(1040)
    assert it.delivered == {}


def test_what_comes_late_follows_the_decision():
    it = Sampled()
    it.send(MadeSpan("kept", KEPT), at=1000)
    it.send(MadeSpan("gone", DROPPED), at=1000)
    it.later(1040)
    it.send(MadeSpan("late root", KEPT, is_root=True), at=1041)
    it.send(MadeSpan("late", DROPPED, failed=True), at=1041)
    assert it.delivered == {"kept": {"rate": 0.5, "reason": "rate"}, "late root": {"rate": 0.5, "reason": "rate"}}
    assert it.dropped == [1, 4]


def test_so_does_what_comes_after_a_restart():
    it = Sampled()
    it.send(MadeSpan("failed", DROPPED, failed=True))
    it.later(1040)
    other = Sampled(store=it.store)
    other.send(MadeSpan("late", DROPPED), at=1041)
    assert other.delivered == {"late": None}


def test_the_undecided_are_decided_the_same_after_a_restart():
    spans = [MadeSpan("a", DROPPED), MadeSpan("b", DROPPED, failed=True)]
    first, second = Sampled(), Sampled()
    for it in (first, second):
        for span in spans:
            it.send(span)
        if it is first:
            it.stage.revoked([it.make.assignment])
            assert (it.stage.held, it.stage.held_bytes) == (0, 0)
        it.later(1040)
    assert first.delivered == {}
    assert second.delivered == {"a": {"rate": 0.5, "reason": "error"}, "b": None}


def test_without_messages_time_goes_on_only_if_none_wait(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module, "now", lambda: clock[0])
    it = Sampled()
    it.stage._looked = 0.0

    def pass_time(seconds, **options):
        for _ in range(seconds * 2):
            clock[0] += 0.5
            it.take(**options)

    it.send(MadeSpan("a", KEPT))
    pass_time(100)
    assert it.delivered == {}
    it.caught_up = True
    pass_time(100, read=False)
    assert it.delivered == {}
    pass_time(28)
    assert it.delivered == {}
    pass_time(4)
    assert set(it.delivered) == {"a"}


def test_a_pause_of_the_process_is_no_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module, "now", lambda: clock[0])
    it = Sampled()
    it.stage._looked, it.caught_up = 0.0, True
    it.send(MadeSpan("a", KEPT))
    for seconds in (0.5, 0.5, 3600, 0.5):
        clock[0] += seconds
        it.take()
    assert it.delivered == {}


def test_at_the_end_all_is_decided():
    it = Sampled()
    it.send(MadeSpan("a", KEPT))
    it.take(last=True)
    assert (set(it.delivered), it.stage.held) == ({"a"}, 0)


def test_a_message_is_done_when_the_decision_is_stored():
    it = Sampled()
    it.store.later = True
    it.send(MadeSpan("a", KEPT))
    it.send(MadeSpan("b", DROPPED))
    it.take(last=True)
    it.send(MadeSpan("late", KEPT))
    assert (it.delivered, it.dropped, it.stage.held) == ({}, [], 3)
    it.store.later = False
    it.take()
    assert (set(it.delivered), it.dropped, it.stage.held, it.stage.held_bytes) == ({"a", "late"}, [1], 0, 0)


def test_where_decisions_can_not_be_stored_messages_wait_within_bounds(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module, "now", lambda: clock[0])
    it = Sampled(most_bytes=20_000)
    it.store.refuses = "no leader"
    for number in range(30):
        it.send(MadeSpan(str(number), f"{number + 1:032x}"))
    it.take(last=True)
    assert it.stage.full
    assert it.stage.problems() == ["decisions of sampling can't be stored (no leader)"]
    it.store.refuses = None
    clock[0] += 2
    it.take()
    assert (len(it.delivered), it.stage.held, it.stage.full, it.stage.problems()) == (30, 0, False, [])


@pytest.mark.slow
def test_traces_that_never_rest_stay_within_bounds():
    """50,000 traces whose other spans never come."""
    it = Sampled(TracePolicy(0.1, keep_errors=True, wait=3600.0, most_age=36000.0), most_bytes=4_000_000)
    rng = random.Random(1)
    for number in range(0, 50_000, 100):
        spans = [MadeSpan("s", f"{rng.getrandbits(128):032x}") for _ in range(100)]
        it.take(*[it.make(body_of(span), 1000.0 + number) for span in spans])
        assert it.stage.held_bytes <= 4_000_000
    assert it.counts.early > 40_000
    assert it.counts.early + it.counts.undecided == 50_000
    assert abs(len(it.given) - it.counts.early / 10) < 3 * (it.counts.early * 0.09) ** 0.5
    # Positions are told in any order, and none twice.
    done = [message.position for message in it.given] + it.dropped
    assert len(done) == len(set(done)) == it.counts.early


class TestMessages:
    def test_of_several_traces_are_divided(self):
        it = Sampled()
        it.send(MadeSpan("kept", KEPT, is_root=True), MadeSpan("gone"), MadeSpan("kept too", KEPT))
        it.later(1040)
        assert it.delivered == {"kept": {"rate": 0.5, "reason": "rate"}, "kept too": None}
        assert it.dropped == []

    def test_whose_traces_are_all_dropped_are_dropped(self):
        it = Sampled()
        it.send(MadeSpan("a"), MadeSpan("b", f"{'2' * 16}{'f' * 16}"))
        it.later(1040)
        assert (it.delivered, it.dropped) == ({}, [0])

    @pytest.mark.parametrize("body", [b"no spans", b"", body_of()])
    def test_that_can_not_be_read_go_on_at_once(self, body):
        it = Sampled()
        it.readable = False
        message = it.make(body)
        it.take(message)
        assert it.given == [message]

    def test_of_a_type_that_nobody_knows_go_on_at_once(self):
        it = Sampled()
        message = it.make(b"x", kind="other")
        it.take(message)
        assert it.given == [message]

    @pytest.mark.parametrize("wrap", [lambda body: body, lambda body: {"type": "score-create", "body": body}])
    def test_with_scores_follow_their_trace(self, wrap):
        def score(**body):
            return it.make(json.dumps(wrap({"name": "s", **body})).encode(), kind=SCORE)

        it = Sampled()
        kept, gone, none = score(traceId=DROPPED), score(traceId="2" * 16 + "f" * 16), score(sessionId="s")
        it.send(MadeSpan("bad", DROPPED, failed=True, is_root=True))
        it.take(kept, gone, none)
        assert it.given == [none]
        it.later(1040)
        assert kept in it.given
        assert it.dropped == [gone.position]

    def test_with_scores_alone_decide_nothing(self):
        it = Sampled()
        it.take(it.make(json.dumps({"traceId": DROPPED}).encode(), kind=SCORE))
        it.later(1040)
        it.send(MadeSpan("failed", DROPPED, failed=True), at=1041)
        it.later(1080)
        assert "failed" in it.delivered

    def test_have_the_metadata_of_the_application_left_alone(self):
        it = Sampled()
        own = {"langfuse.observation.metadata.sampling": "mine"}
        it.send(MadeSpan("root", KEPT, is_root=True, attributes=own))
        it.later(1040)
        assert it.delivered == {"root": None}

    def test_without_a_root_have_it_on_the_first_span(self):
        it = Sampled()
        it.send(MadeSpan("second", KEPT, start=1000.2), MadeSpan("first", KEPT, start=1000.1))
        it.send(MadeSpan("third", KEPT, start=1000.3))
        it.later(1040)
        assert it.delivered == {"second": None, "first": {"rate": 0.5, "reason": "rate"}, "third": None}


SPANS = st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 12), st.integers(1, 3))


@pytest.mark.slow
@given(
    st.lists(SPANS, min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=3), st.sampled_from([0.0, 0.5, 1.0])
)
@settings(max_examples=200, deadline=None)
def test_a_trace_is_delivered_whole_or_not_at_all_over_restarts(steps, kills, rate):
    """Messages of six traces, in one partition whose owner is killed on the way; pauses are shorter than the wait."""
    rng = random.Random(4)
    ids = [f"{rng.getrandbits(128):032x}" for _ in range(6)]
    store = MemoryDecisions()
    policy = TracePolicy(rate, keep_errors=True, wait=500.0, most_age=5000.0)
    maker = MessageMaker()
    log, at = [], 1000.0
    for number, (trace, failed, pause, spans) in enumerate(steps):
        at += pause
        made = [MadeSpan(f"{trace}.{number}.{one}", ids[trace], failed=failed and one == 0) for one in range(spans)]
        log.append((body_of(*made), at, [span.name for span in made]))
    log.append((body_of(MadeSpan("end", "0" * 32)), at + 501, []))
    arrived, committed = set(), 0
    for kill in [*sorted(kills), len(log)]:
        it = Sampled(policy, store=store)
        it.make = maker = MessageMaker()
        it.stage.revoked([])
        it.stage.assigned([maker.assignment])
        maker._next = committed
        for position in range(committed, min(kill, len(log))):
            it.take(maker(log[position][0], log[position][1]))
        arrived |= set(it.delivered)
        for position in [message.position for message in it.given] + it.dropped:
            maker.assignment.done(position)
        committed = committed if maker.assignment.next is None else maker.assignment.next
    for trace in range(6):
        mine = {name for _, _, names in log for name in names if name.startswith(f"{trace}.")}
        failed = any(step[0] == trace and step[1] for step in steps)
        assert arrived & mine in (set(), mine)
        if mine and (failed or rate == 1.0):
            assert mine <= arrived
