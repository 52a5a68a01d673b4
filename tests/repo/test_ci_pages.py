"""docs/recipes/github-actions.md and gitlab-ci.md: their YAML is valid, and its commands do what the pages say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.limited_runs import LIMIT
from tests.helpers.page_blocks import blocks_of
from tests.helpers.paths import DOCS
from tests.helpers.recipe_page import RecipePage

GITHUB = RecipePage(DOCS / "recipes" / "github-actions.md")
GITLAB = RecipePage(DOCS / "recipes" / "gitlab-ci.md")
#: The `if` of GitHub's steps that hold, by event.
CONDITIONS = {
    "push": {"github.ref == 'refs/heads/main'", "always()", None},
    "pull_request": {"github.event_name == 'pull_request'", "always()", None},
}
#: The files with the pipelines of shards.
GITHUB_SHARDS, GITLAB_SHARDS = ".github/workflows/shards.yaml", ".gitlab/shards.yml"
#: In the place of the artifacts of GitLab's last pipeline: fails as `curl --fail` does if there are none.
CURL = """#!/bin/bash
if [[ "$*" == *"--output main.zip"* ]]; then
    [ -d "$ARTIFACTS" ] && cd "$ARTIFACTS" && python -m zipfile -c "$OLDPWD/main.zip" run-*.jsonl report.html
else
    [ -f "$ARTIFACTS/run.jsonl" ] && cp "$ARTIFACTS/run.jsonl" main.jsonl
fi
"""
#: In the place of pytest-split.
CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--splits", type=int)
    parser.addoption("--group", type=int)


def pytest_collection_modifyitems(config, items):
    splits, group = config.getoption("splits"), config.getoption("group")
    if splits is not None:
        items[:] = sorted(items, key=lambda item: item.nodeid)[group - 1 :: splits]
"""
MORE = "from bot import answer\n\n\ndef test_more():\n    assert answer('And then?')\n"


def pipeline(page: RecipePage, name: str = "") -> Any:
    """Return the YAML of a page, its first one if no file is named, read as YAML 1.2: `on` is a name there."""
    yaml = pytest.importorskip("ruamel.yaml", reason="check-jsonschema, which brings ruamel.yaml, is not installed")
    first, *_ = [text for file, text in page.files.items() if file.endswith((".yaml", ".yml"))]
    return yaml.YAML(typ="safe").load(page.files[name] if name else first)


@pytest.mark.parametrize(
    ("page", "schema", "name"),
    [
        (GITHUB, "github-workflows", ""),
        (GITHUB, "github-workflows", GITHUB_SHARDS),
        (GITLAB, "gitlab-ci", ""),
        (GITLAB, "gitlab-ci", GITLAB_SHARDS),
    ],
    ids=["github", "github-shards", "gitlab", "gitlab-shards"],
)
def test_the_pipeline_is_valid(page: RecipePage, schema: str, name: str):
    jsonschema = pytest.importorskip("jsonschema")
    found = files(pytest.importorskip("check_jsonschema")) / "builtin_schemas" / "vendor" / f"{schema}.json"
    jsonschema.Draft7Validator(json.loads(found.read_text())).validate(pipeline(page, name))


def github(job: str, event: str, name: str = "", **expressions: str) -> str:
    """Return the commands of a job of the recipe, as GitHub runs them, with values in place of expressions."""
    commands = commands_of(pipeline(GITHUB, name)["jobs"][job]["steps"], event)
    for expression, value in expressions.items():
        commands = commands.replace(f"${{{{ {expression.replace('__', '.')} }}}}", value)
    return commands


def commands_of(steps: list[dict[str, Any]], event: str) -> str:
    """Return the commands of steps as GitHub runs them: each step in its shell, without what installs."""
    unknown = {step.get("if") for step in steps}.difference(*CONDITIONS.values())
    assert not unknown, f"unknown conditions: {unknown}"
    commands = [step["run"] for step in steps if "run" in step and step.get("if") in CONDITIONS[event]]
    return "\n".join(f"bash -e <<'STEP' || status=$?\n{command}\nSTEP" for command in commands) + "\nexit ${status:-0}"


def gitlab(job: str, name: str = "") -> str:
    """Return the commands of a job as GitLab runs them: in one shell."""
    return "set -eo pipefail\n" + "\n".join(pipeline(GITLAB, name)[job]["script"])


