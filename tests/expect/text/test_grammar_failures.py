"""What a failure says about ranges of counts, scores and descendants, to the letter."""

from __future__ import annotations

import pytest

from tests.expect.text.test_failure_texts import check, failure
from tests.helpers.forest import captured

TOOLS = "span answer\n  {}x tool t model=a\n  generation llm"


@pytest.mark.parametrize("order", ["start", "any"])
@pytest.mark.parametrize(("count", "number"), [("1-3x", 1), ("1-3x", 3), ("0-1x", 1), ("2-2x", 2), ("1-9x", 4)])
def test_a_count_in_the_range(count, number, order):
    captured(TOOLS.format(number)).assert_tree(f"span answer\n  {count} tool t\n  generation llm", order=order)
    captured(TOOLS.format(number)).assert_contains(f"span answer\n  {count} tool t")


@pytest.mark.parametrize("order", ["start", "any"])
def test_a_count_above_the_range(order):
    check(
        failure(captured(TOOLS.format(4)), "span answer\n  1-3x tool t\n  ...", order=order),
        """
        1 difference (- expected, + captured):

          span answer
        -   1-3x tool t
        +   4x tool t
            ...

        Differences:
          t: appears 4 times, expected 1 to 3
        """,
    )


@pytest.mark.parametrize("order", ["start", "any"])
def test_a_count_below_the_range(order):
    check(
        failure(captured(TOOLS.format(1)), "span answer\n  2-3x tool t\n  generation llm", order=order),
        """
        1 difference (- expected, + captured):

          span answer
        -   2-3x tool t
        +   1x tool t
            generation llm

        Differences:
          t: appears 1 time, expected 2 to 3
        """,
    )


@pytest.mark.parametrize("order", ["start", "any"])
def test_one_of_a_range_differs(order):
    text = "span answer\n  tool t model=a\n  tool t model=b\n  tool t model=a"
    failed = failure(captured(text), "span answer\n  1-3x tool t model=a", order=order)
    assert failed.endswith("Differences:\n  t (2 of 3): model is 'b', expected 'a'")
