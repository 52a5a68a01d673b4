"""Each code block of the documentation is run, or checked in another way: none is only text.

Files (`# test_x.py`) are run by tests/repo/test_documentation.py, or by the test that `RUN_BY` names for their page.
Other Python is run here (tests/helpers/page_snippets.py). Commands, ini files and YAML are read by what reads them in
earnest. What is printed stands in a test that compares it: `PRINTED`. Drawings are `DRAWN`.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from pytest_langfuse.outage.faults import FAULTS
from pytest_langfuse.report.__main__ import main as make_page
from pytest_langfuse.tracing.config import SETTINGS
from pytest_langfuse.tracing.forward.forward_options import BadOption
from tests.helpers.limited_runs import LIMIT
from tests.helpers.page_blocks import Block, blocks_of, pages
from tests.helpers.page_snippets import SNIPPETS
from tests.helpers.paths import DOCS, ROOT
from tests.helpers.report_rows import shop_run

ALL = [block for page in pages() for block in blocks_of(page)]
#: Blocks that a test of their own runs or compares: pages or folders, languages, and words that such a block has.
RUN_BY = {
    ("docs/assertions.md", "python", ""): "tests/expect/test_assertions_page.py",
    ("docs/literal.md", "text", "::="): "tests/expect/literal/test_grammar_page.py",
    ("docs/queues-in-tests.md", "python", ""): "tests/plugin/test_queues.py",
    # With what goes wrong (diff), and what is printed then.
    ("docs/migration/", "python diff text", ""): "tests/repo/test_recipes.py",
    ("docs/recipes/", "python diff text", ""): "tests/repo/test_recipes.py",
    ("docs/recipes/github-actions.md", "yaml", ""): "tests/repo/test_ci_pages.py",
    ("docs/recipes/gitlab-ci.md", "yaml", ""): "tests/repo/test_ci_pages.py",
    ("docs/reports.md", "yaml", ""): "tests/repo/test_ci_pages.py",
    ("docs/rules/LF", "python", ""): "tests/rules/test_pages.py",
    ("docs/rules/LF", "ini", ""): "tests/rules/test_own_patterns.py",
    ("docs/rules/README.md", "python", "ignore[LF006]"): "tests/rules/test_pages.py",
    ("docs/server-view.md", "python", ""): "tests/recording/server_view/test_page.py",
    ("docs/test-frameworks.md", "python gherkin", ""): "tests/plugin/test_frameworks_page.py",
    ("docs/tracing.md", "python", "MetricReader"): "tests/tracing/test_metrics_examples.py",
    ("examples/scale/README.md", "text", ""): "tests/repo/test_scale_demo.py",
    # Written from the code, and compared with it.
    ("docs/reference/", "python", ""): "tests/repo/test_generated_pages.py",
}
#: Words of what a page shows as printed, and the test that compares the same words with what is really printed.
PRINTED = {
    "parent is search, expected answer": "tests/expect/text/test_failure_texts.py",
    "over budget: 600 tokens, ": "tests/report/test_budget.py",
    "4.10 s  1,215 tok  $0.0041 est.": "tests/report/test_trace_section.py",
    ", which a captured test must not reach": "tests/plugin/test_refused_connections.py",
    "for Langfuse during the outage 'hang', max_block allows ": "tests/plugin/test_outages.py",
    "= Langfuse degradation =": "tests/repo/test_naive_bot.py",
    "2 failed, 4 passed": "tests/repo/test_naive_bot.py",
    "exited with status 3 before it answered at http://": "tests/process/test_langfuse_process.py",
    " and 1 more file: 2 of ": "tests/report/test_report_of_shards.py",
    " tests changed, 1 ": "tests/report/test_run_comparison.py",
    " names no model, so that Langfuse computes neither tokens nor cost of": "tests/rules/test_check.py",
    " ends 1.000 s before it starts": "tests/rules/test_check.py",
    " OTEL_EXPORTER_OTLP_ENDPOINT=": "tests/outage/server/test_command.py",
    "1 passed": "tests/repo/test_documentation.py",
}
#: The page whose commands are run here, with what they print.
MADE = "docs/report.md"
#: Drawings, by how they begin, which no program prints.
DRAWN = {
    "app code ─▶": "the parts of the package and what goes from one to another",
    "tail sampler →": "the way of a span",
    "gateway, orders, worker ─▶": "the parts of the example",
    "POST /checkout ": "the trace of the example, whose tests assert it",
    "answer    ": "the trace of the example, whose tests assert it",
}
#: Commands of others, which the pages call as their own documentation does.
FOREIGN = {"jq", "uvicorn", "gunicorn", "celery", "cd"}


def is_of(entry: tuple[str, str, str], block: Block) -> bool:
    place, languages, words = entry
    return block.name.startswith(place) and block.language in languages.split() and words in block.text


def run_by(block: Block) -> str | None:
    return next((test for entry, test in RUN_BY.items() if is_of(entry, block)), None)


def of(*languages: str) -> Any:
    found = [block for block in ALL if block.language in languages and run_by(block) is None]
    return pytest.mark.parametrize("block", found, ids=str)


def checked_by(block: Block) -> str | None:
    """The test that fails when a block is wrong."""
    from tests.repo.test_documentation import RUN

    if found := run_by(block):
        return found
    if block.language == "python":
        if block.file and block.page in RUN:
            return "tests/repo/test_documentation.py"
        return "here" if any(snippet.is_for(block) for snippet in SNIPPETS) else None
    if block.language == "":
        return "a drawing" if any(block.text.startswith(start) for start in DRAWN) else None
    if block.language == "text" or (block.language == "console" and block.output and block.name != MADE):
        return next((test for words, test in PRINTED.items() if words in block.text), None)
    return "here" if block.language in {"bash", "console", "ini", "json", "toml", "yaml"} else None


def test_each_block_is_checked():
    assert [str(block) for block in ALL if checked_by(block) is None] == []


def test_no_entry_is_left_over():
    printed = "".join(block.text for block in ALL if block.language in {"text", "console"})
    assert [words for words in PRINTED if words not in printed] == []
    assert [start for start in DRAWN if not any(block.text.startswith(start) for block in ALL)] == []
    assert [entry for entry in RUN_BY if not any(is_of(entry, block) for block in ALL)] == []
    assert [it for it in SNIPPETS if sum(it.is_for(block) for block in ALL) != 1] == []
    commands = [command for block in ALL if block.language in {"bash", "console"} for command in block.commands]
    assert {command.split()[0] for command in commands} >= FOREIGN


@pytest.mark.parametrize("words", PRINTED)
def test_what_is_printed_is_compared_by_the_test(words: str):
    assert words.strip() in (ROOT / PRINTED[words]).read_text().replace('"\n        "', "").replace("*", "")


@pytest.mark.parametrize("test", sorted(set(RUN_BY.values())))
def test_the_tests_that_run_pages_are_there(test: str):
    assert (ROOT / test).is_file()


# -- commands ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(DOCS)
        import reference_pages

        yield reference_pages


def check(command: str, reference: ModuleType) -> None:
    """Fail if a command would not be understood."""
    words = shlex.split(re.split(r" > | \|\| | && ", command)[0], comments=True)
    if "--" in words[1:]:
        words = words[: words.index("--")]
    program = " ".join(words[:3]) if words[:2] == ["python", "-m"] else words[0]
    arguments = words[program.count(" ") + 1 :]
    if program == "make":
        assert set(arguments) <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    elif program == "pip":
        known = set(metadata("pytest-langfuse").get_all("Provides-Extra") or ())
        ours = [word for word in arguments if word.startswith("pytest-langfuse")]
        assert {extra for word in ours for extra in re.findall(r"[a-z]+", word.partition("[")[2])} <= known
    elif program == "export":
        names = [word.partition("=")[0] for word in arguments]
        settings = {variable for setting in SETTINGS.values() for variable in setting.langfuse}
        assert [name for name in names if name.startswith("LANGFUSE_") and name not in settings] == []
    elif program == "pytest":
        declared = reference.declared().options
        given = dict(word.partition("=")[::2] for word in arguments if word.startswith("--langfuse"))
        assert set(given) <= set(declared)
        faults = set(given.get("--langfuse-outage", "").split(",")) - {"", "all"}
        assert faults <= set(FAULTS)
    elif program in reference.COMMANDS:
        reference.parser_of(program).parse_args(arguments)
    else:
        assert program in FOREIGN


@of("bash", "console")
def test_commands_are_understood(block: Block, reference: ModuleType):
    for command in block.commands:
        check(command, reference)


@pytest.mark.parametrize(
    "command",
    [
        "make nothing",
        "pip install 'pytest-langfuse[nothing]'",
        "export LANGFUSE_NOTHING=1",
        "pytest --langfuse-nothing",
        "pytest --langfuse-outage=nothing",
        "python -m pytest_langfuse.report --nothing run.jsonl -o report.html",
        "python -m pytest_langfuse.nothing",
        "pytest-langfuse-forward --nothing",
        "nothing",
    ],
)
def test_a_command_that_is_wrong_is_found(command: str, reference: ModuleType):
    with pytest.raises((AssertionError, BadOption, SystemExit)):
        check(command, reference)


@pytest.mark.parametrize("block", [it for it in ALL if it.name == MADE and it.language == "console"], ids=str)
def test_pages_are_made_as_the_page_says(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in shop_run()))
    (tmp_path / "incident.json").write_bytes((ROOT / "tests/golden/nested.otlp.bin").read_bytes())
    for command in block.commands:
        if command.startswith("python "):
            assert make_page(shlex.split(command)[3:]) == 0
    assert capsys.readouterr().out.splitlines() == block.output
    assert all((tmp_path / name).stat().st_size > 10_000 for name in block.output)


# -- settings and data -------------------------------------------------------------------------------------------------


@of("ini", "toml")
def test_ini_settings_are_read(block: Block, pytester: pytest.Pytester):
    text = block.text
    if block.language == "toml":
        assert list(tomllib.loads(text)["tool"]["pytest"]["ini_options"])
        pytester.makepyprojecttoml(text)
    else:
        pytester.makeini(text if "[pytest]\n" in text else f"[pytest]\n{text}")
    result = pytester.runpytest_inprocess("--collect-only", "-q", "-p", "no:randomly")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED, result.outlines


@of("yaml")
def test_yaml_can_be_read_and_runs_what_is_there(block: Block, reference: ModuleType):
    def commands(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in {"run", "script", "before_script"}:
                    yield from [value] if isinstance(value, str) else value
                else:
                    yield from commands(value)
        elif isinstance(node, list):
            for child in node:
                yield from commands(child)

    found = [line for text in commands(yaml.safe_load(block.text)) for line in text.splitlines()]
    assert found
    for command in found:
        check(command, reference)


@of("json")
def test_json_is_what_is_written(block: Block):
    value = json.loads(block.text)
    if isinstance(value, dict):
        schema = json.loads((ROOT / "pytest_langfuse/report/lines.schema.json").read_text())
        jsonschema.validate(value, schema)
    else:
        # A line of a baseline: code, file, observations, how often.
        assert re.fullmatch(r"LF\d{3}", value[0])
        assert [type(one) for one in value] == [str, str, str, str, int]


# -- Python ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_snippets_do_what_the_page_says():
    """One process imports what they need, and forks."""
    snippets = {
        str(snippet): next(it.text for it in ALL if snippet.is_for(it)) + "\n" + snippet.then for snippet in SNIPPETS
    }
    command = [sys.executable, str(ROOT / "tests/helpers/page_snippets.py")]
    done = subprocess.run(
        command, input=json.dumps(snippets), capture_output=True, text=True, check=False, cwd=ROOT, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, str] = json.loads(done.stdout)
    assert set(outcomes) == set(snippets)
    assert [f"{name}\n{said}" for name, said in outcomes.items() if said] == []
