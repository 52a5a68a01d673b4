"""What a bad literal prints, to the letter."""

from __future__ import annotations

import re

import pytest

from pytest_langfuse import LiteralError
from pytest_langfuse.expect.literal.parse import parse

KEYS = (
    "id, trace_id, parent_id, name, type, level, status_message, input, output, metadata, model, model_parameters, "
    "usage, cost, prompt_name, prompt_version, user_id, session_id, tags, environment, version, release, trace_name, "
    "is_root, is_app_root, start_time, end_time, duration, parent, children"
)
SCORE_KEYS = (
    "value, data_type, comment, metadata, environment, id, trace_id, observation_id, session_id, "
    "dataset_run_id, config_id, queue_id, timestamp"
)
TYPES = "any, span, generation, event, embedding, agent, tool, chain, retriever, evaluator, guardrail"


@pytest.mark.parametrize(
    ("literal", "message"),
    [
        (
            "\n    span answer\n      generation llm modle=gpt-4o\n",
            "unknown key 'modle' on line 3, did you mean 'model'?",
        ),
        ("span a !modle", "unknown key 'modle' on line 1, did you mean 'model'?"),
        ("span a modle?", "unknown key 'modle' on line 1, did you mean 'model'?"),
        ("span a modle", "unknown word 'modle' on line 1, did you mean 'model=…', or the name \"a modle\"?"),
        ("span a metadta.tenant=x", "unknown key 'metadta.tenant' on line 1, did you mean 'metadata.tenant'?"),
        ("span a usage_details={}", "unknown key 'usage_details' on line 1, did you mean 'usage'?"),
        ("span a latency<2", "unknown key 'latency' on line 1, did you mean 'duration'?"),
        ("span a zzz=1", f"unknown key 'zzz' on line 1, keys are: {KEYS}"),
        ("span a model.x=1", "unknown key 'model.x' on line 1: model has no parts"),
        (
            f"span a input{'.a' * 100}=1",
            f"unknown key 'input{'.a' * 100}' on line 1: it has 101 parts, at most 100 are possible",
        ),
        ("span a parent.nme=b", "unknown key 'parent.nme' on line 1, did you mean 'parent.name'?"),
        ("span a children.0.modle=x", "unknown key 'children.0.modle' on line 1, did you mean 'children.0.model'?"),
        ("span a usage.=1", "missing part after 'usage.' on line 1"),
        ("spann a", "unknown type 'spann' on line 1, did you mean 'span'?"),
        ("Generation llm", "unknown type 'Generation' on line 1, did you mean 'generation'?"),
        ("model=gpt-4o", f"unknown type 'model=gpt-4o' on line 1, types are: {TYPES}"),
        ("llm", f"unknown type 'llm' on line 1, types are: {TYPES}"),
        ("x2 span a", "unknown count 'x2' on line 1, counts are 2x, 1-3x, 1+x and 0+x"),
        ("2+ span a", "unknown count '2+' on line 1, counts are 2x, 1-3x, 1+x and 0+x"),
        ("1-x span a", "unknown count '1-x' on line 1, counts are 2x, 1-3x, 1+x and 0+x"),
        ("-3x span a", "unknown count '-3x' on line 1, counts are 2x, 1-3x, 1+x and 0+x"),
        ("1..3x span a", "unknown count '1..3x' on line 1, counts are 2x, 1-3x, 1+x and 0+x"),
        ("3-1x span a", "count '3-1x' on line 1 ends before it starts, did you mean '1-3x'?"),
        ("1-3x", "missing type and name after '1-3x' on line 1"),
        ("score", "missing name after 'score' on line 1, use * for any name"),
        (
            "span a\n  score value>=0.5",
            "missing name before 'value>=0.5' on line 2, use * for any name, quote one that contains an operator",
        ),
        ("score x valeu=1", "unknown key 'valeu' on line 1, did you mean 'value'?"),
        ("score x reason~y", "unknown key 'reason' on line 1, did you mean 'comment'?"),
        ("score x model=y", f"unknown key 'model' on line 1, keys are: {SCORE_KEYS}"),
        ("score x value.y=1", "unknown key 'value.y' on line 1: value has no parts"),
        ('score x "gen_ai.x"=1', "unknown key 'gen_ai.x' on line 1, a score has no raw attributes"),
        ("score x value>=good", "operator '>=' on line 1 compares numbers, not good"),
        ("score x y", "unknown word 'y' on line 1, quote a name that contains a space: \"x y\""),
        ('score "x" z=1 ', f"unknown key 'z' on line 1, keys are: {SCORE_KEYS}"),
        ("2x score x", "unexpected count '2x' on line 1, a score line takes none"),
        ("score x\n  span a", "inconsistent indentation on line 2: nothing can be below a 'score' line"),
        ("span a\n    score x\n  span b", "inconsistent indentation on line 3: it matches no line above"),
        ("scor x", "unknown type 'scor' on line 1, did you mean 'score'?"),
        (">>", "missing type and name after '>>' on line 1, such as >> generation llm"),
        ("2x >>", "missing type and name after '>>' on line 1, such as >> generation llm"),
        (">> 2x", "missing type and name after '2x' on line 1"),
        (">> llm", f"unknown type 'llm' on line 1, types are: {TYPES}"),
        (">> tool", "missing name after 'tool' on line 1, use * for any name"),
        (">>tool t", "unexpected '>>tool' on line 1, a descendant at any depth is >> TYPE NAME"),
        ("> tool t", "unexpected '>' on line 1, a descendant at any depth is >> TYPE NAME"),
        (">> >> tool t", "unexpected '>>' on line 1, a descendant at any depth is >> TYPE NAME"),
        ("span a\n  >> score x", "unexpected '>>' on line 2, a score line stands below its observation"),
        ("2x", "missing type and name after '2x' on line 1"),
        ("2x foo a", f"unknown type 'foo' on line 1, types are: {TYPES}"),
        ("span", "missing name after 'span' on line 1, use * for any name"),
        ("span # comment", "missing name after 'span' on line 1, use * for any name"),
        (
            "generation model=gpt-4o",
            "missing name before 'model=gpt-4o' on line 1, use * for any name, quote one that contains an operator",
        ),
        ("span model?", "missing name before 'model?' on line 1, use * for any name"),
        ("span <lambda>", "bad name '<lambda>' on line 1, quote it"),
        ("span $name", "bad name '$name' on line 1, quote it"),
        ('span "a"b', "unexpected 'b' on line 1 right after a name, put a space between them"),
        ('span "a', 'unclosed quote " on line 1: "a'),
        ("span a model==x", "unknown operator '==' on line 1, did you mean '='?"),
        ("span a model:x", "unknown operator ':' on line 1, did you mean '='?"),
        ("span a output=~x", "unknown operator '=~' on line 1, did you mean '~'?"),
        ("span a usage.total=<3", "unknown operator '=<' on line 1, did you mean '<='?"),
        ("span a usage.total<>3", "unknown operator '<>' on line 1, did you mean '!='?"),
        ("span a model!~x", "unknown operator '!~' on line 1, operators are: = != ~ < <= > >= KEY? !KEY"),
        ("span a = b", "unexpected operator '=' on line 1, a key must come before it"),
        ("span a model=", "missing value after 'model=' on line 1, an empty string is \"\""),
        ("span a model= # x", "missing value after 'model=' on line 1, an empty string is \"\""),
        ("span a usage.total<=abc", "operator '<=' on line 1 compares numbers, not abc"),
        ("span a usage.total<true", "operator '<' on line 1 compares numbers, not true"),
        ("span a b", "unknown word 'b' on line 1, quote a name that contains a space: \"a b\""),
        ("span support bot", "unknown word 'bot' on line 1, quote a name that contains a space: \"support bot\""),
        ("span a b c", "unknown word 'b' on line 1, quote a name that contains a space: \"a b\""),
        ("span a model", "unknown word 'model' on line 1, did you mean 'model=…' or 'model?' (any value)?"),
        ('span a model="x', 'unclosed quote " on line 1: "x'),
        ("span a model='x", "unclosed quote ' on line 1: 'x"),
        (
            'span a model="x\n y"',
            'unclosed quote " on line 1: "x (write a literal that contains \\n as a raw string: r"""…""")',
        ),
        ('span a model="x"y', "unexpected 'y' on line 1 right after a value, put a space between them"),
        ('span a model=a"b', "quote inside the bare word 'a\"b' on line 1, quote the whole value"),
        ('span a model="\\q"', "unknown escape '\\q' in quotes on line 1, write a backslash as \\\\"),
        ('span a input={"a" 1}', "bad JSON on line 1, Expecting ':' delimiter at column 19: {\"a\" 1}"),
        ("span a input=[1, 2", "bad JSON on line 1, Expecting ',' delimiter at column 19: [1, 2"),
        ('span a input={"a": "x', 'unclosed quote " on line 1: "x'),
        (
            "span a input={a:1}",
            "bad JSON on line 1, Expecting property name enclosed in double quotes at column 15: {a:1}",
        ),
        (
            "span a input={'a':1}",
            "bad JSON on line 1, Expecting property name enclosed in double quotes at column 15: {'a':1}",
        ),
        ('span a input={"a":1}}', "unexpected '}' on line 1 right after a value, put a space between them"),
        ("span a output~(", "bad regex '(' on line 1: missing ), unterminated subpattern at position 0"),
        ('span a output~{"a":1}', "operator '~' on line 1 takes a regular expression, not {'a': 1}"),
        ("span a\n    span b\n  span c", "inconsistent indentation on line 3: it matches no line above"),
        (
            "span a\n\tspan b\n  span c",
            "inconsistent indentation on line 3: tabs and spaces are mixed differently from the lines above",
        ),
        ("  span a\nspan b", "inconsistent indentation on line 2: it is indented less than the first line"),
        ("* user_id=u\n  span a", "inconsistent indentation on line 2: nothing can be below a '*' line"),
        ("...\n  span a", "inconsistent indentation on line 2: nothing can be below a '...' line"),
        ("* ", "missing condition after '*' on line 1, such as * user_id=u-1"),
        ("* span a", "unexpected 'span' on line 1, write one observation per line"),
        ("... span a", "unexpected 'span' after '...' on line 1"),
        ("span a model=x model=y", "duplicate condition 'model=y' on line 1"),
        ("span a model? model?", "duplicate condition 'model?' on line 1"),
        ("span a !model=x", "unexpected '=x' on line 1: '!model' means \"absent\" and takes no value"),
        ("span a input=$x", "no value for '$x' on line 1, pass it as x=…"),
        ("span a input=$", "bad placeholder '$' on line 1, quote a value that starts with $"),
        ("span a input=$order", "placeholder '$order' cannot be used on line 1, order= is an option of assert_tree"),
        ('span a input="a"model=x', "unexpected 'model=x' on line 1 right after a value, put a space between them"),
        ("span a model=x user", "unknown word 'user' on line 1, did you mean 'user_id=…' or 'user_id?' (any value)?"),
        ('span "x y" foo', "unknown word 'foo' on line 1, conditions look like model=gpt-4o, output? or !user_id"),
    ],
)
def test_one_clear_sentence(literal: str, message: str) -> None:
    with pytest.raises(LiteralError) as error:
        parse(literal)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("literal", "values", "message"),
    [
        ("span a", {"doc": 1}, "the literal has no placeholder '$doc'"),
        ("span a input=$dco", {"doc": 1}, "no value for '$dco' on line 1, did you mean 'doc'?"),
        (
            "span a input=$doc",
            {"doc": 1, "dox": 2},
            "the literal has no placeholder '$dox', did you mean 'doc'?",
        ),
        ("span a\n  tool b input=$x output=$y", {"x": 1}, "no value for '$y' on line 2, pass it as y=…"),
        ("span a name~$x", {"x": 1}, "operator '~' on line 1 takes a regular expression, not 1"),
    ],
)
def test_placeholders_and_values_belong_together(literal: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(LiteralError, match=f"^{re.escape(message)}$"):
        parse(literal, values)


def test_it_is_a_value_error() -> None:
    assert issubclass(LiteralError, ValueError)


def test_lines_are_counted_from_the_opening_quotes() -> None:
    with pytest.raises(LiteralError, match="on line 1,"):
        parse("""spann a""")
    with pytest.raises(LiteralError, match="on line 4,"):
        parse("""
            # a comment

            spann a
        """)


def test_windows_line_ends_do_not_count_twice() -> None:
    with pytest.raises(LiteralError, match="on line 3,"):
        parse("span a\r\n  span b\r\n  spann c\r\n")


def test_numbers_that_python_refuses() -> None:
    with pytest.raises(LiteralError, match=r"^bad JSON on line 1: Exceeds the limit"):
        parse(f"span a input=[{'1' * 5000}]")
    assert parse(f"span a input={'1' * 5000}").children[0].own[0].value == "1" * 5000


def test_json_that_is_nested_too_deeply() -> None:
    with pytest.raises(LiteralError, match=r"^bad JSON on line 1: nested too deeply$"):
        parse("span a input=" + "[" * 100_000)
