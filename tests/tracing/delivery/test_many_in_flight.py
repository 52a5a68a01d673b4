"""A sink that takes several bodies and confirms them later, in any order: the sender and the ledger stay exact."""

import functools
import threading
import time

import pytest

from pytest_langfuse.tracing import CircuitBreaker, init_tracing, shutdown_tracing
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery import route as route_module
from pytest_langfuse.tracing.delivery import sender as sender_module
from pytest_langfuse.tracing.delivery.buffer import MemoryBuffer
from pytest_langfuse.tracing.delivery.route import Route
from pytest_langfuse.tracing.delivery.sender import Sender
from pytest_langfuse.tracing.delivery.sink import Outcome, Verdict
from tests.tracing.delivery.test_buffer import body, names, spool

ACCEPTED = Outcome(Verdict.ACCEPTED)
FAILED = Outcome(Verdict.FAILED, "NotConnected")


class LateSink:
    """Keeps bodies until a test confirms them."""

    max_in_flight = 3
    most_bytes = largest_body = 4 * 1024 * 1024
    by_trace = False

    def __init__(self):
        self.sent = []
        self.confirms = []

    def send(self, bodies, confirm):
        self.sent.append(b"".join(body.data for body in bodies))
        self.confirms.append(confirm)

    def close(self, timeout):
        pass

    def after_fork(self):
        pass


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


class Delivery:
    def __init__(self, buffer, **breaker):
        self.sink, self.buffer, self.ledger = LateSink(), buffer, buffer._ledger
        self.breaker = CircuitBreaker(**breaker)
        self.route = Route("http", self.sink, self.breaker)
        self.sender = Sender(buffer=buffer, routes=[self.route], ledger=self.ledger)

    def put(self, *bodies):
        for one in bodies:
            self.buffer.put(one, moved=functools.partial(self.ledger.ended, one.spans))
        self.sender.notify()

    def sent(self, count):
        until(lambda: len(self.sink.sent) >= count)
        time.sleep(0.02)
        assert len(self.sink.sent) == count

    def confirm(self, *numbers, outcome=ACCEPTED):
        for number in numbers:
            self.sink.confirms[number](outcome)

    def settled(self, **expected):
        until(lambda: self.counts() == {"exported": 0, "buffered": 0, "dropped": {}, **expected})

    def counts(self):
        balance = self.ledger.balance()
        assert balance.buffered >= 0
        assert balance.unaccounted == 0
        return {"exported": balance.exported, "buffered": balance.buffered, "dropped": balance.dropped}


