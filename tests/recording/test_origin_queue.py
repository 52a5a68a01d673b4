"""Queues that remember for whom each item was put into them."""

from datetime import UTC, datetime
from queue import Empty, Queue
from threading import current_thread

import pytest

from pytest_langfuse.recording.origin import BATCH, UNKNOWN, Origin, here, item_of
from pytest_langfuse.recording.origin_queue import OriginQueue


@pytest.fixture
def queue(monkeypatch):
    monkeypatch.setattr(OriginQueue, "origin_now", staticmethod(lambda: None if here.item is UNKNOWN else here.item))
    monkeypatch.setattr(here, "item", UNKNOWN)
    return OriginQueue()


def put(queue, *items):
    for content, origin in items:
        with item_of(origin):
            queue.put(content)


def drained(queue):
    """Items until the queue looks empty."""
    found = []
    while True:
        try:
            found.append(queue.get_nowait())
        except Empty:
            return found


def test_a_batch_is_of_one_origin(queue, monkeypatch):
    first, second = Origin("first"), Origin("second")
    put(queue, (1, first), (2, first), (3, second), (4, None), (5, None))
    batches = []
    for _ in range(4):
        monkeypatch.setattr(here, "batch", [])
        batches.append((drained(queue), here.item))
    assert batches == [([1, 2], first), ([3], second), ([4, 5], None), ([], None)]


def test_outside_of_a_batch_each_item_comes(queue):
    put(queue, (1, Origin("first")), (2, None), (3, Origin("second")))
    assert drained(queue) == [1, 2, 3]


def test_a_batch_that_was_begun_before_the_hooks_takes_nothing_of_a_captured_test(queue, monkeypatch):
    plain = Queue()
    plain.put(1)
    plain.__class__ = OriginQueue
    put(plain, (2, None), (3, Origin("captured")))
    monkeypatch.setattr(current_thread(), BATCH, [None], raising=False)
    assert drained(plain) == [1, 2]
    monkeypatch.delattr(current_thread(), BATCH)
    assert drained(plain) == [3]


def test_what_a_test_has_put_before_the_hooks_is_claimed(queue, monkeypatch):
    plain, signal, test = Queue(), object(), Origin("test")
    old = {"name": "old", "timestamp": datetime.fromtimestamp(99, UTC)}
    new = {"name": "new", "timestamp": datetime.fromtimestamp(101, UTC)}
    for item in (old, new, "without a time", signal):
        plain.put(item)
    plain.__class__ = OriginQueue
    put(plain, ("hooked", None))
    plain.claim(test, 100 * 10**9)
    seen = []
    while not plain.empty():
        item = plain.get_nowait()
        seen.append((item, None if item is signal else here.item))
    assert seen == [(old, None), (new, test), ("without a time", test), (signal, None), ("hooked", None)]


def test_signals_are_nobodys(queue):
    signal = object()
    put(queue, (1, Origin("first")), (signal, None))
    assert drained(queue) == [1, signal]


def test_what_captured_tests_have_put_is_dropped(queue):
    put(queue, (1, Origin("captured")), (2, None), (3, Origin("not", captured=False)))
    queue.discard()
    assert drained(queue) == [2, 3]
    for _ in range(2):
        queue.task_done()
    assert queue.unfinished_tasks == 0
