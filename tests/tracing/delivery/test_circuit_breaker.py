"""The breaker, against a model, in time, and under threads."""

import asyncio
import pickle
import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from opentelemetry.test.concurrency_test import ConcurrencyTestBase

from pytest_langfuse.tracing import CircuitBreaker, CircuitOpen


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker(clock=clock)


def fail(breaker, times):
    for _ in range(times):
        breaker.failure(breaker.try_acquire())


def test_it_opens_after_ten_failures_in_a_row(breaker):
    fail(breaker, 9)
    assert breaker.state == "closed"
    breaker.success(breaker.try_acquire())
    fail(breaker, 9)
    assert (breaker.state, breaker.failures) == ("closed", 9)
    fail(breaker, 1)
    assert breaker.state == "open"
    assert breaker.try_acquire() is None


def test_one_trial_after_three_hundred_seconds_to_the_moment(breaker, clock):
    fail(breaker, 10)
    clock.now += 299.9
    assert (breaker.state, breaker.try_acquire()) == ("open", None)
    assert breaker.retry_after == pytest.approx(0.1)
    clock.now += 0.1
    assert (breaker.state, breaker.retry_after) == ("half_open", 0.0)
    trial = breaker.try_acquire()
    assert trial is not None
    assert (breaker.state, breaker.try_acquire()) == ("half_open", None)
    breaker.success(trial)
    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_a_failed_trial_opens_it_for_as_long_again(breaker, clock):
    fail(breaker, 10)
    clock.now += 350
    breaker.failure(breaker.try_acquire())
    assert breaker.state == "open"
    clock.now += 299.9
    assert breaker.try_acquire() is None
    clock.now += 0.1
    assert breaker.try_acquire() is not None


def test_a_trial_that_never_returns_expires(breaker, clock):
    fail(breaker, 10)
    clock.now += 300
    lost = breaker.try_acquire()
    clock.now += 299
    assert breaker.try_acquire() is None
    clock.now += 1
    breaker.success(lost)
    assert breaker.state == "half_open"
    second = breaker.try_acquire()
    breaker.failure(lost)
    assert breaker.state == "half_open"
    breaker.success(second)
    assert breaker.state == "closed"


def test_results_from_before_a_change_of_state_count_for_nothing(breaker, clock):
    early = [breaker.try_acquire() for _ in range(30)]
    for permit in early[:10]:
        breaker.failure(permit)
    assert breaker.state == "open"
    breaker.success(early[10])
    assert breaker.state == "open"
    clock.now += 300
    trial = breaker.try_acquire()
    breaker.success(early[11])
    breaker.failure(early[12])
    assert breaker.state == "half_open"
    breaker.success(trial)
    for permit in early[13:]:
        breaker.failure(permit)
    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_a_permit_counts_once(breaker):
    permit = breaker.try_acquire()
    for _ in range(20):
        breaker.failure(permit)
    assert (breaker.state, breaker.failures) == ("closed", 1)


def test_a_released_trial_goes_to_the_next_caller(breaker, clock):
    fail(breaker, 10)
    clock.now += 300
    breaker.release(breaker.try_acquire())
    assert breaker.state == "half_open"
    assert breaker.try_acquire() is not None


def test_with_statement(clock):
    breaker = CircuitBreaker(failure_threshold=2, recovery_timeout=30, clock=clock)
    with breaker:
        pass
    for _ in range(2):
        with pytest.raises(KeyError), breaker:
            raise KeyError
    assert breaker.state == "open"
    clock.now += 10
    with pytest.raises(CircuitOpen, match="the next attempt is in 20 s") as refused, breaker:
        pytest.fail("the call was made")
    assert refused.value.retry_after == 20
    clock.now += 20
    with breaker:
        assert breaker.state == "half_open"
        with pytest.raises(CircuitOpen), breaker:
            pass
    assert breaker.state == "closed"


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, SystemExit, GeneratorExit])
def test_a_call_that_was_given_up_says_nothing(clock, error):
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=30, clock=clock)
    with pytest.raises(error), breaker:
        raise error
    assert breaker.state == "closed"
    fail(breaker, 1)
    clock.now += 30
    with pytest.raises(error), breaker:
        raise error
    assert breaker.state == "half_open"
    with breaker:
        pass
    assert breaker.state == "closed"


