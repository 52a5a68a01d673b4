"""docs/recipes and docs/migration: their tests pass, and their mistakes fail as the pages say."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers import forked_pytest, slow_plugins
from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import DOCS
from tests.helpers.recipe_page import FILES, RecipePage

PAGES = {
    page.name: page
    for path in sorted(DOCS.glob("[rm]*/*.md"))
    if path.parent.name in ("recipes", "migration")
    for page in [RecipePage(path)]
}
SHARED = PAGES["recipes-README"].files
#: The pages that are run together, after these imports.
RUNS = {
    "web": (
        ["django.test", "fastapi.testclient", "flask", "openai"],
        ["recipes-django", "recipes-fastapi", "recipes-flask"],
    ),
    "jobs": (["celery.bin.celery", "kombu"], ["recipes-celery"]),
    "agents": (
        [
            "agents",
            "langchain_openai",
            "langgraph.graph",
            "openinference.instrumentation.openai_agents",
            "pydantic_ai.models.openai",
        ],
        ["recipes-langchain", "recipes-openai-agents", "recipes-pydantic-ai"],
    ),
}
pages = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


def folders(names: list[str], root: Path) -> list[tuple[Path, RecipePage, int | None]]:
    """Write each page, as it is and with each of its mistakes, into a folder."""
    written = []
    for page in map(PAGES.__getitem__, names):
        versions = [page.files, *(mistake.applied(page.files) for mistake in page.mistakes)]
        for number, files in enumerate(versions):
            folder = root / f"{page.name}-{number}"
            for name, text in {**SHARED, **files}.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
            written.append((folder, page, number - 1 if number else None))
    return written


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("modules", "names"), RUNS.values(), ids=RUNS)
def test_tests_pass_and_mistakes_fail_as_the_page_says(
    modules: list[str], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if missing := [module for module in modules if not find_spec(module.partition(".")[0])]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    slow_plugins.keep_out(monkeypatch, "asyncio")
    written = folders(names, tmp_path)
    subprocess.run(
        [
            sys.executable,
            forked_pytest.__file__,
            ",".join(["langfuse", *modules]),
            *[folder for folder, _, _ in written],
        ],
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
        check=True,
        timeout=LIMIT,
    )
    wrong = []
    for folder, page, mistake in written:
        output = folder.with_suffix(".txt").read_text()
        if mistake is None:
            # A test may have parameters.
            passed = re.search(r"^=+ (\d+) passed in", output, re.MULTILINE)
            if not passed or int(passed[1]) < page.tests:
                wrong.append(f"{page.name}: not {page.tests} passed\n{output}")
        elif difference := page.mistakes[mistake].differences(output):
            wrong.append(f"{page.name}: {difference}")
    assert not wrong, "\n\n".join(wrong)


def test_each_page_with_tests_is_run():
    assert sorted(name for _, names in RUNS.values() for name in names) == [
        name for name, page in PAGES.items() if page.tests
    ]


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
