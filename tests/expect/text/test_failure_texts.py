"""What failing tree assertions say, to the letter."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest

from pytest_langfuse import Observations, TreeMismatch
from pytest_langfuse.expect.observations import explain_equality
from pytest_langfuse.expect.text import style
from pytest_langfuse.recording.sources.source import Unexported
from tests.helpers.forest import captured, observation, of

LITERAL = """
    * user_id=u-1
    span answer
      retriever search   output~"doc"
      generation llm     model=gpt-4o input="why?" usage.total<=200
"""
CAPTURED = """
    * user_id=u-1
    span answer
      retriever search output=["doc 1"]
      generation llm model=gpt-4o input="why?" usage={"total":120}
"""


def failure(observations: Observations, literal: str, *, contains: bool = False, **options: object) -> str:
    check = observations.assert_contains if contains else observations.assert_tree
    with pytest.raises(TreeMismatch) as error:
        check(literal, **options)
    text = str(error.value)
    differences = text.partition("Differences:\n")[2].partition("\n\n")[0]
    assert [f"  {sentence}" for sentence in error.value.differences] == differences.splitlines()
    return text


def check(text: str, expected: str) -> None:
    assert text == dedent(expected).strip("\n")


def test_the_literal_matches() -> None:
    captured(CAPTURED).assert_tree(LITERAL)


def test_another_value() -> None:
    check(
        failure(captured(CAPTURED.replace("gpt-4o", "gpt-4o-mini")), LITERAL),
        """
        1 difference (- expected, + captured):

          * user_id=u-1
          span answer
            retriever search output~"doc"
        -   generation llm model=gpt-4o input="why?" usage.total<=200
        +   generation llm model=gpt-4o-mini input="why?" usage.total<=200

        Differences:
          llm: model is 'gpt-4o-mini', expected 'gpt-4o'
        """,
    )


def test_another_parent_and_other_values_of_one_observation() -> None:
    moved = """
        * user_id=u-1
        span answer
          retriever search output=["doc 1"]
            generation llm model=gpt-4o-mini input="why?" usage={"total":320}
    """
    check(
        failure(captured(moved), LITERAL),
        """
        3 differences (- expected, + captured):

          * user_id=u-1
          span answer
            retriever search output~"doc"
        +     generation llm model=gpt-4o-mini input="why?" usage.total=320
        -   generation llm model=gpt-4o input="why?" usage.total<=200

        Differences:
          llm: parent is search, expected answer
          llm: model is 'gpt-4o-mini', expected 'gpt-4o'
          llm: usage.total is 320, expected <= 200
        """,
    )


def test_an_inherited_condition() -> None:
    lacking = """
        span answer user_id=u-1
          retriever search output=["doc 1"]
          generation llm model=gpt-4o input="why?" usage={"total":120} user_id=u-1
    """
    check(
        failure(captured(lacking), LITERAL),
        """
        1 difference (- expected, + captured):

          * user_id=u-1
          span answer
        -   retriever search output~"doc" user_id=u-1
        +   retriever search output~"doc"
            generation llm model=gpt-4o input="why?" usage.total<=200

        Differences:
          search: user_id is not set, expected 'u-1'
        """,
    )


def test_another_order() -> None:
    other = """
        * user_id=u-1
        span answer
          generation llm model=gpt-4o input="why?" usage={"total":120}
          retriever search output=["doc 1"]
    """
    captured(other).assert_tree(LITERAL, order="any")
    check(
        failure(captured(other), LITERAL),
        """
        1 difference (- expected, + captured):

          * user_id=u-1
          span answer
        +   generation llm model=gpt-4o input="why?" usage.total<=200
            retriever search output~"doc"
        -   generation llm model=gpt-4o input="why?" usage.total<=200

        Differences:
          llm: starts before search, expected after it
        """,
    )


def test_started_too_late() -> None:
    check(
        failure(
            captured("span a\n  tool b\n  tool c\n  tool d\n  tool x"), "span a\n  tool x\n  tool b\n  tool c\n  tool d"
        ),
        """
        1 difference (- expected, + captured):

          span a
        -   tool x
            tool b
            tool c
            tool d
        +   tool x

        Differences:
          x: starts after b, expected before it
        """,
    )


def test_another_type_and_a_root_of_its_own() -> None:
    split = """
        * user_id=u-1
        span answer
          span search output=["doc 1"]
        generation llm model=gpt-4o input="why?" usage={"total":120}
    """
    check(
        failure(captured(split), LITERAL),
        """
        2 differences (- expected, + captured):

          * user_id=u-1
          span answer
        -   retriever search output~"doc"
        +   span search output~"doc"
        -   generation llm model=gpt-4o input="why?" usage.total<=200
        + generation llm model=gpt-4o input="why?" usage.total<=200

        Differences:
          search: type is span, expected retriever
          llm: parent is none (it is a root of another trace), expected answer
        """,
    )


def test_a_root_that_has_a_parent() -> None:
    assert failure(captured("span a\n  tool b"), "span a\ntool b").endswith(
        "Differences:\n  b: parent is a, expected none (a root)"
    )


def test_missing_and_unexpected() -> None:
    check(
        failure(captured("span answer\n  tool lookup input=1"), "span answer\n  retriever search\n    tool read"),
        """
        3 differences (- expected, + captured):

          span answer
        -   retriever search
        -     tool read
        +   tool lookup input=1

        Differences:
          retriever search is missing
          tool read is missing
          tool lookup is unexpected
        """,
    )


def test_a_renamed_parent_is_one_difference() -> None:
    check(
        failure(captured(CAPTURED.replace("span answer", "span reply")), LITERAL),
        """
        1 difference (- expected, + captured):

          * user_id=u-1
        - span answer
        + span reply
            retriever search output~"doc"
            generation llm model=gpt-4o input="why?" usage.total<=200

        Differences:
          reply: name is 'reply', expected 'answer'
        """,
    )


def test_a_wrapper_that_nobody_expected() -> None:
    check(
        failure(captured("span a\n  chain w\n    tool b\n      tool c"), "span a\n  tool b\n    tool c"),
        """
        2 differences (- expected, + captured):

          span a
        -   tool b
        +   chain w
        +     tool b
                tool c

        Differences:
          chain w is unexpected
          b: parent is w, expected a
        """,
    )


def test_a_wrapper_that_is_missing() -> None:
    check(
        failure(captured("span a\n  tool b\n    tool c"), "span a\n  chain w\n    tool b\n      tool c"),
        """
        2 differences (- expected, + captured):

          span a
        -   chain w
        -     tool b
        +   tool b
              tool c

        Differences:
          chain w is missing
          b: parent is a, expected w
        """,
    )


def test_parents_of_one_name_are_numbered() -> None:
    text = failure(
        captured("span request\n  tool x\n  tool y\nspan request"), "span request\n  tool x\nspan request\n  tool y"
    )
    assert text.endswith("Differences:\n  y: parent is request (1 of 2), expected request (2 of 2)")


# -- what is there in place of a value ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "condition", "sentence"),
    [
        ({"output": {"total": 5}}, "output.amount=5", 'output.amount is not set (output is {"total":5}), expected 5'),
        ({"output": {"total": 5}}, "output.amount>5", 'output.amount is not set (output is {"total":5}), expected > 5'),
        (
            {"output": {"total": 5}},
            "output.amount?",
            'output.amount is not set (output is {"total":5}), expected a value',
        ),
        ({"output": {"a": {"b": 1}}}, "output.a.c=1", 'output.a.c is not set (output.a is {"b":1}), expected 1'),
        ({"output": {"a": {"b": 1}}}, "output.x.c=1", 'output.x.c is not set (output is {"a":{"b":1}}), expected 1'),
        ({"output": "5 EUR"}, "output.amount=5", "output.amount is not set (output is '5 EUR'), expected 5"),
        ({"output": [1, 2]}, "output.2=3", "output.2 is not set (output is [1,2]), expected 3"),
        ({"output": ["x" * 90]}, "output.2=3", "output.2 is not set (output has 1 item), expected 3"),
        ({}, "output.amount=5", "output.amount is not set (output is not set), expected 5"),
        ({"usage": {}}, "usage.total=5", "usage.total is not set (usage is empty), expected 5"),
        ({}, "parent.name=x", "parent.name is not set (parent is not set), expected 'x'"),
        (
            {"output": {f"key {index}": "x" * 40 for index in range(7)}},
            "output.amount=5",
            'output.amount is not set (output has "key 0", "key 1", "key 2", "key 3", "key 4", 2 more), expected 5',
        ),
        (
            {"output": {"a": {"n": 1}}},
            'output={"a":{"n":1,"m":2}}',
            'output.a.m is not set (output.a is {"n":1}), expected 2',
        ),
        (
            {"attributes": {"gen_ai.request.model": "x"}},
            '"gen_ai.response.model"=x',
            "\"gen_ai.response.model\" is not set (the span has gen_ai.request.model), expected 'x'",
        ),
        ({}, "model=x", "model is not set, expected 'x'"),
        ({}, '"a.b"=x', "\"a.b\" is not set, expected 'x'"),
    ],
)
def test_what_is_there_instead(fields: dict[str, object], condition: str, sentence: str) -> None:
    text = failure(of([observation("generation", "llm", **fields)]), f"generation llm {condition}")
    assert text.endswith(f"Differences:\n  llm: {sentence}")


# -- one sentence for many ---------------------------------------------------------------------------------------------


def test_one_difference_of_many_observations_is_one_sentence() -> None:
    tree = "span answer user_id=u\n" + "".join(f"  generation llm{index % 5} user_id=u\n" for index in range(79))
    text = failure(captured(tree), "* user_id=v\n" + tree.replace(" user_id=u", ""))
    assert text.startswith("1 difference (- expected, + captured):")
    assert text.endswith(
        "Differences:\n  user_id is 'u', expected 'v' on 80 observations: "
        "answer, llm0 (16 times), llm1 (16 times), 3 more"
    )


def test_what_is_there_instead_does_not_keep_a_difference_from_being_one() -> None:
    assert failure(
        captured('span a metadata={"n":1}\n  tool t metadata={"m":2}'), "* metadata.tenant=acme\nspan a\n  tool t"
    ).endswith("Differences:\n  metadata.tenant is not set, expected 'acme' on 2 observations: a, t")


def test_one_difference_of_two_observations_of_one_name() -> None:
    check(
        failure(captured("span a\n  2x tool t model=y"), "span a\n  2x tool t model=x"),
        """
        1 difference (- expected, + captured):

          span a
        -   tool t model=x
        +   tool t model=y
        -   tool t model=x
        +   tool t model=y

        Differences:
          model is 'y', expected 'x' on 2 observations: t (2 times)
        """,
    )


def test_equal_names_are_numbered() -> None:
    assert failure(captured("span a\n  2x tool t\n  tool t model=y"), "span a\n  2x tool t\n  tool t model=x").endswith(
        "Differences:\n  t (3 of 3): model is 'y', expected 'x'"
    )
    assert failure(captured("span a\n  tool t\n  span b\n  tool t"), "span a\n  tool t\n  span b").endswith(
        "Differences:\n  tool t (2 of 2) is unexpected"
    )
    assert failure(captured("span a\n  tool u\n  tool t\n  span b"), "span a\n  tool t\n  span b\n  tool u").endswith(
        "Differences:\n  u: starts before b, expected after it"
    )


def test_many_alike_that_nobody_expected_are_counted() -> None:
    assert failure(captured("span a\n  30x tool t\n  tool u"), "span a").endswith(
        "Differences:\n  tool t is unexpected (30 times)\n  tool u is unexpected"
    )
    assert failure(captured("span a"), "span a\n  tool t\n  tool t\n  tool t model=x").endswith(
        "Differences:\n  tool t is missing (3 times)"
    )


def test_many_moved_are_one_sentence() -> None:
    text = failure(
        captured("span a\n  span b\n    30x generation llm\n    tool t"),
        "span a\n  span b\n  30x generation llm\n  tool t",
    )
    assert text.endswith("Differences:\n  llm (30 times), t: parent is b, expected a")


# -- a `...` line that stands elsewhere --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "literal", "sentence"),
    [
        (
            "span answer\n  retriever search\n  generation llm",
            "span answer\n  generation llm\n  ...",
            "llm: retriever search is before it; add `...` above the line",
        ),
        (
            "span answer\n  retriever search\n  generation llm",
            "span answer\n  ...\n  retriever search",
            "search: generation llm is after it; add `...` below the line",
        ),
        (
            "span answer\n  retriever search\n    span embed\n  tool t\n  generation llm\n  tool u",
            "span answer\n  generation llm\n  ...",
            "llm: retriever search and tool t are before it; add `...` above the line",
        ),
        (
            "span a\n  span b\n  5x tool t\n  tool u\n  tool v\n  tool w\n  span c",
            "span a\n  ...\n  span b\n  span c",
            "c: tool t (5 times), tool u and 2 more are before it; add `...` above the line",
        ),
        (
            "span a\n  tool x\n  generation llm model=m",
            "span a\n  generation llm model=m\n  ...",
            "llm: tool x is before it; add `...` above the line",
        ),
        (
            "span x\nspan a\nspan b",
            "span a\n...\nspan b",
            "a: span x is before it; add `...` above the line",
        ),
        (
            "span answer\n  retriever search",
            "span answer\n...",
            "retriever search is unexpected (`...` below answer would allow it)",
        ),
        # Between observations of one line with a count, no `...` can stand.
        ("span a\n  tool t\n  span x\n  tool t", "span a\n  2x tool t\n  ...", "span x is unexpected"),
        # What a count speaks of is never allowed by `...`.
        ("span a\n  3x tool t\n  span x", "span a\n  2x tool t\n  ...", "t: appears 3 times, expected 2"),
    ],
)
def test_what_is_in_the_way_of_a_line(tree: str, literal: str, sentence: str) -> None:
    assert failure(captured(tree), literal).endswith(f"Differences:\n  {sentence}")
    added = re.search(r"^(.+?)(?: \(.*)?: .*add `...` (above|below)", sentence)
    if added is not None:
        # The advice is right.
        lines = literal.split("\n")
        (place,) = [index for index, line in enumerate(lines) if re.search(rf"\b{added[1]}\b", line)]
        indent = " " * (len(lines[place]) - len(lines[place].lstrip()))
        lines.insert(place + (added[2] == "below"), f"{indent}...")
        captured(tree).assert_tree("\n".join(lines))


def test_what_is_in_the_way_is_shown() -> None:
    check(
        failure(
            captured("span answer\n  retriever search\n    span embed\n  generation llm\n  tool t"),
            "span answer\n  generation llm\n  ...",
        ),
        """
        1 difference (- expected, + captured):

          span answer
        +   retriever search
        +     span embed
            generation llm
            ...

        Differences:
          llm: retriever search is before it; add `...` above the line
        """,
    )


# -- why a parent is missing -------------------------------------------------------------------------------------------


def test_a_root_of_another_trace_in_another_thread() -> None:
    answer, llm = observation("span", "answer"), observation("generation", "llm", id=2, trace_id="b" * 32)
    answer.record.thread, llm.record.thread = "MainThread", "pool-1_0"
    literal = "span answer\n  generation llm"
    assert failure(of([answer, llm]), literal).endswith(
        "llm: parent is none (it is a root of another trace, started in thread pool-1_0), expected answer"
    )
    llm.record.thread = "MainThread"
    assert failure(of([answer, llm]), literal).endswith(
        "llm: parent is none (it is a root of another trace), expected answer"
    )
    assert failure(of([answer, observation("generation", "llm", id=2)]), literal).endswith(
        "llm: parent is none (it is a root), expected answer"
    )


def test_counts() -> None:
    check(
        failure(
            captured("span a\n  3x tool t\n    span x\n  tool u"),
            "span a\n  2x tool t\n    span x\n  0x tool u\n  1+x tool v\n  0+x any w*",
        ),
        """
        3 differences (- expected, + captured):

          span a
        -   2x tool t
        +   3x tool t
              span x
        -   0x tool u
        +   1x tool u
        -   1+x tool v
            0+x any w*

        Differences:
          t: appears 3 times, expected 2
          u: appears 1 time, expected 0
          tool v is missing
        """,
    )
    assert failure(captured("span a\n  2x tool t"), "span a\n  3+x tool t").endswith(
        "Differences:\n  t: appears 2 times, expected at least 3"
    )


def test_one_of_several_alike_differs() -> None:
    check(
        failure(captured("span a\n  2x tool t model=x\n  tool t model=y"), "span a\n  3x tool t model=x"),
        """
        1 difference (- expected, + captured):

          span a
            2x tool t model=x
        -   tool t model=x
        +   tool t model=y

        Differences:
          t (3 of 3): model is 'y', expected 'x'
        """,
    )


@pytest.mark.parametrize("order", ["start", "any"])
def test_one_of_any_number_differs(order: str) -> None:
    check(
        failure(
            captured("span a\n  generation x model=m\n  generation y model=n\n  generation z model=m"),
            "span a\n  0+x generation * model=m",
            order=order,
        ),
        """
        1 difference (- expected, + captured):

          span a
            0+x generation * model=m
        -   generation * model=m
        +   generation y model=n

        Differences:
          y: model is 'n', expected 'm'
        """,
    )


def test_all_of_several_differ() -> None:
    check(
        failure(captured("span a\n  tool t model=y\n  tool t model=z"), "span a\n  2x tool t model=x"),
        """
        2 differences (- expected, + captured):

          span a
        -   tool t model=x
        +   tool t model=y
        -   tool t model=x
        +   tool t model=z

        Differences:
          t (1 of 2): model is 'y', expected 'x'
          t (2 of 2): model is 'z', expected 'x'
        """,
    )


def test_one_of_several_has_something_below_it() -> None:
    check(
        failure(captured("span a\n  tool t\n  tool u\n    span x"), "span a\n  2x tool *"),
        """
        1 difference (- expected, + captured):

          span a
            tool *
            tool u
        +     span x

        Differences:
          span x is unexpected
        """,
    )


def test_contained_trees_show_the_closest() -> None:
    check(
        failure(
            captured("span a\n  span b\n    span c\n      generation llm model=x\n  tool d"),
            "span b\n  generation llm model=y",
            contains=True,
        ),
        """
        2 differences (- expected, + captured):

          span b
        -   generation llm model=y
            span c
        +     generation llm model=x

        Differences:
          llm: parent is c, expected b
          llm: model is 'x', expected 'y'
        """,
    )


def test_contained_trees_that_are_nowhere() -> None:
    check(
        failure(captured("span a\n  span c\n    generation llm"), "span d\n  generation llm", contains=True),
        """
        2 differences (- expected, + captured):

        - span d
        -   generation llm
          span c
        +   generation llm

        Differences:
          span d is missing
          llm: parent is c, expected d
        """,
    )


def test_contained_counts() -> None:
    text = failure(captured("span a\n  tool t\n  span b\n    2x tool t"), "2x tool t\n0x span b", contains=True)
    assert text.endswith("Differences:\n  t: appears 3 times, expected 2\n  b: appears 1 time, expected 0")


def test_nothing_captured() -> None:
    check(
        failure(of([]), "span answer\n  generation llm"),
        """
        nothing was captured (- expected, + captured):

        - span answer
        -   generation llm

        Differences:
          span answer is missing
          generation llm is missing

        Nothing was captured:
          There are no observations in it.
        """,
    )


def test_nothing_expected() -> None:
    assert failure(captured("span a"), "").endswith("Differences:\n  span a is unexpected")


HTTP = observation("span", "GET /x", id=90)
UNEXPORTED = [
    *[Unexported(HTTP, "filtered", "default span filter")] * 3,
    *[
        Unexported(observation("span", f"fastapi.{name}", id=92 + index), "filtered", "default span filter")
        for index, name in enumerate(("dependency", "endpoint", "serialize"))
    ],
    Unexported(observation("generation", "stream", id=91), "unended", "it never ended"),
]


def test_what_was_not_exported_and_why() -> None:
    llm = observation("generation", "llm", id=2, parent_id=HTTP.id)
    other = observation("generation", "other", id=3, parent_id="feed" * 4)
    check(
        failure(of([llm, other], unexported=UNEXPORTED), 'span "GET /x"\n  generation llm\ngeneration other'),
        """
        2 differences (- expected, + captured):

        - span "GET /x"
        -   generation llm
        + generation llm
          generation other

        Differences:
          span GET /x is missing
          llm: parent is GET /x (not exported: default span filter), expected GET /x

        Not exported:
          `GET /x` (3 times) was recorded but not exported: default span filter
        """,
    )


def test_what_was_not_exported_and_has_nothing_to_do_with_it() -> None:
    check(
        failure(captured("span a", unexported=UNEXPORTED), "span a model=x"),
        """
        1 difference (- expected, + captured):

        - span a model=x
        + span a

        Differences:
          a: model is not set, expected 'x'
        """,
    )
    assert failure(captured("span a\n  tool b", unexported=UNEXPORTED), "span a").endswith("tool b is unexpected")


def test_a_missing_line_of_which_one_never_ended() -> None:
    text = failure(captured("span a\n  generation stream", unexported=UNEXPORTED), "span a\n  2x generation stream")
    assert text.endswith("Not exported:\n  `stream` was recorded but not exported: it never ended")
    text = failure(captured("span a", unexported=UNEXPORTED), "span a\n  any fastapi.*\n  generation stream")
    assert text.endswith(
        "Not exported:\n"
        "  `fastapi.dependency`, `fastapi.endpoint` and `fastapi.serialize` were recorded but not exported: "
        "default span filter\n"
        "  `stream` was recorded but not exported: it never ended"
    )


def test_unexpected_roots_whose_parent_was_not_exported() -> None:
    orphans = [observation("generation", f"llm{index}", id=index, parent_id=HTTP.id) for index in (1, 2)]
    lost = observation("tool", "t", id=3, parent_id="feed" * 4)
    text = failure(of([*orphans, lost], unexported=UNEXPORTED), "0+x span x")
    assert text.endswith(
        "Not exported:\n"
        "  `llm1` and `llm2` are shown as roots: their parent `GET /x` was not exported: default span filter\n"
        "  `t` is shown as a root: its parent was not captured"
    )


def test_nothing_was_exported() -> None:
    text = failure(of([], unexported=UNEXPORTED), "span a")
    assert "Nothing was captured" not in text
    assert text.endswith(
        "Not exported:\n"
        "  `GET /x` (3 times), `fastapi.dependency`, `fastapi.endpoint` and `fastapi.serialize` were recorded but not "
        "exported: default span filter\n"
        "  `stream` was recorded but not exported: it never ended"
    )


# -- long values and long trees ----------------------------------------------------------------------------------------

LONG_A, LONG_B = "x" * 300 + "A" + "y" * 300, "x" * 300 + "B" + "y" * 300
CUT_A, CUT_B = f"…{'x' * 20}A{'y' * 39}…", f"…{'x' * 20}B{'y' * 39}…"


def test_long_texts_are_cut_around_the_first_difference() -> None:
    check(
        failure(
            of([observation("generation", "llm", input=LONG_A)]), f'generation llm input="{LONG_B}" model="{LONG_A}"'
        ),
        f"""
        2 differences (- expected, + captured):

        - generation llm input="{CUT_B}" model="{"x" * 60}…"
        + generation llm input="{CUT_A}"

        Differences:
          llm: input is '{CUT_A}', expected '{CUT_B}'
          llm: model is not set, expected '{"x" * 60}…'
        """,
    )


def test_long_json_is_cut_around_the_first_difference() -> None:
    same = [{"role": "system", "content": "s" * 200}]
    llm = observation("generation", "llm", input={"n": 1, "messages": [*same, {"role": "user"}, 1]})
    text = failure(of([llm]), "generation llm input=$given", given={"messages": [*same, {"role": "tool"}, 2], "n": 1})
    assert text.endswith(
        'Differences:\n  llm: input.messages is …:"system"},{"role":"user"},1], expected …:"system"},{"role":"tool"},2]'
    )


def test_nothing_is_cut_when_verbose() -> None:
    restore = style.configure(verbose=2)
    try:
        text = failure(of([observation("generation", "llm", input=LONG_A)]), f'generation llm input="{LONG_B}"')
    finally:
        restore()
    check(
        text,
        f"""
        1 difference (- expected, + captured):

        - generation llm input="{LONG_B}"
        + generation llm input="{LONG_A}"

        Differences:
          llm: input is '{LONG_A}', expected '{LONG_B}'
        """,
    )


def test_equal_lines_far_from_a_difference_are_folded() -> None:
    tree = "span root\n" + "".join(f"  tool t{index}\n    span s\n" for index in range(30))
    changed = tree.replace("tool t15", "tool t15 model=x")
    check(
        failure(captured(tree), changed),
        """
        1 difference (- expected, + captured):

          span root
            # 28 equal lines
            tool t14
              span s
        -   tool t15 model=x
        +   tool t15
              span s
            tool t16
            # 27 equal lines

        Differences:
          t15: model is not set, expected 'x'
        """,
    )
    restore = style.configure(verbose=2)
    try:
        assert "equal lines" not in failure(captured(tree), changed)
    finally:
        restore()


def test_parents_of_a_difference_are_shown() -> None:
    chain = "\n".join(f"{'  ' * depth}span s{depth}" for depth in range(30))
    check(
        failure(captured(chain), chain + " model=x"),
        "\n".join(
            [
                "1 difference (- expected, + captured):",
                "",
                "  span s0",
                "    # 8 equal lines",
                *(f"  {'  ' * depth}span s{depth}" for depth in range(9, 29)),
                f"- {'  ' * 29}span s29 model=x",
                f"+ {'  ' * 29}span s29",
                "",
                "Differences:",
                "  s29: model is not set, expected 'x'",
            ]
        ),
    )


@pytest.mark.slow
def test_very_many_differences_are_counted_unless_verbose() -> None:
    many = "span root\n" + "".join(f"  tool t{index}\n" for index in range(1200))
    text = failure_of_many(many)
    assert "  # 201 more lines (-vv shows all)\n" in text
    assert text.endswith("  tool t499 is unexpected\n  … 700 more (-vv shows all)")
    restore = style.configure(verbose=2)
    try:
        assert failure_of_many(many).endswith("  tool t1199 is unexpected")
    finally:
        restore()


def failure_of_many(many: str) -> str:
    with pytest.raises(TreeMismatch) as error:
        captured(many).assert_tree("span root")
    assert len(error.value.differences) == 1200
    return str(error.value)


def test_names_that_cannot_be_printed_are_escaped() -> None:
    text = failure(of([observation("span", "a\nb\x1b[31m"), observation("tool", "c d", id=2)]), "tool 'c d' model=x")
    check(
        text,
        """
        2 differences (- expected, + captured):

        + span "a\\nb\\u001b[[]31m"
        - tool 'c d' model=x
        + tool 'c d'

        Differences:
          span "a\\nb\\u001b[31m" is unexpected
          c d: model is not set, expected 'x'
        """,
    )


# -- style -------------------------------------------------------------------------------------------------------------


def test_colour_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    before = style.current()
    restore = style.configure(color=True)
    try:
        with pytest.raises(TreeMismatch) as error:
            captured("span a").assert_tree("span a model=x")
    finally:
        restore()
    assert "\x1b[31m- span a model=x\x1b[0m" in str(error.value)
    assert "\x1b[32m+ span a\x1b[0m" in str(error.value)
    assert style.current() == before


def test_no_color_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    restore = style.configure(color=True, verbose=1)
    try:
        assert style.current() == style.Style(color=False, verbose=1)
    finally:
        restore()


# -- == ----------------------------------------------------------------------------------------------------------------


def test_equality_with_a_literal() -> None:
    observations = captured(CAPTURED)
    assert observations == LITERAL
    assert LITERAL == observations  # noqa: SIM300 - the other way round, too
    assert observations != LITERAL.replace("why?", "how?")
    assert (observations == LITERAL.replace("why?", "how?")) is False
    assert observations == list(observations)
    assert observations != list(observations)[:2]
    assert observations != 3


def test_explanation_says_the_differences_first() -> None:
    observations = captured(CAPTURED)
    literal = LITERAL.replace("why?", "how?")
    expected = dedent(
        """
        1 difference:
          llm: input is 'why?', expected 'how?'

        - expected, + captured:
          * user_id=u-1
          span answer
            retriever search output~"doc"
        -   generation llm model=gpt-4o input="how?" usage.total<=200
        +   generation llm model=gpt-4o input="why?" usage.total<=200
        """
    ).strip()
    assert explain_equality(observations, literal) == expected.splitlines()
    assert explain_equality(literal, observations) == expected.splitlines()
    assert explain_equality(observations, LITERAL) is None
    assert explain_equality(observations, 3) is None
    assert explain_equality("a", "b") is None
