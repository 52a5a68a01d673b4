"""docs/assertions.md: its tests pass, its tables are true."""

from __future__ import annotations

import re

import pytest

from pytest_langfuse import LiteralError
from pytest_langfuse.expect.literal.condition_key import FIELDS
from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.recording.observation import TYPES
from tests.helpers.paths import DOCS

# Slow: runs the page with other plugins.
pytestmark = pytest.mark.slow

PAGE = (DOCS / "assertions.md").read_text()
CODE = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def rows(header: str) -> list[tuple[str, str]]:
    """The rows of the table with this header."""
    table = PAGE.partition(f"| {header} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| (.+?) \| (.*) \|$", table, flags=re.MULTILINE)


def test_the_tests_pass(pytester):
    for name, text in CODE:
        (pytester.path / name).write_text(text)
    tests = sum(text.count("\ndef test_") for _, text in CODE)
    assert tests >= 8
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=tests)


def test_conditions_can_be_read():
    conditions = [condition for cell, _ in rows("condition | holds if") for condition in re.findall(r"`(.+?)`", cell)]
    assert len(conditions) == 8
    for condition in conditions:
        parse(f"span a {condition}", {"given": 1} if "$" in condition else {})


@pytest.mark.parametrize(("literal", "message"), rows("literal | `LiteralError`"))
def test_errors(literal, message):
    with pytest.raises(LiteralError) as error:
        parse(literal.strip("`"))
    assert str(error.value) == message


def test_fields_and_types_are_complete():
    fields = re.search(r"Fields:\s+`([^`]+)`", PAGE)
    assert fields is not None
    assert tuple(fields[1].split()) == FIELDS
    assert f"a type (`{' '.join(TYPES)}`)" in PAGE
