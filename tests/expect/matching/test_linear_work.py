"""Work grows as the tree does: counted in comparisons, not in seconds."""

from __future__ import annotations

import sys

import pytest

from pytest_langfuse import TreeMismatch
from pytest_langfuse.expect.comparison import compare
from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording import Observation
from tests.helpers.forest import forest, observation, of

# Slow: builds large trees.
pytestmark = pytest.mark.slow

SMALL, LARGE = 100, 1000


@pytest.fixture
def comparisons(monkeypatch):
    """How often a line was compared with an observation, by what was asked."""
    counted = {"fits": 0, "failing": 0}
    for name in counted:
        original = getattr(ExpectedLine, name)

        def count(self: ExpectedLine, one: Observation, original=original, name=name):
            counted[name] += 1
            return original(self, one)

        monkeypatch.setattr(ExpectedLine, name, count)
    return counted


def wide(count: int) -> list[Observation]:
    return forest("span root\n" + "".join(f"  tool t input={index}\n" for index in range(count)))


def bushy(count: int) -> list[Observation]:
    return forest(
        "".join(f"span request input={index}\n  chain step\n    2x generation llm\n" for index in range(count // 4))
    )


def reversed_children(literal: str) -> str:
    first, *rest = literal.split("\n")
    return "\n".join([first, *reversed(rest)])


def changed(literal: str) -> str:
    lines = literal.split("\n")
    for place in (len(lines) // 3, len(lines) // 2, -1):
        lines[place] += " model=x"
    return "\n".join(lines)


def ranged(literal: str) -> str:
    """Return ranges for all there is: as far as they reach, and too short."""
    return "span root\n  1-5000x tool t" if "tool" in literal else "1-5000x span request\n  chain step\n    1-3x any *"


RANGES = ["range", "range any", "short range", "short range any"]


@pytest.mark.parametrize("make", [wide, bushy])
@pytest.mark.parametrize(
    ("edit", "order"),
    [
        (str, "start"),
        (str, "any"),
        (changed, "start"),
        (changed, "any"),
        (reversed_children, "start"),
        (reversed_children, "any"),
        (lambda literal: literal.replace("tool t", "tool u").replace("chain", "tool"), "start"),
        (lambda literal: literal.split("\n")[0], "start"),
        (lambda literal: literal + "\n  ...", "start"),
        (ranged, "start"),
        (ranged, "any"),
        (lambda literal: ranged(literal).replace("5000x", "5x"), "start"),
        (lambda literal: ranged(literal).replace("5000x", "5x"), "any"),
    ],
    ids=[
        "same",
        "same any",
        "changed",
        "changed any",
        "reversed",
        "reversed any",
        "other",
        "one line",
        "dots",
        *RANGES,
    ],
)
def test_comparisons(comparisons, make, edit, order):
    if make is bushy and edit is reversed_children:
        pytest.skip("would be no literal")
    work = []
    for count in (SMALL, LARGE):
        captured = of(make(count))[:]
        literal = edit(str(of(captured)))
        comparisons.update(fits=0, failing=0)
        compare(parse(literal), captured, Style(), order=order)
        work.append(sum(comparisons.values()))
    assert work[1] <= 12 * work[0] + 50, work


def test_fewer_alike_siblings_than_lines(comparisons):
    """All lines match all observations, and one line too many looks for one."""
    work = []
    for count in (SMALL, LARGE):
        captured = forest(f"{count}x span a")
        comparisons.update(fits=0, failing=0)
        compare(parse("span a\n" * (count + 1)), captured, Style(), order="any")
        work.append(sum(comparisons.values()))
    # Every pair is compared once at most; the memory of answers makes it far fewer.
    assert work[1] <= 2 * LARGE**2


@pytest.mark.parametrize("order", ["start", "any"])
@pytest.mark.parametrize(
    "literal", ["span s0\n  >> 1+x span s1\n  >> 1+x span s2", "span s0\n  >> span s3 model=x\n  ..."]
)
def test_descendants(comparisons, literal, order):
    work = []
    for count in (SMALL, LARGE):
        comparisons.update(fits=0, failing=0)
        compare(parse(literal), of(chain(count))[:], Style(), order=order)
        work.append(sum(comparisons.values()))
    assert work[1] <= 12 * work[0] + 50, work


@pytest.mark.parametrize("order", ["start", "any"])
@pytest.mark.parametrize("deep", [">> span b", ">> 2x span b", ">> 3+x span *\n...", ">> 0x span c"])
def test_descendants_that_compete_with_other_lines(comparisons, order, deep):
    work = []
    for count in (SMALL, LARGE):
        captured = of(forest("span a\n  span b\n" * count + "span a\n  span c\n    span b"))[:]
        comparisons.update(fits=0, failing=0)
        compare(parse("span a\n  span b\n" * count + deep), captured, Style(), order=order)
        work.append(sum(comparisons.values()))
    assert work[1] <= 12 * work[0] + 50, work


def test_descendants_of_every_level_of_a_deep_tree(comparisons):
    """Each of many nested observations has all of those below it as descendants: they are counted, not walked."""
    work = []
    for count in (SMALL, LARGE):
        comparisons.update(fits=0, failing=0)
        assert compare(
            parse("span s0\n  >> span s1\n    >> span s2"), of(chain(count))[:], Style(), order="any", contained=True
        ) is None  # fmt: skip
        work.append(sum(comparisons.values()))
    assert work[1] <= 12 * work[0] + 50, work


def chain(count: int) -> list[Observation]:
    made: list[Observation] = []
    for index in range(count):
        made.append(observation("span", f"s{index % 7}", id=index + 1, parent=made[-1] if made else None))
    return made


def test_depth_takes_no_recursion():
    depth = 3 * sys.getrecursionlimit()
    last = depth // 7 + 1
    depth = 7 * (last - 1) + 4
    observations = of(chain(depth))
    literal = str(observations)
    observations.assert_tree(literal)
    observations.assert_tree(literal, order="any")
    observations.assert_contains(literal)
    for order in ("start", "any"):
        with pytest.raises(TreeMismatch) as error:
            observations.assert_tree(literal + " model=x", order=order)
        assert error.value.differences == (f"s3 ({last} of {last}): model is not set, expected 'x'",)
        # Rows that far down are not indented any further.
        assert max(map(len, str(error.value).splitlines())) < 200
    with pytest.raises(TreeMismatch):
        observations.assert_tree("span other")


def test_a_hundred_thousand_levels_fail_readably():
    observations = of(chain(100_000))
    observations.assert_contains("span s3\n  span s4\n    span s5")
    with pytest.raises(TreeMismatch) as error:
        observations.assert_tree("span s0\n  span s1\n    span s2 model=x\n      ...")
    assert error.value.differences == ("s2 (1 of 14286): model is not set, expected 'x'",)
    with pytest.raises(TreeMismatch) as error:
        observations.assert_tree("span s0")
    assert error.value.differences[0] == "span s1 is unexpected (14,286 times)"
    assert len(error.value.differences) == 7
    assert len(str(error.value)) < 200_000
