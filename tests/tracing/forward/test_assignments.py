"""Which position of a partition may be committed."""

import random

from pytest_langfuse.tracing.forward.queue_source import AssignedPartition


def opened(*positions):
    assignment = AssignedPartition(0)
    for position in positions:
        assignment.opened(position)
    return assignment


def test_nothing_is_committed_beyond_the_oldest_open_message():
    assignment = opened(5, 6, 7)
    assert assignment.next is None
    assignment.done(6)
    assert assignment.next is None
    assignment.done(5)
    assert assignment.next == 7
    assignment.done(7)
    assert assignment.next == 8


def test_positions_may_have_gaps():
    assignment = opened(5, 9, 12)
    assignment.done(9)
    assignment.done(5)
    assert assignment.next == 10


def test_in_any_order_the_end_is_behind_the_last():
    positions = sorted(random.sample(range(10_000), 500))
    assignment = opened(*positions)
    done = positions.copy()
    random.shuffle(done)
    finished = set()
    for position in done:
        assignment.done(position)
        finished.add(position)
        first_open = next((one for one in positions if one not in finished), None)
        before = [one for one in positions if first_open is None or one < first_open]
        assert assignment.next == (before[-1] + 1 if before else None)
    assert assignment.open == 0
