"""What a failure says about ranges of counts, scores and descendants, to the letter."""

from __future__ import annotations

import pytest

from pytest_langfuse import LiteralError, Score
from tests.expect.text.test_failure_texts import check, failure
from tests.helpers.forest import captured, forest, of

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
        +   tool t
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


def scored(*scores):
    made = forest("span answer\n  retriever search\n  generation llm\nspan other")
    return of(
        made,
        scores=[
            Score(
                name=name,
                value=value,
                trace_id=made[0].trace_id,
                observation_id=place and made[place].id,
                **more,
            )
            for name, value, place, more in scores
        ],
    )


GROUNDED = ("grounded", 0.3, 2, {"comment": "made up", "metadata": {"judge": "gpt"}})
OVERALL = ("overall", "good", None, {})


def test_scores_that_are_as_expected():
    observations = scored(GROUNDED, OVERALL, ("other", 1, 1, {}))
    tree = """
        span answer
          retriever search
          generation llm
            score grounded value<0.5 comment~made metadata.judge=$judge !data_type
        score overall value=good
        span other
    """
    observations.assert_tree(tree, judge="gpt")
    observations.assert_tree(tree, judge="gpt", order="any")
    observations.assert_contains("generation llm\n  score grounded value>0.1")
    observations.assert_contains("score overall")
    assert observations == "span answer\n  ...\nscore o* value=good\nspan other"


def test_scores_that_differ_or_are_missing():
    check(
        failure(
            scored(GROUNDED, OVERALL),
            """
            span answer
              score grounded
              ...
              generation llm
                score grounded value>=0.5
                score helpful
            score overall value=bad
            span other
            score overall
            """,
        ),
        """
        5 differences (- expected, + captured):

          span answer
        -   score grounded
            ...
            generation llm
        -     score grounded value>=0.5
        +     score grounded value=0.3
        -     score helpful
        - score overall value=bad
        + score overall value=good
          span other
        - score overall

        Differences:
          answer: score grounded is missing
          llm: score grounded value is 0.3, expected >= 0.5
          llm: score helpful is missing
          trace answer: score overall value is 'good', expected 'bad'
          trace other: score overall is missing
        """,
    )


def test_a_score_above_all_lines_is_one_of_any_trace():
    text = failure(scored(GROUNDED), "score overall\nspan answer\n  ...\nspan other")
    assert text.endswith("Differences:\n  score overall is missing")


def test_two_score_lines_need_two_scores():
    observations = scored(OVERALL, ("overall", "bad", None, {}))
    observations.assert_tree("span answer\n  ...\nscore overall value~g|b\nscore overall value=good\nspan other")
    text = failure(observations, "span answer\n  ...\nscore overall value=good\nscore overall value=good\nspan other")
    assert text.endswith("Differences:\n  trace answer: score overall value is 'bad', expected 'good'")


def test_the_scores_of_a_count():
    made = forest("span a\nspan a\nspan a")
    scores = [Score(name="s", value=1, trace_id=one.trace_id, observation_id=one.id) for one in made[:2]]
    of(made[:2], scores=scores).assert_tree("2x span a\n  score s value=1")
    text = failure(of(made, scores=scores), "3x span a\n  score s value=1")
    assert text.endswith("Differences:\n  a (3 of 3): score s is missing")


def test_a_missing_line_is_shown_with_its_scores():
    text = failure(scored(GROUNDED), "span answer\n  tool t\n    score s\n  ...\nspan other")
    assert "-   tool t\n-     score s\n" in text
    assert text.endswith("Differences:\n  tool t is missing")


def test_a_selector_has_no_scores():
    for selector in ("score overall", "span answer\nscore overall", "span answer\n  score overall"):
        with pytest.raises(LiteralError, match="a selector is one line"):
            scored(OVERALL).one(selector)


NESTED = """
    span answer
      retriever search
      chain step
        tool t
        generation llm model=x
        generation llm model=y
    span other
"""


@pytest.mark.parametrize("order", ["start", "any"])
@pytest.mark.parametrize(
    "literal",
    [
        "span answer\n  retriever search\n  >> 2x generation llm\nspan other",
        "span answer\n  retriever search\n  2x >> generation llm\nspan other",
        "span answer\n  retriever search\n  >> generation llm model=y\nspan other",
        "span answer\n  retriever search\n  >> tool t\n  >> generation llm model=x\nspan other",
        "span answer\n  ...\n  >> tool t\nspan other",
        "span answer\n  ...\n  >> generation llm\n  >> 0x embedding *\nspan other",
        ">> tool t\n...",
        "span answer\n  >> retriever search\n  >> chain step\n    >> tool t\n    1+x >> generation *\nspan other",
    ],
)
def test_descendants_at_any_depth(literal, order):
    captured(NESTED).assert_tree(literal, order=order)
    captured(NESTED).assert_contains(literal.removesuffix("\n..."))


NESTING = """
    agent research
      agent research
        span step
          agent research
"""


@pytest.mark.parametrize("order", ["start", "any"])
@pytest.mark.parametrize(
    "literal",
    [
        ">> 3x agent research",
        ">> 1+x agent *",
        "agent research\n  >> 2x agent research",
        "agent research\n  >> 1-3x agent *",
        ">> 3x agent research\n  ...",
        "agent research\n  agent research\n    span step\n      agent research",
        # The span is on the way to the last one, below a line without `>>`.
        "agent research\n  agent research\n  >> agent research",
    ],
)
def test_descendants_below_one_another(literal, order):
    captured(NESTING).assert_tree(literal, order=order)
    captured(NESTING).assert_contains(literal)


