"""The grammar: what a literal means."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

import pytest

from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.literal.parse import parse
from tests.helpers.forest import captured, observation, of


def shape(root: ExpectedLine) -> list:
    """Nested lists of type, name and the texts of all conditions."""
    return [
        [child.type, child.name.text, *(one.text for one in (*child.own, *child.inherited)), *shape(child)]
        for child in root.children
    ]


def only(text: str, **values: object) -> ExpectedLine:
    (line,) = parse(text, values).children
    return line


def value_of(text: str) -> object:
    return only(f"span a input={text}").own[0].value


def test_the_example_of_the_documentation():
    root = parse(
        """
        * user_id=u-1                              # holds for every observation below
        span answer
          retriever search   output~"doc"
          generation llm     model=gpt-4o input="why?" usage.total<=200
        """
    )
    assert shape(root) == [
        [
            "span",
            "answer",
            "user_id=u-1",
            ["retriever", "search", 'output~"doc"', "user_id=u-1"],
            ["generation", "llm", "model=gpt-4o", 'input="why?"', "usage.total<=200", "user_id=u-1"],
        ]
    ]


@pytest.mark.parametrize("indent", [" ", "  ", "        ", "\t", "\t \t"])
def test_any_indentation_nests(indent):
    root = parse(f"span a\n{indent}span b\n{indent * 3}span c\n{indent}span d\nspan e")
    assert shape(root) == [["span", "a", ["span", "b", ["span", "c"]], ["span", "d"]], ["span", "e"]]


def test_blank_lines_and_comments_say_nothing():
    root = parse("\n  # first\nspan a # b model=x\n\n      # indented at will\n  tool c\n#\n")
    assert shape(root) == [["span", "a", ["tool", "c"]]]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("span answer", "answer"),
        ("span a.b/c:d-e(f),g", "a.b/c:d-e(f),g"),
        ('span "look up"', "look up"),
        ("span 'look up'", "look up"),
        (r'span "a\n\"\\\/\t\u00e9\ud83d\ude00"', 'a\n"\\/\té😀'),
        (r"span 'it\'s \x41\U0001f600'", "it's A😀"),
        ('span ""', ""),
        ('span "# = ~"', "# = ~"),
        ("span issue#12", "issue#12"),
        ("span 漢字", "漢字"),
        ("span [*]", "*"),
        ("span a[?]b[[]c]", "a?b[c]"),
        ("span a]", "a]"),
    ],
)
def test_names(text, name):
    assert only(text).name.exact == name


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("*", ["", "a", "a b\nc"], []),
        ("GET*", ["GET", "GET /x"], ["POST", "xGET"]),
        ('"GET /*"', ["GET /", "GET /x"], ["GET"]),
        ("a?c", ["abc", "a?c"], ["ac", "abbc"]),
        ("step-[0-9]", ["step-1", "step-[0-9]"], ["step-x", "step-10"]),
        ("[!a]b", ["xb"], ["ab"]),
        ("tool[0]", ["tool0", "tool[0]"], ["tool1"]),
        ("[", ["["], ["[["]),
        ("A", ["A"], ["a"]),
    ],
)
def test_globs_in_names(pattern, matches, others):
    name = only(f"span {pattern}").name
    assert [other for other in matches if not name.matches(other)] == []
    assert [other for other in others if name.matches(other)] == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("gpt-4o", "gpt-4o"),
        ('"why?"', "why?"),
        ("'why # = ?'", "why # = ?"),
        ("200", 200),
        ("-1.5e3", -1500.0),
        ("007", "007"),
        ("true", True),
        ("null", None),
        ("nil", "nil"),
        ("-Infinity", -math.inf),
        ('{"a": [1, "# x", {"b": null}]}', {"a": [1, "# x", {"b": None}]}),
        ("[ ]", []),
        ("a=b", "a=b"),
        ("#fff", "#fff"),
        ("http://x/?q=1", "http://x/?q=1"),
        ('"a\tb"', "a\tb"),
        ('{"a":"\t"}', {"a": "\t"}),
    ],
)
def test_values(text, value):
    got = value_of(text) if text != "#fff" else only("span a input=x#fff").own[0].value.removeprefix("x")
    assert (type(got), got) == (type(value), value)


def test_spaces_around_an_operator_are_allowed():
    assert [one.text for one in only("span a model = gpt-4o usage.total <= 200 output ~ x").own] == [
        "model=gpt-4o",
        "usage.total<=200",
        "output~x",
    ]


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [("", 1, 1), ("1x ", 1, 1), ("2x ", 2, 2), ("0x ", 0, 0), ("1+x ", 1, None), ("0+x ", 0, None)],
)
def test_counts(count, low, high):
    line = only(f"{count}span a")
    assert (line.low, line.high) == (low, high)


# -- keys and operators ------------------------------------------------------------------------------------------------

SEEN = observation(
    "generation",
    "llm",
    model="gpt-4o",
    user_id="123",
    level="WARNING",
    input={"messages": [{"role": "user", "content": "hi"}], "n": 1, "flag": True},
    output=["doc 1", "doc 2"],
    metadata={
        "tenant": "acme",
        "a.b": {"c.d": 1},
        "my key": 2,
        "zero": 0,
        "no": False,
        "empty": "",
        "text": '{"a":1}',
        "nothing": None,
    },
    usage={"input": 100, "total": 120},
    tags=["x", "y"],
    prompt_version=3,
    start_time=datetime(2026, 1, 1, tzinfo=UTC),
    end_time=datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC),
    attributes={"gen_ai.request.model": "gpt-4o", "raw.json": '{"a": [1]}', "list": ("a", "b")},
)


@pytest.mark.parametrize(
    "condition",
    [
        "model=gpt-4o",
        'model="gpt-4o"',
        "model!=gpt-4",
        "model~^gpt",
        'model~"4o$"',
        "user_id=123",
        'user_id="123"',
        "user_id~12",
        "session_id=null",
        "session_id!=s-1",
        "!session_id",
        "!status_message",
        "model?",
        "tags?",
        'tags=["x","y"]',
        "tags.1=y",
        "usage.total<=120",
        "usage.total>=120",
        "usage.total<121",
        "usage.total>119.5",
        'usage={"total":120,"input":100.0}',
        "prompt_version=3",
        "prompt_version!=true",
        "metadata.tenant=acme",
        "metadata.a.b.c.d=1",
        'metadata."my key"=2',
        'metadata."a.b"."c.d"=1',
        "metadata.zero?",
        "metadata.no?",
        "metadata.no=false",
        "!metadata.empty",
        "!metadata.other",
        "metadata.other=null",
        "input.messages.0.role=user",
        "input.n=1",
        "input.n=1.0",
        "input.flag=true",
        "output~doc",
        'output~"doc 2"',
        "output.0~1$",
        '"gen_ai.request.model"=gpt-4o',
        '"gen_ai.request.model"?',
        '!"other"',
        '"raw.json"={"a":[1]}',
        '"list"=["a","b"]',
        "name~l+m",
        "type=generation",
        "level=WARNING",
        "!parent",
        "duration=2",
        "is_root=true",
    ],
)
def test_conditions_that_hold(condition):
    of([SEEN]).assert_tree(f"generation llm {condition}")


@pytest.mark.parametrize(
    ("condition", "difference"),
    [
        ("model=gpt-4", "model is 'gpt-4o', expected 'gpt-4'"),
        ("model!=gpt-4o", "model is 'gpt-4o', expected != 'gpt-4o'"),
        ("model~^4o", "model is 'gpt-4o', expected to match '^4o'"),
        ("user_id!=123", "user_id is '123', expected != 123"),
        ("session_id=s-1", "session_id is not set, expected 's-1'"),
        ("session_id?", "session_id is not set, expected a value"),
        ("session_id~.", "session_id is not set, expected to match '.'"),
        ("!model", "model is 'gpt-4o', expected none"),
        ("model<3", "model is 'gpt-4o', expected < 3"),
        ("usage.total<=119", "usage.total is 120, expected <= 119"),
        ("usage.total<120", "usage.total is 120, expected < 120"),
        ("usage.output>0", 'usage.output is not set (usage is {"input":100,"total":120}), expected > 0'),
        ("prompt_version=true", "prompt_version is 3, expected true"),
        ('prompt_version="3"', "prompt_version is 3, expected '3'"),
        (
            "metadata.tennant!=acme",
            "metadata.tennant is not set (metadata has tenant, a.b, \"my key\", zero, no, 3 more), expected != 'acme'",
        ),
        ("metadata.nothing?", "metadata.nothing is null, expected a value"),
        ("metadata.nothing~.", "metadata.nothing is null, expected to match '.'"),
        ("metadata.nothing=1", "metadata.nothing is null, expected 1"),
        ("metadata.empty?", "metadata.empty is '', expected a value"),
        ("metadata.zero>0", "metadata.zero is 0, expected > 0"),
        ("input.flag=1", "input.flag is true, expected 1"),
        ("input.flag>0", "input.flag is true, expected > 0"),
        (
            "input.messages.1.role=user",
            'input.messages.1.role is not set (input.messages is [{"role":"user","content":"hi"}]), expected \'user\'',
        ),
        ('usage={"total":121,"input":100}', "usage.total is 120, expected 121"),
        ('usage={"total":1,"input":1}', 'usage is {"input":100,"total":120}, expected {"total":1,"input":1}'),
        ('usage={"total":120,"out":100}', 'usage is {"input":100,"total":120}, expected {"total":120,"out":100}'),
        ('usage={"total":120}', "usage.input is 100, expected none"),
        (
            'usage={"total":120,"input":100,"output":1}',
            'usage.output is not set (usage is {"input":100,"total":120}), expected 1',
        ),
        ('output=["doc 1","doc 3"]', "output.1 is 'doc 2', expected 'doc 3'"),
        ('output=["doc 1"]', 'output is ["doc 1","doc 2"], expected ["doc 1"]'),
        ('metadata."a.b"={"c.d":2}', 'metadata."a.b"."c.d" is 1, expected 2'),
        ('metadata.text={"a":1}', """metadata.text is '{"a":1}', expected {"a":1}"""),
        ('"raw.json"={"a":[2]}', '"raw.json".a.0 is 1, expected 2'),
        ('"other"=1', '"other" is not set, expected 1'),
        ("tags=x", """tags is ["x","y"], expected 'x'"""),
        ("parent?", "parent is not set, expected a value"),
    ],
)
def test_conditions_that_do_not_hold(condition, difference):
    with pytest.raises(AssertionError) as error:
        of([SEEN]).assert_tree(f"generation llm {condition}")
    assert error.value.differences == (f"llm: {difference}",)


def test_keys_of_the_parent_and_the_children():
    observations = captured("span answer model=x\n  tool first\n  tool second")
    observations.assert_tree("""
        span answer children.1.name=second children?
          tool first parent.name=answer parent.model=x
          tool second !children
    """)


# -- * and ... ---------------------------------------------------------------------------------------------------------


def test_a_star_line_is_inherited_by_what_follows_in_its_block():
    root = parse(
        """
        span a
          * model=x
          span b
            span c
          * user_id=u
          span d
        span e
        """
    )
    assert shape(root) == [
        ["span", "a", ["span", "b", "model=x", ["span", "c", "model=x"]], ["span", "d", "model=x", "user_id=u"]],
        ["span", "e"],
    ]


@pytest.mark.parametrize(
    ("own", "all_of_them"),
    [
        ("user_id=u-2", ["user_id=u-2"]),
        ("!user_id", ["!user_id"]),
        ("user_id?", ["user_id?", "user_id=u-1"]),
        ("user_id~u", ["user_id~u", "user_id=u-1"]),
        ("session_id=u-2", ["session_id=u-2", "user_id=u-1"]),
    ],
)
def test_what_an_own_condition_replaces(own, all_of_them):
    (line,) = parse(f"* user_id=u-1\nspan a {own}").children
    assert [one.text for one in (*line.own, *line.inherited)] == all_of_them


def test_bounds_hold_together():
    (line,) = parse("* usage.total<=200\nspan a usage.total>=5").children
    assert [one.text for one in (*line.own, *line.inherited)] == ["usage.total>=5", "usage.total<=200"]


def test_a_later_star_line_replaces_the_same_key():
    root = parse("* user_id=u-1\nspan a\n* user_id=u-2\nspan b")
    assert shape(root) == [["span", "a", "user_id=u-1"], ["span", "b", "user_id=u-2"]]


@pytest.mark.parametrize(
    ("literal", "matches"),
    [
        ("span top\n  ...\n  tool c", True),
        ("span top\n  tool a\n  ...", True),
        ("span top\n  tool a\n  ...\n  tool c", True),
        ("span top\n  ...", True),
        ("span top\n  ...\n  tool a\n  tool b\n  ...\n  tool c\n  ...", True),
        ("span top\n  tool a\n  tool c\n  ...", False),
        ("span top\n  ...\n  tool b", False),
        ("...\nspan top", False),
        ("...", True),
        ("span top\n  tool a\n  tool b\n  tool c\n    ...", True),
    ],
)
def test_further_siblings_are_allowed_where_the_dots_are(literal, matches):
    observations = captured("span top\n  tool a\n  tool b\n  tool c")
    assert (observations == literal) is matches


def test_in_any_order_the_dots_may_be_anywhere_in_the_block():
    observations = captured("span top\n  tool a\n  tool b")
    observations.assert_tree("span top\n  tool b\n  ...", order="any")
    observations.assert_tree("span top\n  tool a\n  ...", order="any")


def test_dots_take_nothing_that_a_count_speaks_of():
    observations = captured("span top\n  3x tool a\n  tool b")
    observations.assert_tree("span top\n  tool a\n  ...")
    observations.assert_tree("span top\n  1+x tool a\n  ...")
    assert observations != "span top\n  2x tool a\n  ..."
    assert observations != "span top\n  ...\n  0x tool b\n  ..."
    observations.assert_tree("span top\n  ...\n  0x tool c\n  ...")


def test_placeholders_take_python_values_and_patterns():
    captured('span a input={"n":1} model=gpt-4o').assert_tree(
        "span a input=$given model~$pattern", given={"n": 1}, pattern=re.compile("^GPT", re.IGNORECASE)
    )


def test_a_literal_is_text():
    with pytest.raises(TypeError, match=r"^a tree literal must be a str, not NoneType$"):
        of([]).assert_tree(None)


def test_a_line_fits_only_if_its_inherited_conditions_hold():
    (line,) = parse("* user_id=u-1\nspan a").children
    assert line.fits(observation("span", "a", user_id="u-1"))
    assert not line.fits(observation("span", "a", user_id="u-2"))
