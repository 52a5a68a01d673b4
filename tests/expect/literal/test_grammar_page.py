"""docs/literal.md: its grammar is the one that is read, its tests pass, its errors are those."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from pytest_langfuse import LiteralError
from pytest_langfuse.expect.literal.condition import OPERATORS
from pytest_langfuse.expect.literal.condition_key import FIELDS, SCORE_KEYS
from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.recording.observation import TYPES
from tests.helpers.ebnf import Grammar
from tests.helpers.paths import DOCS

PAGE = (DOCS / "literal.md").read_text()
#: Errors of literals that follow the grammar and can't mean anything.
NO_MEANING = re.compile(
    r"has no parts|duplicate condition|ends before it starts|is too large|compares numbers|bad regex|no value for|"
    r"takes a regular expression|is an option of|missing name before '\w[\w.-]*\?'|unknown escape '\\U|"
    r"unknown key ['\"](parent|children)\b"
)


def _json(text: str, start: int) -> Iterator[int]:
    if text[start : start + 1] in {"{", "["}:
        try:
            yield json.JSONDecoder(strict=False).raw_decode(text, start)[1]
        except ValueError:
            return


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    (text,) = re.findall(r"^```text\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    found = Grammar.of(text)
    assert found.undefined() == {"json", "part_char", "word_char"}

    def one(pattern: str):
        return lambda text, start: iter([start + 1] if re.compile(pattern).match(text, start) else [])

    found.terminals = {
        "json": (_json, ['{"a": [1, null]}', "[]", '["x"]']),
        "part_char": (one(r"[\w-]"), ["a", "0", "é", "-"]),
        "word_char": (one(r"\w"), ["a", "0", "_"]),
    }
    return found


def words(grammar: Grammar, rule: str) -> list[str]:
    kind, options = grammar.rules[rule]
    assert kind == "one"
    return [word for _, word in options]


def test_lists_are_complete(grammar: Grammar):
    assert words(grammar, "type") == ["any", *TYPES]
    assert tuple(words(grammar, "field")) == FIELDS
    assert tuple(words(grammar, "score_field")) == SCORE_KEYS.fields
    assert set(words(grammar, "operator")) == set(OPERATORS)


def outcome(line: str) -> str:
    """What the code makes of a line: `read`, `refused`, or `no meaning`, whatever comes after that place."""
    try:
        parse(line)
    except LiteralError as error:
        return "no meaning" if NO_MEANING.search(str(error)) else "refused"
    return "read"


def test_what_the_grammar_makes_is_read(grammar: Grammar):
    chance = random.Random(1)
    lines = [grammar.sentence("line", chance) for _ in range(3_000)]
    assert [line for line in lines if outcome(line) == "refused"] == []
    assert sum(outcome(line) == "read" for line in lines) > 1_000


#: One of each kind, in which single characters are then changed.
LINES = (
    "span a",
    '>> 1-3x tool "look up" output~"x y" input.0."b c"=1  # why',
    "2+x >> any *",
    "  * user_id=u-1 !metadata.debug",
    "...  # more",
    "score grounded value>=0.5 comment? !metadata.x",
    "generation llm model = gpt-4o usage.total<=200 tags=[1, 2] level!=ERROR 'raw.key'='\\u0041'",
)


def test_what_is_read_is_in_the_grammar_and_the_other_way_round(grammar: Grammar):
    chance = random.Random(2)
    signs = " \t#!\"'=<>~$\\{}[]:*?.…x-0aé\x0b\x85\u2003"
    found = Counter()
    differing = set()
    for _ in range(4_000):
        line = chance.choice(LINES)
        for _ in range(chance.randint(1, 2)):
            place = chance.randrange(len(line) + 1)
            line = line[:place] + chance.choice(["", chance.choice(signs)]) + line[place + chance.randint(0, 1) :]
        what = outcome(line)
        found[what] += 1
        if what != "no meaning" and (what == "read") != grammar.recognises("line", line):
            differing.add(f"{what}: {line}")
    assert differing == set()
    assert found["read"] > 1_000
    assert found["refused"] > 1_000


ERRORS = re.findall(r"^\| `(.+?)` \| (.*) \|$", PAGE.partition("`LiteralError` |\n")[2], flags=re.MULTILINE)


@pytest.mark.parametrize(("literal", "message"), ERRORS)
def test_errors(literal: str, message: str):
    with pytest.raises(LiteralError) as error:
        parse(literal)
    assert str(error.value) == message


def test_the_table_of_errors_is_there():
    assert len(ERRORS) == PAGE.count("on line 1") == 12
