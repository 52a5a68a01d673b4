"""docs/recipes and docs/migration: their tests pass, and their mistakes fail as the pages say."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from pytest_langfuse.expect.literal.parse import parse
from tests.helpers import forked_pytest, slow_plugins
from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import DOCS, ROOT
from tests.helpers.recipe_page import FILES, Mistake, RecipePage

PAGES = {
    page.name: page
    for path in sorted(DOCS.glob("[rm]*/*.md"))
    if path.parent.name in ("recipes", "migration")
    for page in [RecipePage(path)]
}
SHARED = PAGES["recipes-README"].files
#: What each page with tests imports.
MODULES = {
    "migration-capfire": ["logfire.testing"],
    "migration-hand-rolled": [],
    "migration-span-tree": ["pydantic_evals.otel"],
    "recipes-celery": ["celery.bin.celery"],
    "recipes-django": ["django.test"],
    "recipes-fastapi": ["fastapi.testclient"],
    "recipes-flask": ["flask"],
    "recipes-langchain": ["langchain_openai", "langgraph.graph"],
    "recipes-openai-agents": ["agents", "openinference.instrumentation.openai_agents"],
    "recipes-pydantic-ai": ["pydantic_ai.models.openai"],
    "recipes-serverless": ["openai"],
}
#: Where the code is clean under `--langfuse-strict`.
STRICT = {"pytest.ini": "[pytest]\nlangfuse_strict = true\n"}
#: Its fixture, which is the one to be replaced, has two exporters of the same spans.
SHOWS_A_DEFECT = {"migration-hand-rolled"}
#: Its tests start a worker, as those of `examples/shop` do.
LONG = "recipes-celery"
#: `test_ci_pages.py` runs these, by the commands of their pipelines.
PIPELINES = ["recipes-github-actions", "recipes-gitlab-ci"]
#: Some clients want a key when they are imported.
MODEL = {"OPENAI_API_KEY": "made up"}
pages = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


def printed(versions: list[tuple[RecipePage, dict[str, str]]], root: Path) -> list[str]:
    """Run pytest on the files of a page, one after the other, and return what each run prints."""
    modules = ["langfuse", *(module for page, _ in versions for module in MODULES[page.name])]
    folders = [root / f"{number}-{page.name}" for number, (page, _) in enumerate(versions)]
    for folder, (_, files) in zip(folders, versions, strict=True):
        for name, text in {**SHARED, **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    subprocess.run(
        [sys.executable, forked_pytest.__file__, ",".join(dict.fromkeys(modules)), *folders],
        env={**environment(), "COLUMNS": "100", "NO_COLOR": "1"},
        check=True,
        timeout=LIMIT,
    )
    return [folder.with_suffix(".txt").read_text() for folder in folders]


def environment() -> dict[str, str]:
    """Return the environment without what changes what is printed."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GITHUB", "LANGFUSE", "LANGSMITH", "OPENAI", "OTEL"))
    }


def not_installed(names: Iterable[str]) -> dict[str, str]:
    """Return the pages of which a framework is not installed, with its module."""
    return {name: module for name in names for module in MODULES[name] if find_spec(module.partition(".")[0]) is None}


@pytest.fixture(autouse=True)
def _without_plugins(monkeypatch: pytest.MonkeyPatch):
    slow_plugins.keep_out(monkeypatch, "asyncio")


def check_that_tests_pass(names: Sequence[str], root: Path) -> None:
    """Run the tests of pages; skips with the names of those that can't be run here, after the others."""
    missing = not_installed(names)
    run = [PAGES[name] for name in names if name not in missing]
    wrong = []
    versions = [(page, ({} if page.name in SHOWS_A_DEFECT else STRICT) | page.files) for page in run]
    for page, output in zip(run, printed(versions, root), strict=True):
        # A test may have parameters.
        passed = re.search(r"^=+ (\d+) passed in", output, re.MULTILINE)
        if not passed or int(passed[1]) < page.tests:
            wrong.append(f"{page.name}: not {page.tests} passed\n{output}")
    assert not wrong, "\n\n".join(wrong)
    if missing:
        pytest.skip(f"not installed: {', '.join(f'{module} of {name}' for name, module in missing.items())}")


