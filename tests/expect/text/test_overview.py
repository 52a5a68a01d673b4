"""Captured traces as a reader sees them, to the letter."""

from __future__ import annotations

from textwrap import dedent

import pytest

from pytest_langfuse import Observations, Score, TreeMismatch
from pytest_langfuse.expect.text import style
from pytest_langfuse.expect.text.cells import cells
from pytest_langfuse.expect.text.overview import overview_lines
from pytest_langfuse.expect.text.style import Style
from tests.helpers.forest import captured, observation, of


def check(observations: Observations, expected: str, *scores: Score, columns: int | None = None) -> list[str]:
    lines = [line.shown(Style(columns=columns)).text for line in overview_lines(observations[:], scores)]
    assert "\n".join(lines) == dedent(expected).strip("\n")
    return lines


def test_one_trace_has_no_title() -> None:
    tree = """
        * user_id=u-1
        span answer
          generation llm model=gpt-4o
    """
    check(captured(tree), tree)


def test_traces_are_apart_and_named_after_their_first_root() -> None:
    observations = captured("""
        span answer user_id=u-1 session_id=s-1
          generation llm user_id=u-1 session_id=s-1 input="a b"
        span answer user_id=u-2 session_id=s-1
          tool t user_id=u-2 session_id=s-1
        chain other session_id=s-1
    """)
    lines = check(
        observations,
        """
        * session_id=s-1

        # trace answer (1 of 2): user_id=u-1
        span answer
          generation llm input="a b"

        # trace answer (2 of 2): user_id=u-2
        span answer
          tool t

        # trace other
        chain other
        """,
    )
    # It can be pasted.
    observations.assert_tree("\n".join(lines))


def test_what_a_trace_shares_is_not_that_of_the_next_one() -> None:
    observations = captured("span a user_id=u-1\n  span b user_id=u-1\nspan c")
    lines = check(
        observations,
        """
        # trace a: user_id=u-1
        span a
          span b

        # trace c
        span c
        """,
    )
    observations.assert_tree("\n".join(lines))


def test_metadata_that_all_of_a_trace_share_is_shown_once() -> None:
    spans = captured(
        """
        span answer metadata={"tenant":"acme","step":1}
          generation llm metadata={"tenant":"acme"}
          tool search metadata={"tenant":"acme","step":2,"hits":[]}
        """
    )
    lines = check(
        spans,
        """
        * metadata.tenant=acme
        span answer metadata.step=1
          generation llm
          tool search metadata.step=2 metadata.hits=[]
        """,
    )
    # They are lines of a literal still.
    spans.assert_tree("\n".join(lines))
    check(
        captured('span a metadata={"t":1,"x y":2}\n  tool b metadata={"t":1}'),
        """
        span a metadata={"t":1,"x y":2}
          tool b metadata={"t":1}
        """,
    )
    check(
        captured('span a metadata={"t":1,"u":2}\n  tool b metadata={"u":3}\n  tool c'),
        """
        span a metadata={"t":1,"u":2}
          tool b metadata={"u":3}
          tool c
        """,
    )


def test_scores_are_below_what_they_are_about() -> None:
    observations = captured("span answer\n  generation llm\n    tool t")
    answer, llm, _ = observations
    check(
        observations,
        """
        span answer
          generation llm
            score grounded value=1.0
            score "two words" value=good
            tool t
        score helpful value=0.5
        # score lost value=1 of a trace or an observation that is not here
        # score kept value=yes of session s-1
        """,
        Score(name="grounded", value=1.0, trace_id=llm.trace_id, observation_id=llm.id),
        Score(name="two words", value="good", trace_id=llm.trace_id, observation_id=llm.id),
        Score(name="helpful", value=0.5, trace_id=answer.trace_id),
        Score(name="lost", value=1, trace_id="b" * 32),
        Score(name="kept", value="yes", session_id="s-1"),
    )


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_lines_fit_the_terminal(columns: int) -> None:
    tree = (
        'span answer output="{long}" status_message="{long}"\n  generation llm input="{long}" output="{long}" model=m'
    )
    lines = [
        line.shown(Style(columns=columns)).text
        for line in overview_lines(captured(tree.format(long="word " * 30))[:], ())
    ]
    assert max(map(len, lines)) <= columns
    assert len(lines) == 2
    if columns == 80:
        assert lines[1] == '  generation llm model=m input="word word word …" output="word word word …"'


def test_whole_lines_are_of_any_length() -> None:
    (line,) = overview_lines(of([observation("span", "a", input="x" * 300)])[:], ())
    assert line.shown(Style(verbose=2, columns=80)).text == f'span a input="{"x" * 300}"'


def test_lines_of_a_failure_fit_beside_the_margin() -> None:
    restore = style.configure(columns=80)
    try:
        with pytest.raises(TreeMismatch) as error:
            captured(f'span a model=m input="{"x" * 90}" output="{"y" * 90}"\n  tool b input="{"x" * 90}"').assert_tree(
                f'span a model=n input="{"x" * 90}" output="{"y" * 90}"\n  tool c'
            )
    finally:
        restore()
    trees = str(error.value).partition("\n\nDifferences")[0].splitlines()[2:]
    assert trees == [
        '- span a model=n input="xxxxxxxxxxxxxxx…" output="yyyyyyyyyyyyyyy…"',
        '+ span a model=m input="xxxxxxxxxxxxxxx…" output="yyyyyyyyyyyyyyy…"',
        "-   tool c",
        f'+   tool b input="{"x" * 30}…"',
    ]
    assert max(len(f"E       {line}") for line in trees) <= 80


SENTENCE = "`GET /items/{i} of it`: parent is my own name, expected 'a value with spaces' as it isn't \"so or so\""


@pytest.mark.parametrize("columns", [20, 30, 40, 60, 100])
def test_sentences_are_wrapped_and_names_are_not_broken(columns: int) -> None:
    lines = Style(columns=columns).wrapped(SENTENCE, 8, ["my own name"])
    assert " ".join(line.strip() for line in lines) == SENTENCE
    assert [line[:4].count(" ") >= 4 for line in lines] == [False, *[True] * (len(lines) - 1)]
    for whole in ("`GET /items/{i} of it`", "my own name", "'a value with spaces'", '"so or so"'):
        assert any(whole in line for line in lines)
    # Only what can't be broken is wider.
    assert all(len(line) <= max(columns - 8, 20) or line.strip().startswith(("`GET", "'a value")) for line in lines)


def test_sentences_are_whole_where_nobody_knows_the_width() -> None:
    assert Style().wrapped(SENTENCE) == [f"  {SENTENCE}"]
    assert Style(columns=40).wrapped("short") == ["  short"]


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_there_is_room_beside_the_deepest_indentation(columns: int) -> None:
    style = Style(columns=columns)
    for used in (0, 10):
        assert all(len(style.indent(depth, used)) + 20 <= columns - used for depth in (0, 5, 30, 60, 61, 9_999))
        assert {style.indent(depth, used).strip() for depth in (0, 1)} == {""}
    assert style.indent(9_999).endswith("(9999) ")


def test_sentences_are_wrapped_by_cells() -> None:
    lines = Style(columns=40).wrapped("日本語 " * 20)
    assert len(lines) > 1
    assert max(map(cells, lines)) <= 40


def test_a_long_name_leaves_room_for_values() -> None:
    (line,) = overview_lines(of([observation("span", "n" * 10_000, model="m")])[:], ())
    assert line.shown(Style()).text == f"span {'n' * 100}* model=m"