async def test_with_statements_of_interleaved_tasks_keep_their_permits_apart(clock):
    breaker = CircuitBreaker(failure_threshold=5, clock=clock)
    other = CircuitBreaker(failure_threshold=1, clock=clock)

    async def call(number):
        try:
            with breaker, other:
                await asyncio.sleep(0.001 * (number % 3))
                _ = {}[number] if number % 2 else None
        except (KeyError, CircuitOpen):
            pass

    await asyncio.gather(*(call(number) for number in range(4)))
    assert other.state == "open"
    assert breaker.state == "closed"


def test_listeners_hear_each_change_and_may_ask_the_breaker(breaker, clock):
    heard = []
    breaker.add_listener(lambda old, new: heard.append((old, new, breaker.state)))
    fail(breaker, 10)
    clock.now += 300
    breaker.failure(breaker.try_acquire())
    clock.now += 300
    breaker.success(breaker.try_acquire())

    assert heard == [
        ("closed", "open", "open"),
        ("open", "half_open", "half_open"),
        ("half_open", "open", "open"),
        ("open", "half_open", "half_open"),
        ("half_open", "closed", "closed"),
    ]


def test_a_listener_that_raises_breaks_nothing(breaker, caplog):
    def broken(old, new):
        raise RuntimeError("no")

    heard = []
    breaker.add_listener(broken)
    breaker.add_listener(lambda old, new: heard.append(new))
    fail(breaker, 10)
    assert heard == ["open"]


