"""Traces of a partition until they are decided."""

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from pytest_langfuse.tracing.forward.trace_parts import TracePart
from pytest_langfuse.tracing.forward.undecided_traces import PartitionClock, TracePolicy, UndecidedTraces
from pytest_langfuse.tracing.sampling import SamplingDecision

POLICY = TracePolicy(0.5, keep_errors=True, keep_slower_than=2.0, wait=30.0, most_age=300.0)


def part(trace="t", *, failed=False, start=10**18, end=10**18 + 1, body=b"x" * 100):
    return TracePart(trace, body, 1, failed=failed, start=start, end=end)


def names(traces):
    return [trace.trace for trace in traces]


def test_a_trace_is_due_when_nothing_came_of_it_for_the_wait():
    it = UndecidedTraces(POLICY)
    it.add(1, part("a"), 0.0)
    it.add(2, part("b"), 10.0)
    it.add(3, part("a"), 20.0)
    assert names(it.due(39.9)) == []
    assert names(it.due(40.0)) == ["b"]
    (found,) = it.due(50.0)
    assert [item for item, _ in found.items] == [1, 3]
    assert (len(it), it.size) == (0, 0)


def test_one_that_never_rests_is_due_at_the_cap():
    it = UndecidedTraces(POLICY)
    for at in range(0, 320, 10):
        it.add(at, part("a"), float(at))
        due = names(it.due(float(at)))
        assert due == (["a"] if at == 300 else []), at


def test_a_trace_that_comes_again_after_its_decision_is_a_new_one():
    it = UndecidedTraces(POLICY)
    it.add(1, part("a"), 0.0)
    assert names(it.due(30.0)) == ["a"]
    it.add(2, part("a"), 40.0)
    assert names(it.due(69.0)) == []
    assert names(it.due(70.0)) == ["a"]


def test_the_oldest_is_the_one_that_came_first():
    it = UndecidedTraces(POLICY)
    it.add(1, part("a"), 0.0)
    it.add(2, part("b"), 1.0)
    it.add(3, part("a"), 2.0)
    assert it.oldest == 0.0
    assert it.take_oldest().trace == "a"
    assert it.oldest == 1.0
    assert names(it.take_all()) == ["b"]
    assert it.oldest is None


def test_it_knows_errors_and_how_long_it_took():
    it = UndecidedTraces(POLICY)
    it.add(1, part(start=2 * 10**9, end=3 * 10**9), 0.0)
    it.add(2, part(start=10**9, end=2 * 10**9, failed=True), 0.0)
    it.add(3, TracePart("t", b"a score"), 0.0)
    (found,) = it.take_all()
    assert (found.failed, found.seconds, found.spans) == (True, 2.0, 2)


@given(st.integers(1, (1 << 128) - 1), st.floats(0, 1), st.booleans(), st.sampled_from([0.0, 1.9, 2.0, 9.0]))
def test_errors_and_slow_ones_are_kept_and_the_rest_by_the_id(trace_id, rate, failed, seconds):
    policy = POLICY._replace(rate=rate)
    by_id = TraceIdRatioBased(rate).should_sample(None, trace_id, "x").decision.is_sampled()
    reason = "error" if failed else "slow" if seconds >= 2 else "rate"
    expected = SamplingDecision(reason != "rate" or by_id, rate, reason)
    assert policy.decide(f"{trace_id:032x}", failed=failed, seconds=seconds) == expected
    without = policy._replace(keep_errors=False, keep_slower_than=None)
    assert without.decide(f"{trace_id:032x}", failed=failed, seconds=seconds).kept == by_id


STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40)), max_size=60)


@given(STEPS, st.integers(1, 6))
@settings(max_examples=300, deadline=None)
def test_no_part_is_lost_or_given_twice(steps, most):
    it = UndecidedTraces(POLICY)
    at, given_back, last = 0.0, [], {}
    for number, (trace, pause) in enumerate(steps):
        at += pause
        for due in it.due(at):
            # Never too early: idle for the wait, or older than the cap.
            assert at - due.last >= POLICY.wait or at - due.first >= POLICY.most_age
            given_back += [item for item, _ in due.items]
        it.add(number, part(trace), at)
        last[trace] = at
        while len(it) > most:
            given_back += [item for item, _ in it.take_oldest().items]
        # Nor too late.
        assert all(at - trace.last < POLICY.wait for trace in it._traces.values())
        assert it.size == sum(trace.size for trace in it._traces.values())
        assert len(it._by_age) <= 2 * len(it) + 1_001
    given_back += [item for trace in it.take_all() for item, _ in trace.items]
    assert sorted(given_back) == list(range(len(steps)))
    assert (len(it), it.size) == (0, 0)


class TestTheClock:
    def test_never_goes_back(self):
        clock = PartitionClock()
        assert [clock.saw(time, 1e9) for time in (5.0, 3.0, 7.0, 0.0)] == [5.0, 5.0, 7.0, 7.0]

    def test_goes_on_without_messages(self):
        clock = PartitionClock()
        clock.saw(5.0, 1e9)
        clock.passed(2.5)
        assert clock.time == 7.5

    def test_is_not_put_forward_by_a_producer_whose_clock_is_wrong(self):
        clock = PartitionClock()
        clock.saw(5.0, 100.0)
        assert clock.saw(3_700.0, 100.0) == 100.0
        assert clock.saw(90.0, 101.0) == 100.0