@pytest.mark.parametrize("order", ["start", "any"])
def test_nested_descendants_that_are_too_many(order):
    text = failure(captured(NESTING), "agent research\n  >> agent research", order=order)
    assert text.endswith("Differences:\n  research: appears 2 times, expected 1 (at any depth)")
    text = failure(captured(NESTING), ">> 3x agent research model=x", order=order)
    assert text.count("model is not set, expected 'x'") == 1
    text = failure(captured(NESTING), "agent research\n  agent research", order=order)
    assert text.endswith("Differences:\n  span step is unexpected\n  agent research (3 of 3) is unexpected")


TWICE = """
    span a
      span b
        tool x
      chain c
        tool x
"""


@pytest.mark.parametrize("order", ["start", "any"])
def test_an_observation_satisfies_one_line_at_most(order):
    both = "span a\n  span b\n    tool x\n  >> tool x"
    captured(TWICE).assert_tree(both, order=order)
    captured(TWICE).assert_tree("span a\n  >> 2x tool x", order=order)
    text = failure(captured("span a\n  span b\n    tool x"), both, order=order)
    assert text.endswith("Differences:\n  tool x is missing at any depth")
    text = failure(captured(TWICE), both.replace(">>", ">> 2x"), order=order)
    assert text.endswith("Differences:\n  x: appears 1 time, expected 2 (at any depth)")
    # The line without `>>` takes the one that stands where it does.
    text = failure(captured(TWICE), "span a\n  span b\n    tool x\n  >> 0x tool x\n  ...", order=order)
    assert text.endswith("Differences:\n  x: appears 1 time, expected 0 (at any depth)")
    captured(TWICE).assert_tree("span a\n  chain c\n    tool x\n  >> tool *", order="any")


@pytest.mark.parametrize("order", ["start", "any"])
@pytest.mark.parametrize("other", ["chain c\n    tool x model=z", "tool x model=z"])
def test_a_line_takes_its_observation_where_it_stands(order, other):
    """The tool elsewhere is not the one of the line below `b`, so that none is left for the other line."""
    made = captured(f"span a\n  span b\n    tool x model=y\n  {other}")
    literal = "span a\n  span b\n    tool x\n  ...\n  >> tool x model={}\n"
    made.assert_tree(literal.format("z"), order=order)
    assert "tool x" in failure(made, literal.format("y"), order=order)
    made = captured("span a\n  tool x model=y\n  chain c\n    tool x model=z")
    literal = "span a\n  tool x\n  ...\n  >> tool x model={}\n"
    made.assert_tree(literal.format("z"), order=order)
    assert "tool x" in failure(made, literal.format("y"), order=order)


@pytest.mark.parametrize("order", ["start", "any"])
def test_a_wrong_count_between_dots_blames_no_other_observation(order):
    made = captured("span a\n  retriever r\n  tool t model=x\n  tool u model=x\n  generation g model=y")
    for line, sentence in (
        ("3x tool *", "tool *: appears 2 times, expected 3"),
        ("1x tool *", "tool *: appears 2 times, expected 1"),
        ("3+x any * model=x", "any *: appears 2 times, expected at least 3"),
        ("embedding *", "embedding * is missing"),
    ):
        text = failure(made, f"span a\n  ...\n  {line}\n  ...", order=order)
        assert text.endswith(f"Differences:\n  {sentence}"), text


def test_descendants_that_are_missing_or_too_many():
    literal = "span answer\n  ...\n  >> tool u\n    span v\n  >> 1-2x any t\n  >> 0x generation *\nspan other"
    for order in ("start", "any"):
        check(
            failure(captured(NESTED), literal, order=order),
            """
            3 differences (- expected, + captured):

              span answer
                ...
            -   >> tool u
            -     span v
                >> 1-2x any t
            -   >> 0x generation *
            +   >> 2x generation *
              span other

            Differences:
              tool u is missing at any depth
              span v is missing
              generation *: appears 2 times, expected 0 (at any depth)
            """,
        )


def test_a_descendant_that_differs_is_compared():
    check(
        failure(captured(NESTED), "span answer\n  retriever search\n  >> tool t model=z\n    span v\nspan other"),
        """
        2 differences (- expected, + captured):

          span answer
            retriever search
        -   >> tool t model=z
        +   tool t
        -     span v
          span other

        Differences:
          t: model is not set, expected 'z'
          span v is missing
        """,
    )


@pytest.mark.parametrize("order", ["start", "any"])
def test_children_that_lead_nowhere_are_unexpected(order):
    text = failure(captured(NESTED), "span answer\n  >> tool t\nspan other", order=order)
    assert text.endswith("Differences:\n  retriever search is unexpected")


def test_one_more_than_the_line_says_is_no_silent_pass():
    text = failure(captured(NESTED), "span answer\n  retriever search\n  >> generation llm\nspan other")
    assert text.endswith("Differences:\n  llm: appears 2 times, expected 1 (at any depth)")


def test_a_descendant_elsewhere_does_not_count():
    text = failure(captured(NESTED), "span answer\n  retriever search\n  ...\nspan other\n  >> tool t")
    assert "tool t is missing at any depth" in text


def test_a_selector_has_no_depth():
    with pytest.raises(LiteralError, match="a selector has no count, no >> and no lines below it"):
        captured(NESTED).one(">> tool t")
