"""Both trees of a failed assertion in two columns of the same length."""

from __future__ import annotations

import pickle

import pytest

from pytest_langfuse import Observations, TreeMismatch
from pytest_langfuse.expect.text.side_by_side import Cell, SideBySide
from tests.helpers.forest import captured


def compared(observations: Observations, literal: str) -> SideBySide:
    with pytest.raises(TreeMismatch) as error:
        observations.assert_tree(literal)
    trees = error.value.side_by_side()
    assert len(trees.sentences) == len(error.value.differences)
    return trees


def shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell.text} ({cell.state}{'' if cell.number is None else f' {cell.number}'})"


def lines(trees: SideBySide) -> list[str]:
    return [f"{shown(expected)} | {shown(found)}" for expected, found in trees.pairs]


CAPTURED = """
    span answer
      retriever search
      generation llm model=gpt-4o
      tool lookup
"""


def test_changed_missing_and_extra() -> None:
    trees = compared(
        captured(CAPTURED),
        """
        span answer
          retriever find
            span rank
          retriever search
          generation llm model=gpt-5
        """,
    )
    assert lines(trees) == [
        "span answer (same) | span answer (same)",
        "  retriever find (missing 1) | -",
        "    span rank (missing 2) | -",
        "  retriever search (same) |   retriever search (same)",
        "  generation llm model=gpt-5 (changed 3) |   generation llm model=gpt-4o (changed 3)",
        "- |   tool lookup (extra 4)",
    ]


def test_what_has_moved_has_one_number() -> None:
    trees = compared(
        captured(CAPTURED), "span answer\n  generation llm\n    tool lookup\n  ...\n  retriever search model=x\n"
    )
    moved = [(shown(expected), shown(found)) for expected, found in trees.pairs if "lookup" in f"{expected}{found}"]
    assert sorted(moved) == [("    tool lookup (moved 2)", "-"), ("-", "  tool lookup (moved 2)")]


def test_captured_lines_know_their_observation() -> None:
    observations = captured(CAPTURED)
    trees = compared(observations, "span answer\n  retriever search\n  generation llm model=gpt-5\n  tool lookup\n")
    found = [cell.observation for _, cell in trees.pairs if cell is not None]
    assert found == list(observations)
    assert [cell.observation for cell, _ in trees.pairs if cell is not None and cell.state != "same"] == [None]


def test_values_are_whole_whatever_the_terminal_is_like() -> None:
    text = "x" * 500
    trees = compared(captured(f"generation llm output={text}"), f"generation llm output={text}y")
    assert [len(shown(cell)) > 500 for cell in trees.pairs[0]] == [True, True]


def test_equal_parts_far_from_a_difference_are_folded() -> None:
    many = "span answer\n" + "\n".join(f"  span s{number}" for number in range(5_000))
    trees = compared(captured(f"{many}\n  span last"), f"{many}\n  span other")
    assert len(trees.pairs) < 10
    assert any("equal lines" in shown(cell) for pair in trees.pairs for cell in pair)


def test_an_error_can_be_pickled() -> None:
    with pytest.raises(TreeMismatch) as error:
        captured(CAPTURED).assert_tree("span other")
    again = pickle.loads(pickle.dumps(error.value))
    assert (str(again), again.differences, again.side_by_side()) == (str(error.value), error.value.differences, None)
