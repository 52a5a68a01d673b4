"""The documentation shows what really happens."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import DOCS, ROOT

# Slow: runs the documentation where only the wheel is installed.
pytestmark = pytest.mark.slow

README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("examples/*/README.md"))]

page_of = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def files(page: Path) -> dict[str, str]:
    """Return the blocks that begin with a file name, by that name."""
    found = (re.match(r"# (\S+\.py)\n", block) for block in blocks(page, "python"))
    return {match[1]: match.string for match in found if match}


#: The examples of these pages use tools that a user may have installed in addition; `tests/expect` and `tests/plugin`
#: run them.
NEED_TOOLS = {"assertions.md", "queues-in-tests.md", "test-frameworks.md"}
#: Pages whose files pytest runs in one folder.
RUN = [page for page in PAGES if page.name not in NEED_TOOLS and any(name.startswith("test_") for name in files(page))]


#: Pages whose code is not clean under `--langfuse-strict`: one shows what is lost at an exit, the other has a server of
#: its own, which a captured test doesn't reach.
NOT_STRICT = {"processes.md", "stand-in.md"}


def write(folder: Path, page: Path) -> None:
    for name, text in files(page).items():
        (folder / name).write_text(text)


def test_the_readme_begins_with_two_commands():
    assert re.findall(r"^\$ (.+?)(?:\s+#.*)?$", blocks(README, "console")[0], flags=re.MULTILINE) == [
        "make demo",
        "make test",
    ]


@page_of
def test_python_blocks_parse(page: Path):
    found = blocks(page, "python")
    assert len(found) == page.read_text().count("```python")
    for block in found:
        ast.parse(block)


@page_of
def test_examples_fail_when_the_documented_outcome_does_not_come(page: Path):
    """An `assert` in an `except` block never runs if nothing is raised; `pytest.raises` fails then."""
    handlers = [
        node
        for block in blocks(page, "python")
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ExceptHandler)
    ]
    assert not [node for handler in handlers for node in ast.walk(handler) if isinstance(node, ast.Assert)]


#: The modules that users import from; every other path is private.
PUBLIC = ("pytest_langfuse.outage.server", "pytest_langfuse.recording", "pytest_langfuse.tracing", "pytest_langfuse")


#: Modules to run, and attributes of spans.
COMMANDS = {"pytest_langfuse.report"}
ATTRIBUTES = {"pytest_langfuse.filtered_parent_id"}


@page_of
def test_a_page_names_public_modules_only(page: Path):
    """An exported name may follow the module: `pytest_langfuse.recording.decode_otlp`. Commands are left out."""
    for path in re.findall(r"(?<!python -m )\bpytest_langfuse(?:\.(?!md\b)\w+)+", page.read_text()):
        if path in ATTRIBUTES:
            continue
        module = next(public for public in PUBLIC if path.startswith(public))
        name = path.removeprefix(module).removeprefix(".")
        assert not name or name in import_module(module).__all__, path


@pytest.mark.parametrize("public", PUBLIC)
def test_the_readme_names_each_public_module(public: str):
    assert f"`{public}`" in README.read_text()


def test_the_examples_import_from_public_modules_only():
    imported = {
        node.module
        for path in ROOT.glob("examples/**/*.py")
        if "node_modules" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytest_langfuse")
    }
    assert {"pytest_langfuse", "pytest_langfuse.tracing"} <= imported <= set(PUBLIC)


def test_the_pages_that_are_run_are_these():
    assert {str(page.relative_to(ROOT)) for page in RUN} == {
        "README.md",
        "docs/capture.md",
        "docs/getting-started.md",
        "docs/literal.md",
        "docs/middleware.md",
        "docs/outages.md",
        "docs/processes.md",
        "docs/propagation.md",
        "docs/sampling.md",
        "docs/stand-in.md",
        "docs/tracing.md",
    }


#: Runs pytest in each of the folders, two at a time: what takes half a second to import is imported once, then forked.
RUN_FOLDERS = """
import os, sys
import pytest
import httpx, langfuse

folders, running = sys.argv[1:], {}
while folders or running:
    while folders and len(running) < 2:
        folder = folders.pop()
        if child := os.fork():
            running[child] = folder
            continue
        os.chdir(folder)
        with open("printed", "w") as printed:
            for stream in (1, 2):
                os.dup2(printed.fileno(), stream)
        # As `python -m pytest` does.
        sys.path.insert(0, folder)
        status = pytest.main(["-q", "-p", "no:cacheprovider"])
        sys.stdout.flush()
        os._exit(status)
    child, status = os.wait()
    print(running.pop(child), os.waitstatus_to_exitcode(status))
"""


def test_files_work_where_only_the_wheel_is_installed(clean_environment_with_respx, tmp_path: Path):
    folders = {str(tmp_path / page.stem): page for page in RUN}
    for folder, page in folders.items():
        Path(folder).mkdir()
        write(Path(folder), page)
        strict = "false" if page.name in NOT_STRICT else "true"
        Path(folder, "pytest.ini").write_text(f"[pytest]\nlangfuse_strict = {strict}\n")
    done = clean_environment_with_respx.python("-c", RUN_FOLDERS, *folders, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    statuses = dict(line.split() for line in done.stdout.splitlines())
    assert set(statuses) == set(folders)
    for folder, status in statuses.items():
        printed = Path(folder, "printed").read_text()
        assert status == "0", printed
        assert re.search(r"^\d+ passed", printed, flags=re.MULTILINE), printed


def test_the_readme_needs_no_extra(clean_environment, tmp_path: Path):
    write(tmp_path, README)
    done = clean_environment.pytest("-q", "--langfuse-capture", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "langfuse: 3 observations in 1 test" in done.stdout
    assert "1 passed" in done.stdout


def test_the_tree_in_the_guide_fails_as_it_says(clean_environment_with_respx, tmp_path: Path):
    write(tmp_path, DOCS / "getting-started.md")
    shop = tmp_path / "shop.py"
    shop.write_text(shop.read_text().replace('"gpt-4o"', '"gpt-4o-mini"'))
    done = clean_environment_with_respx.pytest("-q", "test_tree.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "llm: model is 'gpt-4o-mini', expected 'gpt-4o'" in done.stdout


def test_options_and_fixtures_of_the_readme_are_those_of_the_plugin():
    def printed(*arguments: str) -> str:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(command, cwd=DOCS, capture_output=True, text=True, check=False, timeout=LIMIT).stdout

    text = README.read_text()
    options = set(re.findall(r"^  (--langfuse-[a-z-]+)", printed("--help"), flags=re.MULTILINE))
    fixtures = set(re.findall(r"^(langfuse_[a-z_]+) --", printed("--fixtures", "-q"), flags=re.MULTILINE))
    assert set(re.findall(r"^\| `(--langfuse-[a-z-]+)", text, flags=re.MULTILINE)) == options
    assert set(re.findall(r"^\| `(langfuse_[a-z_]+)` \|", text, flags=re.MULTILINE)) == fixtures