@pytest.mark.slow
@pytest.mark.long
def test_the_tests_of_the_pages_pass(tmp_path: Path):
    check_that_tests_pass([name for name in MODULES if name != LONG], tmp_path)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_tests_with_a_worker_pass(tmp_path: Path):
    check_that_tests_pass([LONG], tmp_path)


# What failures say is pinned in `tests/expect/text`, too.
@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", MODULES)
def test_mistakes_fail_as_the_page_says(name: str, tmp_path: Path):
    if missing := not_installed([name]):
        pytest.skip(f"not installed: {missing[name]}")
    page = PAGES[name]
    assert page.mistakes
    outputs = printed([(page, mistake.applied(page.files)) for mistake in page.mistakes], tmp_path)
    wrong = [mistake.differences(output) for mistake, output in zip(page.mistakes, outputs, strict=True)]
    assert not list(filter(None, wrong)), "\n\n".join(filter(None, wrong))


def test_each_page_with_tests_is_run():
    assert sorted([*PIPELINES, *MODULES]) == [name for name, page in PAGES.items() if page.tests]


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.tests])
def test_each_page_begins_with_an_install_line(name: str):
    assert "pytest-langfuse" in {requirement.partition("[")[0] for requirement in PAGES[name].installed}


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.tests])
def test_the_install_line_brings_what_the_page_imports(name: str):
    if name in MODULES and (missing := not_installed([name])):
        pytest.skip(f"not installed: {missing[name]}")
    command = [sys.executable, "-m", "tests.helpers.recipe_imports", str(PAGES[name].path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment() | MODEL, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert done.stdout == "all imported\n", done.stderr


@pages
def test_each_block_is_one_that_is_run_or_checked(page: RecipePage):
    """Commands are those of the pages that they belong to; a table or a tree has no language."""
    for language, text in page.blocks:
        if language in FILES:
            assert re.match(r"# \S+\.\w+\n", text), f"no file name: {text}"
        else:
            assert language in ("diff", "text", "console"), f"not run: {text}"
    assert sum(language == "text" for language, _ in page.blocks) == len(page.mistakes)
    for name, text in page.files.items():
        if name.endswith(".py"):
            ast.parse(text)


#: Of the right column of a table: a line of a literal, and conditions of one.
_LINE = re.compile(r"(?:>> )?(?:\d\S*x )?(?:any|embedding|generation|score|span|tool) \S")
_CONDITION = re.compile(r"""!?(?:[a-z][\w.]*|"[\w.]+")(?:\?|(?:!=|[<>]=?|[=~])[^=(]*)""")


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("migration-")])
def test_literals_in_the_tables_can_be_read(name: str):
    cells = re.findall(r"^\|.*\| (.*) \|$", PAGES[name].path.read_text(), flags=re.MULTILINE)
    codes = [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]
    literals = [code for code in codes if _LINE.match(code)]
    literals += [f"any * {code}" for code in codes if _CONDITION.fullmatch(code)]
    literals += [literal for code in codes for literal in re.findall(r"""^assert_contains\("(.+)"\)$""", code)]
    assert len(literals) >= 2, codes
    for literal in literals:
        parse(literal)


@pytest.mark.parametrize(
    ("shown", "is_printed"),
    [
        ("one\n", True),
        ("one\ntwo\n", True),
        ("one\n...\nfour\n", True),
        ("...\n  three\n", True),
        ("five\n", False),
        ("thr\n", False),
        ("one\n  three\n", False),
        ("four\n...\none\n", False),
    ],
)
def test_what_is_not_printed_is_found(shown: str, is_printed: bool):
    difference = Mistake("bot.py", "", shown).differences("begin\none\ntwo \n  three\nfour")
    assert (difference is None) == is_printed


def test_a_mistake_changes_its_lines_and_has_to_find_them():
    files = {"bot.py": "one\ntwo\nthree\n", "other.py": "two\n"}
    assert Mistake("bot.py", " one\n-two\n+zwei\n", "").applied(files) == {**files, "bot.py": "one\nzwei\nthree\n"}
    with pytest.raises(AssertionError, match="not once in other"):
        Mistake("other.py", " one\n-two\n", "").applied(files)
