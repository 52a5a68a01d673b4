"""What goes into a message of SQS, and into a batch of them."""

from hypothesis import given
from hypothesis import strategies as st

from pytest_langfuse.tracing.queue import sqs_message
from pytest_langfuse.tracing.queue.sqs_message import SqsMessage, batches, joined, message, room_for_data

ATTRIBUTES = st.dictionaries(st.text(st.characters(codec="ascii"), min_size=1), st.text(max_size=40), max_size=3)


@given(st.lists(st.integers(1, 5), min_size=3), st.integers(1, 9))
def test_bodies_are_joined_as_long_as_they_have_room(lengths, room):
    found = list(joined(lengths, room))

    assert [position for together in found for position in together] == list(range(len(lengths)))
    sizes = [sum(lengths[position] for position in together) for together in found]
    assert all(size <= room or len(together) == 1 for size, together in zip(sizes, found, strict=True))
    assert all(size + lengths[after[0]] > room for size, after in zip(sizes, found[1:], strict=False))


#: Ten of the second just fit, ten of the third do not.
SIZES = (1, sqs_message.MOST_BYTES // 10, sqs_message.MOST_BYTES // 10 + 1, sqs_message.MOST_BYTES // 3)


@given(st.lists(st.sampled_from(SIZES), min_size=9))
def test_a_batch_has_ten_messages_within_the_limit(sizes):
    found = list(batches(SqsMessage("", {}, size, (number,)) for number, size in enumerate(sizes)))

    assert [one.bodies[0] for batch in found for one in batch] == list(range(len(sizes)))
    sums = [sum(one.size for one in batch) for batch in found]
    assert all(total <= sqs_message.MOST_BYTES and len(batch) <= 10 for total, batch in zip(sums, found, strict=True))
    assert all(
        total + after[0].size > sqs_message.MOST_BYTES or len(batch) == 10
        for total, batch, after in zip(sums, found, found[1:], strict=False)
    )


@given(ATTRIBUTES, st.integers(200, 5_000))
def test_attributes_count_against_the_limit(attributes, limit):
    room = room_for_data(attributes, limit)
    counted = sum(len(name) + len("String") + len(value.encode()) for name, value in attributes.items())
    assert message(bytes(room), attributes).size <= max(limit, counted)
    assert message(bytes(room + 3), attributes).size > limit
    assert message(b"", attributes).size == counted
