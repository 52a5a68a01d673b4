"""The English of messages, docstrings and pages: the mistakes that came back most often."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.for_each import for_each
from tests.helpers.paths import DOCS, ROOT

SOURCES = sorted((ROOT / "pytest_langfuse").rglob("*.py"))
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(DOCS.glob("*.md"))

#: A clause without its sentence: "Whether it runs." says less than "Return whether it runs."
HEADLESS = re.compile(r"(What|Which|Whether|How|Where|Who|Whom)\b")
#: "It is no file" for "it is not a file"; "there is no file" is English.
IS_NO = re.compile(r"(?<!there )\b(?:is|are|was|were) no (?!longer\b|more than\b|less\b)\w+", re.IGNORECASE)


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text


def mistakes(text: str) -> list[str]:
    return IS_NO.findall(" ".join(text.split()))


@for_each(SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_begin_with_a_sentence_or_a_noun(path: Path):
    headless = [
        f"{path.name}:{line}: {text.splitlines()[0]}" for line, text in docstrings(path) if HEADLESS.match(text)
    ]
    assert headless == []


@for_each([*SOURCES, *PAGES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_no_thing(path: Path):
    assert mistakes(path.read_text()) == []


def test_a_mistake_would_be_found():
    assert mistakes("'x' is no\nport, but there is no port either, and it is no longer used") == ["is no port"]
    assert HEADLESS.match("Whether it runs.")
    assert not HEADLESS.match("Whatever it is, it runs.")
