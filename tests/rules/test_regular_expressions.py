"""Regular expressions of the rules take time in proportion to the text, whatever it holds."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator, Sequence
from re import _constants as constants
from re import _parser as parser
from typing import Any

import pytest

import pytest_langfuse.report
import pytest_langfuse.rules
from pytest_langfuse import arguments
from pytest_langfuse.rules.__main__ import main
from pytest_langfuse.rules.baseline import folded
from pytest_langfuse.rules.secrets import scan

REPEATS = (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT)
ASSERTIONS = (constants.ASSERT, constants.ASSERT_NOT, constants.AT)
#: An item of a parsed pattern: what it is, and its arguments.
Item = tuple[Any, Any]


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    packages = (pytest_langfuse.rules, pytest_langfuse.report)
    names = [
        one.name for package in packages for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    modules.append(arguments)
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield f"{module.__name__}.{name}", value
    for number, (kind, pattern) in enumerate(scan._patterns()):
        yield f"{number} {kind}", pattern


PATTERNS = dict(patterns())
# They are tried at one place alone.
for name in (
    "pytest_langfuse.report.page.smaller_script._TEMPLATE",
    "pytest_langfuse.report.row_file._LINE",
    "pytest_langfuse.rules.ignore_comment._CODES",
):
    del PATTERNS[name]


def flat(items: Sequence[Item]) -> Iterator[Item]:
    """Yield the items of a pattern, with those of groups in their place."""
    for item in items:
        if item[0] is constants.SUBPATTERN:
            yield from flat(item[1][3])
        else:
            yield item


def is_unbounded(item: Item) -> bool:
    return item[0] in (constants.MAX_REPEAT, constants.MIN_REPEAT) and item[1][1] is constants.MAXREPEAT


def may_be_empty(item: Item) -> bool:
    return item[0] in ASSERTIONS or (item[0] in REPEATS and item[1][0] == 0)


def first_characters(item: Item) -> set[str]:
    """Return the ASCII characters of a repeat of one character; all, where it repeats more than that."""
    ascii_ = [chr(code) for code in range(128)]
    inner = list(flat(item[1][2]))
    if len(inner) != 1 or inner[0][0] not in (constants.IN, constants.LITERAL, constants.ANY, constants.NOT_LITERAL):
        return set(ascii_)
    compiled = re._compiler.compile(item[1][2])  # type: ignore[attr-defined]
    return {character for character in ascii_ if compiled.match(character)}


def parts(pattern: str | bytes, flags: int) -> Iterator[list[Item]]:
    """Yield the items of a pattern, and those of each of its alternatives and repeats."""
    pending = [parser.parse(pattern, flags)]
    while pending:
        items = list(flat(pending.pop()))
        yield items
        for what, given in items:
            if what is constants.BRANCH:
                pending += given[1]
            elif what in REPEATS:
                pending.append(given[2])


def faults(pattern: str | bytes, flags: int = 0) -> Iterator[str]:
    """Yield the shapes of a pattern that take time by the square of the text."""
    whole, *_ = parts(pattern, flags)
    if len(whole) > 1 and whole[0][0] in REPEATS and whole[0][1][1] is constants.MAXREPEAT:
        yield "begins with a repeat, and so is tried again from each character of it"
    for items in parts(pattern, flags):
        for number, item in enumerate(items):
            if not is_unbounded(item):
                continue
            if any(map(is_unbounded, flat(item[1][2]))):
                yield "repeats a repeat"
            for other in items[number + 1 :]:
                if is_unbounded(other) and first_characters(item) & first_characters(other):
                    yield "has two repeats side by side that share characters"
                if not may_be_empty(other):
                    break


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_tries_a_part_of_the_text_again(name):
    assert list(faults(PATTERNS[name].pattern, PATTERNS[name].flags)) == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"[A-Za-z]*[0-9][0-9A-Za-z]*",
        r"[A-Za-z]*+[0-9]",
        r"authorization\s*,?\s*bearer",
        r"a(?:x*y?x*)z",
        r"x(?:a+)+b",
        r"(?:a|\d*\d*b)",
    ],
)
def test_shapes_that_are_refused(pattern):
    assert list(faults(pattern)) != []


@pytest.mark.parametrize(
    "pattern",
    [r"\d+", r"(?<![a-z])[a-z]*[0-9]", r"a\s*:\s*b", r"a\s*+,?\s*+b", r"[a-z]{8}[0-9]", r"x\d*[a-z]*-"],
)
def test_shapes_that_are_fine(pattern):
    assert list(faults(pattern)) == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("order 17", "order #"),
        ("order17b and b2c", "# and #"),
        ("3f2b8c1e-7d64-4f0a-9a51-0c2d6e8b7a90.step", "#.step"),
        ("gpt-4o-mini", "gpt-#-mini"),
        ("Größe7", "Größ#"),
        ("no number", "no number"),
    ],
)
def test_names_in_baselines(name, key):
    assert folded(name) == key


def test_a_name_of_a_million_letters(tmp_path, capsys):
    # By the square of its length this would take hours.
    path = tmp_path / "trace.json"
    fields = {"id": "a1b2c3d4e5f60718", "traceId": "0af7651916cd43dd8448eb211c80319c", "type": "GENERATION"}
    times = {"startTime": "2026-01-01T09:00:00Z", "endTime": "2026-01-01T09:00:01Z"}
    observation = fields | times | {"name": "n" * 1_000_000, "output": "x"}
    path.write_text(json.dumps({"id": fields["traceId"], "observations": [observation]}))
    assert main(["check", str(path)]) == 0
    assert "LF006 no model" in capsys.readouterr().out
