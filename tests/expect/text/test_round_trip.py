"""`str(observations)` is a literal that matches the observations it was made from, and hardly any others."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_langfuse import Score
from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.recording.observation import TYPES
from tests.helpers.forest import Drawn, captured, observation, of

# Slow: generates many trees.
pytestmark = pytest.mark.slow

#: Everything that a name or a value may hold and that means something to the grammar, besides plain text.
AWKWARD = st.text(
    st.one_of(
        st.sampled_from(list(" \t\n\r#=*?[]!~<>$\"'\\{}.,:2x\x00\x7f\x85\u2028\u200b\ufeff\ud800é漢😀")),
        st.characters(),
    ),
    max_size=12,
)
NAMES = st.one_of(
    st.sampled_from(("answer", "llm", "GET /x", "a*b", "tool[0]", "[!x]", "*", "...", "2x", "#", "")), AWKWARD
)
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        AWKWARD,
        st.sampled_from(("123", "true", "null", "NaN", "-0", "")),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(AWKWARD, inner, max_size=3)),
    max_leaves=6,
)
OBJECTS = st.dictionaries(AWKWARD, JSON, max_size=2)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from(("DEBUG", "DEFAULT", "WARNING", "ERROR")),
        "status_message": AWKWARD,
        "input": JSON,
        "output": JSON,
        "metadata": OBJECTS,
        "model": AWKWARD,
        "model_parameters": OBJECTS,
        "usage": st.dictionaries(AWKWARD, st.integers(0), max_size=2),
        "cost": st.dictionaries(AWKWARD, st.floats(0), max_size=2),
        "prompt_name": AWKWARD,
        "prompt_version": st.integers(0),
        "user_id": st.sampled_from(("u-1", "123", "")),
        "session_id": st.sampled_from(("s 1", "s#1")),
        "tags": st.lists(AWKWARD, max_size=2),
        "environment": st.just("staging"),
        "version": st.just("1.2.3"),
        "release": st.just("v9"),
    },
)


@st.composite
def forests(draw):
    made = []
    for number in range(1, draw(st.integers(1, 8)) + 1):
        # -1: a root.
        parent = draw(st.integers(-1, len(made) - 1))
        made.append(
            observation(
                draw(st.sampled_from(TYPES)),
                draw(NAMES),
                id=number,
                parent=made[parent] if parent >= 0 else None,
                trace_id=f"{number:032x}",
                **draw(FIELDS),
            )
        )
    return Drawn(made)


@st.composite
def scores(draw, made):
    """Return scores of the observations, of their traces, and of what nothing made."""
    given = []
    for number in range(draw(st.integers(0, 6))):
        one = draw(st.sampled_from(made))
        given.append(
            Score(
                id=str(number),
                name=draw(NAMES),
                value=draw(st.one_of(st.floats(), st.integers(), AWKWARD)),
                trace_id=draw(st.sampled_from((one.trace_id, one.trace_id, "f" * 32))),
                observation_id=draw(st.sampled_from((one.id, None))),
                comment=draw(st.one_of(st.none(), AWKWARD)),
                metadata=draw(st.one_of(st.none(), OBJECTS)),
            )
        )
    return given


@settings(max_examples=150, deadline=None)
@given(forests(), st.data())
def test_text_matches_what_it_was_made_from(made, data):
    given = data.draw(scores(made))
    observations = of(made, scores=given)
    text = str(observations)
    shown = [one for one in given if one.trace_id != "f" * 32]
    assert sum(line.lstrip().startswith("score ") for line in text.splitlines()) == len(shown)
    assert observations.skeleton() == of(made).skeleton() == of(made, scores=given)
    if shown:
        changed = data.draw(st.sampled_from(shown))
        others = [one for one in given if one is not changed]
        assert of(made, scores=others) != text
        assert of(made, scores=[*others, replace(changed, name=changed.name + "x")]) != text
    assert observations == text
    observations.assert_tree(text)
    observations.assert_tree(text, order="any")
    observations.assert_contains(text)
    assert text == str(observations)
    assert text.isprintable() or text.replace("\n", "").isprintable()


@settings(max_examples=100, deadline=None)
@given(forests(), st.data())
def test_text_does_not_match_another_name(made, data):
    observations = of(made)
    text = str(observations)
    changed = data.draw(st.sampled_from(made))
    changed.name = changed.name + data.draw(st.sampled_from(("x", " ", "*", "\n")))
    assert observations != text


@settings(max_examples=100, deadline=None)
@given(forests(), st.data())
def test_text_does_not_match_another_input(made, data):
    observations = of(made)
    changed = data.draw(st.sampled_from(made))
    changed.input = ["first"]
    text = str(observations)
    changed.input = data.draw(JSON.filter(lambda value: value != ["first"]))
    assert observations != text


@given(st.lists(FIELDS, min_size=2, max_size=60))
def test_forty_levels_and_more(fields):
    made = []
    for index in range(max(45, len(fields))):
        own = fields[index % len(fields)]
        made.append(observation("chain", f"level {index}", id=index + 1, parent=made[-1] if made else None, **own))
    observations = of(made)
    text = str(observations)
    assert len(text.splitlines()[-1]) - len(text.splitlines()[-1].lstrip()) >= 2 * 44
    assert observations == text


def test_nothing_is_the_empty_literal():
    assert str(of([])) == ""
    assert of([]) == ""


def test_what_is_shown_and_in_which_order():
    top = observation(
        "span",
        "answer",
        user_id="u-1",
        session_id="s-1",
        tags=["a", "b"],
        metadata={"tenant": "acme"},
        environment="staging",
        version="1",
        release="2",
        trace_name="chat",
        input="why?",
        output={"text": "so"},
    )
    below = observation(
        "generation",
        "llm",
        id=2,
        parent=top,
        user_id="u-1",
        tags=["a", "b"],
        metadata={"tenant": "acme"},
        level="WARNING",
        status_message="slow",
        model="gpt-4o",
        model_parameters={"temperature": 0.5},
        prompt_name="greeting",
        prompt_version=3,
        usage={"input": 3, "total": 5},
        cost={"total": 0.25},
    )
    assert str(of([top, below])) == (
        "* user_id=u-1\n"
        '* tags=["a","b"]\n'
        '* metadata={"tenant":"acme"}\n'
        'span answer input="why?" output={"text":"so"} session_id=s-1\n'
        "  generation llm level=WARNING status_message=slow model=gpt-4o "
        'model_parameters={"temperature":0.5} prompt_name=greeting usage={"input":3,"total":5} cost={"total":0.25}'
    )


def test_a_value_of_one_observation_is_not_shared():
    assert str(captured("span answer user_id=u-1")) == "span answer user_id=u-1"


def test_strings_that_look_like_other_json_are_quoted():
    observations = of([observation("span", "a", input="123", output="true", user_id="null", metadata={"n": math.nan})])
    assert str(observations) == 'span a input="123" output="true" metadata={"n":NaN} user_id="null"'
    assert observations == str(observations)


def test_quotes_are_chosen_to_save_backslashes():
    observations = of([observation("span", 'say "hi"', input='a "b"', output='it\'s "x"', model="a\\b")])
    assert str(observations) == """span 'say "hi"' model="a\\\\b" input='a "b"' output="it's \\"x\\"\""""
    assert observations == str(observations)


def test_what_cannot_be_printed_is_escaped():
    observations = of([observation("span", "a\u202eb", input="\u200b\x85\U000e0001")])
    assert str(observations) == r'span "a\u202eb" input="\u200b\u0085\udb40\udc01"'
    assert observations == str(observations)


@given(st.text(st.sampled_from("\ud83d\ude00\udbff\udc00\\\"'u😀\U000e0001 \u200b"), max_size=8))
def test_two_surrogates_are_not_read_as_the_character_that_json_makes_of_them(text):
    observations = of([observation("span", text, input=text)])
    assert observations == str(observations)
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert (of([observation("span", joined, input=joined)]) == str(observations)) == (joined == text)


def test_globs_in_captured_names_are_escaped():
    observations = of([observation("span", "a*[b]?")])
    assert str(observations) == "span a[*][[]b][?]"
    assert of([observation("span", "aXb?")]) != str(observations)
    assert parse(str(observations)).children[0].name.exact == "a*[b]?"