class Checkout:
    """A folder with the files of a page, and what its jobs leave there."""

    def __init__(self, page: RecipePage, folder: Path) -> None:
        self.folder = folder
        self.artifacts = folder / "artifacts"
        self.write(page.files)
        commands = folder / "bin"
        for name, text in (("pip", "#!/bin/bash\n"), ("curl", CURL)):
            commands.mkdir(exist_ok=True)
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        self.path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])

    def write(self, texts: dict[str, str]) -> None:
        for name, text in texts.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)

    def run(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        variables = {
            **more,
            "ARTIFACTS": str(self.artifacts),
            "COLUMNS": "100",
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "NO_COLOR": "1",
            "PATH": self.path,
        }
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    @property
    def left(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if path.suffix in (".html", ".jsonl", ".xml")}


@pytest.mark.slow
def test_github_compares_a_pull_request_with_main(tmp_path: Path):
    checkout = Checkout(GITHUB, tmp_path)
    main = checkout.run(github("tests", "push"))
    assert main.returncode == 0, main.stdout + main.stderr
    assert checkout.left == {"main.jsonl", "report.html", "junit.xml"}
    assert "## Langfuse traces: 1 test" in (tmp_path / "summary.md").read_text()

    [mistake] = GITHUB.mistakes
    checkout.write(mistake.applied(GITHUB.files))
    request = checkout.run(github("tests", "pull_request"))
    assert request.returncode == 1, request.stdout + request.stderr
    assert mistake.differences(request.stdout) is None
    assert "### Compared with" in (tmp_path / "summary.md").read_text()
    assert checkout.left == {"main.jsonl", "run.jsonl", "report.html", "junit.xml"}


def steps_in_short() -> list[dict[str, Any]]:
    """Return the steps that the page on reports shows."""
    [block] = [it for it in blocks_of(DOCS / "reports.md") if it.language == "yaml"]
    yaml = pytest.importorskip("ruamel.yaml", reason="check-jsonschema, which brings ruamel.yaml, is not installed")
    steps: list[dict[str, Any]] = yaml.YAML(typ="safe").load(block.text)
    return steps


@pytest.mark.slow
def test_the_steps_in_short_pass_in_the_first_pull_request_and_compare_in_the_next(tmp_path: Path):
    steps = steps_in_short()
    checkout = Checkout(GITHUB, tmp_path)
    first = checkout.run(commands_of(steps, "pull_request"))
    assert first.returncode == 0, first.stdout + first.stderr
    assert checkout.run(commands_of(steps, "push")).returncode == 0
    assert checkout.left == {"main.jsonl"}

    [mistake] = GITHUB.mistakes
    checkout.write(mistake.applied(GITHUB.files))
    request = checkout.run(commands_of(steps, "pull_request"))
    assert request.returncode == 1, request.stdout + request.stderr
    assert "too much: test_bot.py::test_answer: tokens 100 -> 300 (+200%), 10% allowed\n" in request.stdout


def test_the_steps_in_short_are_those_of_the_recipe():
    """All but those with commands, which have fewer options there."""
    of_recipe = pipeline(GITHUB)["jobs"]["tests"]["steps"]
    known = [{key: value for key, value in step.items() if key != "name"} for step in of_recipe]
    steps = steps_in_short()
    caches = [step for step in steps if "uses" in step]
    assert len(caches) == 2
    assert [step for step in caches if step not in known] == []
    # What a pull request restores is what main has saved, under a key that begins alike.
    restored, saved = (step["with"] for step in caches)
    assert restored["path"] == saved["path"]
    assert saved["key"].startswith(restored["restore-keys"])


@pytest.mark.slow
@pytest.mark.exhaustive
def test_gitlab_compares_a_merge_request_with_main(tmp_path: Path):
    checkout = Checkout(GITLAB, tmp_path)
    main = checkout.run(gitlab("tests"))
    assert main.returncode == 0, main.stdout + main.stderr
    artifacts = pipeline(GITLAB)["tests"]["artifacts"]
    assert checkout.left == {*artifacts["paths"], artifacts["reports"]["junit"]}
    assert "langfuse_tokens" in (tmp_path / "junit.xml").read_text()

    [mistake] = GITLAB.mistakes
    checkout.write(mistake.applied(GITLAB.files))
    checkout.artifacts.mkdir()
    (tmp_path / "run.jsonl").rename(checkout.artifacts / "run.jsonl")
    request = checkout.run(gitlab("tests"))
    assert request.returncode == 1, request.stdout + request.stderr
    assert mistake.differences(request.stdout) is None


TOO_MUCH = "too much: test_bot.py::test_answer: tokens 100 -> 300 (+200%), 10% allowed"


@pytest.mark.slow
def test_github_compares_shards_with_those_of_main(tmp_path: Path):
    checkout = Checkout(GITHUB, tmp_path)
    checkout.write({"conftest.py": CONFTEST, "test_more.py": MORE})

    def pipeline_of(event: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "runs").mkdir()
        for shard, attempt in (("1", "1"), ("2", "1"), ("1", "2")):
            values = {"matrix__shard": shard, "github__run_attempt": attempt}
            done = checkout.run(github("tests", event, GITHUB_SHARDS, **values))
            assert done.returncode == 0, done.stdout + done.stderr
            [file] = tmp_path.glob("run-*.jsonl")
            file.rename(tmp_path / "runs" / file.name)
        (tmp_path / "summary.md").unlink()
        return checkout.run(github("report", event, GITHUB_SHARDS))

    first = pipeline_of("pull_request")
    assert (first.returncode, first.stdout) == (0, "report.html\n"), first.stderr
    assert "1 test ran in several runs, and the run that began last counts: test_bot.py::test_answer" in first.stderr
    shutil.rmtree(tmp_path / "runs")
    assert pipeline_of("push").returncode == 0
    assert {path.name for path in (tmp_path / "main").iterdir()} == {"run-1-1.jsonl", "run-1-2.jsonl", "run-2-1.jsonl"}

    [mistake] = GITHUB.mistakes
    checkout.write(mistake.applied(GITHUB.files))
    request = pipeline_of("pull_request")
    assert request.returncode == 3, request.stdout + request.stderr
    assert "2 of 2 tests changed" in request.stdout
    assert f"{TOO_MUCH}\n" in request.stdout
    summary = (tmp_path / "summary.md").read_text()
    assert summary.count("### Compared with <code>main&#47;run&#45;1&#45;1&#46;jsonl and 2 more files</code>") == 1
    assert (tmp_path / "report.html").exists()


@pytest.mark.slow
@pytest.mark.exhaustive
def test_gitlab_compares_shards_with_those_of_main(tmp_path: Path):
    checkout = Checkout(GITLAB, tmp_path)
    checkout.write({"conftest.py": CONFTEST, "test_more.py": MORE})

    def pipeline_of() -> subprocess.CompletedProcess[str]:
        for shard in ("1", "2"):
            done = checkout.run(gitlab("tests", GITLAB_SHARDS), CI_NODE_TOTAL="2", CI_NODE_INDEX=shard)
            assert done.returncode == 0, done.stdout + done.stderr
        return checkout.run(gitlab("traces", GITLAB_SHARDS))

    first = pipeline_of()
    assert (first.returncode, first.stdout) == (0, "report.html\n"), first.stderr
    checkout.artifacts.mkdir()
    for name in ("run-1.jsonl", "run-2.jsonl", "report.html"):
        (tmp_path / name).rename(checkout.artifacts / name)
    [mistake] = GITLAB.mistakes
    checkout.write(mistake.applied(GITLAB.files))
    request = pipeline_of()
    assert request.returncode == 3, request.stdout + request.stderr
    assert f"{TOO_MUCH}\n" in request.stdout
    assert (tmp_path / "report.html").exists()


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("page", "script"),
    [(GITHUB, lambda: github("outage", "push")), (GITLAB, lambda: gitlab("outage"))],
    ids=["github", "gitlab"],
)
def test_the_suite_runs_while_langfuse_fails(page: RecipePage, script: Any, tmp_path: Path):
    checkout = Checkout(page, tmp_path)
    outage = checkout.run(script())
    assert outage.returncode == 0, outage.stdout + outage.stderr
    assert "hang: none of 1 test degraded" in outage.stdout
    assert checkout.left == {"outage.html"}