@pytest.mark.parametrize(
    "setting", [{"failure_threshold": 0}, {"recovery_timeout": 0}, {"recovery_timeout": float("nan")}]
)
def test_settings_that_can_not_be(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        CircuitBreaker(**setting)


def test_the_default_clock_is_looked_up_at_each_call(clock, monkeypatch):
    breaker = CircuitBreaker(failure_threshold=1)
    monkeypatch.setattr(time, "monotonic", clock)
    fail(breaker, 1)
    assert breaker.state == "open"
    clock.now += 300
    assert breaker.state == "half_open"


def test_no_lock_is_held_during_a_call():
    breaker = CircuitBreaker()
    inside = threading.Barrier(4, timeout=10)

    def call():
        with breaker:
            inside.wait()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside.broken


class Model(RuleBasedStateMachine):
    """The same rules in the plainest words: a list of what each permit is worth, and no cleverness."""

    permits = Bundle("permits")

    @initialize(threshold=st.integers(1, 4), recovery=st.integers(1, 20))
    def start(self, threshold, recovery):
        self.clock = Clock()
        self.breaker = CircuitBreaker(failure_threshold=threshold, recovery_timeout=recovery, clock=self.clock)
        self.threshold, self.recovery = threshold, recovery
        self.heard = ["closed"]
        self.breaker.add_listener(lambda old, new: self.heard.append((old, new)))
        self.opened = None  # when
        self.failed = 0
        self.worth = {}  # permit -> "closed" or ("trial", until); voided entries are removed
        self.trial_until = None

    def void(self):
        self.worth.clear()
        self.trial_until = None

    @rule(seconds=st.integers(0, 25) | st.just(0.5))
    def time_passes(self, seconds):
        self.clock.now += seconds

    @rule(target=permits)
    def acquire(self):
        permit = self.breaker.try_acquire()
        now = self.clock.now
        if self.opened is None:
            assert permit is not None
            self.worth[permit] = None
        elif now - self.opened >= self.recovery and (self.trial_until is None or now >= self.trial_until):
            assert permit is not None
            self.void()
            self.worth[permit] = self.trial_until = now + self.recovery
        else:
            assert permit is None
            return multiple()
        return permit

    def spend(self, permit):
        """Whether the permit's result counts."""
        if permit not in self.worth:
            return False
        until = self.worth.pop(permit)
        return until is None or self.clock.now < until

    @rule(permit=permits)
    def succeed(self, permit):
        self.breaker.success(permit)
        if self.spend(permit):
            self.failed = 0
            if self.opened is not None:
                self.opened = None
                self.void()

    @rule(permit=permits)
    def fail(self, permit):
        self.breaker.failure(permit)
        if self.spend(permit):
            self.failed += 1
            if self.opened is not None or self.failed >= self.threshold:
                self.opened = self.clock.now
                self.void()

    @rule(permit=permits)
    def release(self, permit):
        self.breaker.release(permit)
        if self.spend(permit) and self.opened is not None:
            self.trial_until = None

    @invariant()
    def the_states_agree(self):
        if not hasattr(self, "breaker"):
            return
        if self.opened is None:
            expected = "closed"
        elif self.trial_until is not None or self.clock.now - self.opened >= self.recovery:
            expected = "half_open"
        else:
            expected = "open"
        assert self.breaker.state == expected
        assert self.breaker.failures == self.failed

    @invariant()
    def listeners_heard_a_chain(self):
        if hasattr(self, "heard"):
            state = "closed"
            for old, new in self.heard[1:]:
                assert old == state
                assert new != old
                state = new


Model.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestModel = pytest.mark.slow(Model.TestCase)


class TestThreads(ConcurrencyTestBase):
    @pytest.mark.slow
    def test_exactly_one_of_sixty_four_gets_the_trial(self):
        clock = Clock()
        breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=1, clock=clock)
        for _ in range(20):
            breaker.failure(breaker.try_acquire())
            clock.now += 1
            permits = self.run_with_many_threads(breaker.try_acquire, num_threads=64)
            assert len([permit for permit in permits if permit is not None]) == 1
            breaker.success(next(permit for permit in permits if permit is not None))
            assert breaker.state == "closed"

    def test_failures_of_sixty_four_threads_are_all_counted(self):
        breaker = CircuitBreaker(failure_threshold=65)
        self.run_with_many_threads(lambda: breaker.failure(breaker.try_acquire()), num_threads=64)
        assert (breaker.failures, breaker.state) == (64, "closed")
        breaker.failure(breaker.try_acquire())
        assert breaker.state == "open"

    def test_listeners_hear_of_one_opening(self):
        breaker = CircuitBreaker(failure_threshold=10)
        heard = []
        breaker.add_listener(lambda old, new: heard.append((old, new)))
        permits = [breaker.try_acquire() for _ in range(64)]
        lock = threading.Lock()

        def report():
            with lock:
                permit = permits.pop()
            breaker.failure(permit)

        self.run_with_many_threads(report, num_threads=64)
        assert heard == [("closed", "open")]


def test_a_fork_leaves_the_trial_to_the_parent(clock):
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=1, clock=clock)
    fail(breaker, 1)
    clock.now += 1
    assert breaker.try_acquire() is not None
    breaker._lock.acquire()
    breaker.after_fork()
    assert breaker.try_acquire() is not None


def test_the_clock_of_the_machine_is_the_default():
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0.001)
    fail(breaker, 1)
    time.sleep(0.002)
    assert breaker.state == "half_open"


def test_an_open_circuit_can_be_pickled():
    """A worker of a process pool hands it to its caller so."""
    copied = pickle.loads(pickle.dumps(CircuitOpen(3.0)))
    assert (type(copied), copied.retry_after, str(copied)) == (CircuitOpen, 3.0, str(CircuitOpen(3.0)))


def test_its_repr_says_how_it_is() -> None:
    breaker = CircuitBreaker(failure_threshold=2, recovery_timeout=60)
    assert repr(breaker) == "<CircuitBreaker closed: 0 of 2 failures, recovery_timeout=60>"
    for _ in range(2):
        permit = breaker.try_acquire()
        assert permit is not None
        breaker.failure(permit)
    assert repr(breaker) == "<CircuitBreaker open: 2 of 2 failures, recovery_timeout=60>"
