"""Literals and selectors that are used again: parsed once, and never changed by what uses them."""

from __future__ import annotations

import pytest

from pytest_langfuse import LiteralError, Observations
from pytest_langfuse.expect.literal import parse as parse_module
from pytest_langfuse.expect.literal.parse import parse
from tests.helpers.forest import captured

LITERAL = """
    span answer user_id=u-1
      generation llm model=gpt-4o
"""


@pytest.fixture(autouse=True)
def parsed(monkeypatch):
    """The texts that were really parsed."""
    parse_module._parse_once.cache_clear()
    texts = []
    original = parse_module._Parser.parse

    def counted(self, literal):
        texts.append(literal)
        return original(self, literal)

    monkeypatch.setattr(parse_module._Parser, "parse", counted)
    return texts


def spans() -> Observations:
    return captured(LITERAL)


def test_a_literal_is_parsed_once(parsed):
    found = spans()
    parsed.clear()
    for _ in range(3):
        found.assert_tree("any answer\n  any *")
        found.assert_contains("generation llm")
    assert parsed == ["any answer\n  any *", "generation llm"]


def test_a_selector_is_parsed_once_whatever_its_fields(parsed):
    found = spans()
    parsed.clear()
    assert found.one("any llm", model="gpt-4o").name == "llm"
    assert found.all("any llm", model="gpt-4o-mini") == []
    assert found.one("any llm").name == "llm"
    assert parsed == ["any llm"]


def test_values_are_not_kept(parsed):
    literal = "generation llm model=$model"
    found = spans()
    found.assert_contains(literal, model="gpt-4o")
    with pytest.raises(AssertionError, match="expected 'gpt-4o-mini'"):
        found.assert_contains(literal, model="gpt-4o-mini")
    with pytest.raises(LiteralError, match="no value for"):
        found.assert_contains(literal)
    assert parse_module._parse_once.cache_info().currsize == len({text for text in parsed if text != literal})


def test_a_failure_leaves_the_literal_as_it_was():
    literal = "span answer user_id=u-1\n  generation llm model=gpt-4o"
    other = captured("span answer user_id=u-2\n  generation llm model=other\n  tool search")
    with pytest.raises(AssertionError):
        other.assert_tree(literal)
    spans().assert_tree(literal)


def test_what_is_kept_is_bounded():
    for number in range(2 * parse_module._CACHED):
        parse(f"span s{number}")
    long = "span a\n" * parse_module._LONGEST_CACHED
    assert parse(long) is not parse(long)
    assert parse_module._parse_once.cache_info().currsize == parse_module._CACHED
