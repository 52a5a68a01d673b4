"""Properties of every alignment, whatever the trees."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_langfuse.expect.comparison import compare
from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording import link
from tests.helpers.forest import Drawn, observation, of

# Slow: generates many trees.
pytestmark = pytest.mark.slow


@st.composite
def trees(draw, most=10):
    made = []
    for number in range(1, draw(st.integers(1, most)) + 1):
        parent = draw(st.integers(-1, len(made) - 1))
        made.append(
            observation(
                draw(st.sampled_from(("span", "tool"))),
                draw(st.sampled_from("abcd")),
                id=number,
                parent=made[parent] if parent >= 0 else None,
                trace_id=f"{number:032x}",
                model=draw(st.sampled_from((None, "x", "y"))),
            )
        )
    return Drawn(link(made))


def difference(expected, captured, order="start"):
    literal = str(of(expected))
    return compare(parse(literal), link(captured), Style(verbose=2), order=order)


@settings(max_examples=500, deadline=None)
@given(trees(), trees(), st.sampled_from(("start", "any")))
def test_every_line_and_every_observation_is_shown_once(expected, captured, order):
    diff = difference(expected, captured, order)
    if diff is None:
        return
    shown = [row for row in diff.rows if not row.text.startswith("*")]
    assert sum(row.mark != "+" for row in shown) == len(expected)
    assert sum(row.mark != "-" for row in shown) == len(captured)
    # What is shown in one tree and not in the other is named in a sentence.
    assert diff.sentences
    assert all(row.depth >= 0 for row in shown)


@settings(max_examples=300, deadline=None)
@given(trees(), st.data())
def test_one_moved_observation_makes_one_sentence(made, data):
    """A leaf of a name of its own that moves to another parent is said to have moved, and nothing else is said."""
    names = [f"n{index}" for index in range(len(made))]
    for one, name in zip(made, names, strict=True):
        one.name = name
    leaf = observation("generation", "llm", id=len(made) + 1, parent=data.draw(st.sampled_from(made)), model="x")
    literal = str(of([*made, leaf]))
    others = [one for one in made if one.id != leaf.parent_id]
    if not others:
        return
    target = data.draw(st.sampled_from(others))
    before = next(one for one in made if one.id == leaf.parent_id)
    moved = observation("generation", "llm", id=len(made) + 1, parent=target, model="y")
    diff = compare(parse(literal), link([*made, moved]), Style(), order="any")
    assert diff is not None
    assert diff.sentences == [
        f"llm: parent is {target.name}, expected {before.name}",
        "llm: model is 'y', expected 'x'",
    ]


@settings(max_examples=300, deadline=None)
@given(trees(), st.data(), st.sampled_from(("start", "any")))
def test_one_changed_value_makes_one_sentence(made, data, order):
    for index, one in enumerate(made):
        one.name = f"n{index}"
    literal = str(of(made))
    changed = data.draw(st.sampled_from(made))
    before, changed.model = changed.model, "z"
    diff = compare(parse(literal), made, Style(), order=order)
    if before is None:
        # A key that the literal does not list is not compared.
        assert diff is None
    else:
        assert diff is not None
        assert diff.sentences == [f"{changed.name}: model is 'z', expected '{before}'"]


@settings(max_examples=300, deadline=None)
@given(trees(), st.data())
def test_one_lost_leaf_makes_one_sentence(made, data):
    literal = str(of(made))
    leaf = data.draw(st.sampled_from([one for one in made if not one.children]))
    left = link([one for one in made if one is not leaf])
    diff = compare(parse(literal), left, Style())
    if diff is None:
        raise AssertionError(literal)
    missing = [sentence for sentence in diff.sentences if sentence.endswith("is missing")]
    same_name = Counter(one.name for one in made)[leaf.name]
    if same_name == 1:
        assert diff.sentences == missing == [f"{leaf.type} {leaf.name} is missing"]


@settings(max_examples=200, deadline=None)
@given(trees(), trees())
def test_a_literal_is_contained_when_it_is_a_part(made, more):
    """Whole trees are found among others."""
    literal = str(of(made))
    shifted = [
        observation(one.type, one.name, id=100 + index, trace_id=f"{100 + index:032x}", model=one.model)
        for index, one in enumerate(more)
    ]
    assert compare(parse(literal), link([*made, *shifted]), Style(), order="any", contained=True) is None