@pytest.fixture(autouse=True)
def _one_batch_a_body_and_short_pauses(monkeypatch):
    monkeypatch.setattr(sender_module, "MOST_SPANS", 1)
    monkeypatch.setattr(route_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(route_module, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(route_module, "_LAST_PAUSE", 0.001)
    monkeypatch.setattr(sender_module, "_LOOK_AGAIN", 0.01)


@pytest.fixture
def make(request):
    made = []

    def make(buffer=None, **breaker):
        delivery = Delivery(buffer or MemoryBuffer(max_spans=1000, max_bytes=10**9), **breaker)
        delivery.sender.start()
        made.append(delivery)
        return delivery

    yield make
    for delivery in made:
        delivery.sender.abandon()
        for confirm in delivery.sink.confirms:
            confirm(FAILED)
        delivery.sender.join(10)
        assert not delivery.sender.alive


def test_no_more_than_the_sink_takes_and_each_confirmation_makes_room(make):
    delivery = make()
    delivery.put(*map(body, range(5)))
    delivery.sent(3)
    delivery.confirm(2)
    delivery.sent(4)
    delivery.confirm(0)
    delivery.sent(5)
    delivery.settled(exported=2, buffered=3)
    assert delivery.buffer.counts()[0] == 3


def test_out_of_order_and_from_other_threads(make):
    delivery = make()
    delivery.put(*map(body, range(30)))
    flushed = []
    waiting = threading.Thread(target=lambda: flushed.append(delivery.sender.flush(30)))
    waiting.start()
    for first in range(0, 30, 3):
        delivery.sent(first + 3)
        for number in (first + 1, first + 2, first):
            assert not flushed
            threading.Timer(0.001 * (number % 3), delivery.confirm, [number]).start()
    waiting.join()

    assert flushed == [True]
    assert delivery.counts() == {"exported": 30, "buffered": 0, "dropped": {}}
    assert len(set(delivery.sink.sent)) == 30
    assert delivery.buffer.counts() == (0, 0)


def test_only_what_failed_is_sent_again(make):
    delivery = make()
    delivery.put(*map(body, range(3)))
    delivery.sent(3)
    delivery.confirm(1, outcome=FAILED)
    delivery.sent(4)
    assert delivery.sink.sent[3] == delivery.sink.sent[1]
    delivery.confirm(3, 0, 2)
    delivery.settled(exported=3)


def test_a_body_is_confirmed_once(make):
    delivery = make()
    delivery.put(body(1))
    delivery.sent(1)
    delivery.confirm(0, 0, outcome=FAILED)
    delivery.confirm(0)
    delivery.sent(2)
    delivery.settled(buffered=1)
    delivery.confirm(1, 1)
    delivery.settled(exported=1)


def test_several_that_fail_at_once_are_one_failure(make):
    delivery = make(failure_threshold=2)
    delivery.put(*map(body, range(3)))
    delivery.sent(3)
    delivery.confirm(0, 1, 2, outcome=FAILED)
    delivery.sent(6)
    assert (delivery.breaker.state, delivery.breaker.failures) == ("closed", 1)
    delivery.confirm(3, outcome=FAILED)
    until(lambda: delivery.breaker.state == "open")
    assert delivery.counts() == {"exported": 0, "buffered": 3, "dropped": {}}


def test_a_half_open_breaker_lets_one_through_and_what_was_in_flight_does_not_count(make):
    clock = [0.0]
    delivery = make(failure_threshold=1, clock=lambda: clock[0])
    delivery.put(*map(body, range(4)))
    delivery.sent(3)
    delivery.confirm(0, outcome=FAILED)
    until(lambda: delivery.breaker.state == "open")
    clock[0] = 301
    delivery.sent(4)
    delivery.confirm(1)
    delivery.settled(exported=1, buffered=3)
    assert delivery.breaker.state == "half_open"
    delivery.confirm(3)
    delivery.sent(5)
    assert delivery.breaker.state == "closed"
    delivery.confirm(2, 4)
    delivery.settled(exported=4)


def test_a_pause_that_the_other_side_asks_for_holds_for_all(make):
    delivery = make()
    delivery.put(*map(body, range(4)))
    delivery.sent(3)
    delivery.confirm(0, outcome=FAILED)
    delivery.confirm(1, outcome=Outcome(Verdict.FAILED, "throttled", retry_after=60))
    delivery.settled(buffered=4)
    until(lambda: delivery.route.retry_at > time.monotonic() + 50)
    sent = len(delivery.sink.sent)
    delivery.confirm(2)
    delivery.settled(exported=1, buffered=3)
    delivery.sent(sent)


def test_a_large_body_is_split_and_a_refused_one_dropped(make, monkeypatch):
    monkeypatch.setattr(sender_module, "MOST_SPANS", 2)
    delivery = make()
    delivery.put(body("a", "b"), body("c", "d"))
    delivery.sent(2)
    delivery.confirm(1, outcome=Outcome(Verdict.REFUSED, "http_400"))
    delivery.confirm(0, outcome=Outcome(Verdict.TOO_LARGE, "too_large"))
    delivery.sent(4)
    delivery.confirm(3, 2)
    delivery.settled(exported=2, dropped={"http_400": 2})


def test_a_sink_that_raises_loses_nothing(make):
    delivery = make()
    send, delivery.sink.send = delivery.sink.send, None
    delivery.put(body(1))
    until(lambda: delivery.breaker.failures)
    delivery.sink.send = send
    delivery.sent(1)
    delivery.confirm(0)
    delivery.settled(exported=1)


def test_discarded_while_in_flight(make):
    delivery = make()
    delivery.put(*map(body, range(5)))
    delivery.sent(3)
    delivery.sender.discard(lambda owner: True)
    delivery.settled(buffered=3, dropped={"discarded": 2})
    delivery.confirm(2)
    delivery.confirm(0, 1, outcome=FAILED)
    delivery.settled(exported=1, dropped={"discarded": 4})
    delivery.sent(3)


def test_stop_waits_for_what_is_in_flight(make):
    delivery = make()
    delivery.put(*map(body, range(4)))
    delivery.sent(3)
    delivery.sender.stop(10)
    delivery.confirm(1)
    delivery.sent(4)
    delivery.confirm(3, 0)
    delivery.sender.join(0.05)
    assert delivery.sender.alive
    delivery.confirm(2)
    delivery.sender.join(10)
    assert not delivery.sender.alive
    assert delivery.counts()["exported"] == 4


def test_stop_waits_for_the_trial_of_a_half_open_breaker(make):
    clock = [0.0]
    delivery = make(failure_threshold=1, clock=lambda: clock[0])
    delivery.put(*map(body, range(3)))
    delivery.sent(3)
    delivery.confirm(0, outcome=FAILED)
    delivery.confirm(1, 2)
    delivery.settled(exported=2, buffered=1)
    clock[0] = 301
    delivery.put(body(3))
    delivery.sent(4)
    delivery.sender.stop(10)
    delivery.sent(4)
    delivery.confirm(3)
    delivery.sent(5)
    delivery.confirm(4)
    delivery.sender.join(10)
    assert delivery.counts()["exported"] == 4


def test_what_is_confirmed_after_the_deadline_leaves_the_spool(make, tmp_path):
    delivery = make(spool(tmp_path / "s"))
    delivery.put(*map(body, range(4)))
    delivery.sent(3)
    delivery.sender.stop(0)
    delivery.sender.abandon()
    balance = delivery.ledger.close(kept=delivery.buffer.counts()[0])
    assert (balance.exported, balance.buffered) == (0, 4)
    delivery.confirm(2, 0)
    until(lambda: delivery.buffer.counts()[0] == 2)
    delivery.sent(3)
    delivery.confirm(1, outcome=FAILED)
    delivery.sender.join(10)
    assert delivery.ledger.balance() == balance
    assert sorted(names(batch.body for batch in delivery.buffer.take(9, 10**9))) == ["1", "3"]
    delivery.buffer.close()


@pytest.mark.usefixtures("fresh")
def test_a_shutdown_ends_in_time_when_nothing_is_confirmed(keys):
    client = init_tracing(**keys)
    pipeline, sink = singleton_module.singleton.installation.pipeline, LateSink()
    pipeline.sender.routes[0].sink = sink
    for number in range(5):
        client.start_observation(name=str(number)).end()
    until(lambda: len(sink.sent) == 3)
    sink.confirms[1](ACCEPTED)
    until(lambda: len(sink.sent) == 4)
    report = shutdown_tracing(0.3)

    assert (report.timed_out, report.exported, report.dropped) == (True, 1, {"shutdown": 4})
    assert report.elapsed < 1
    for confirm in sink.confirms:
        confirm(ACCEPTED)
    pipeline.sender.join(10)
