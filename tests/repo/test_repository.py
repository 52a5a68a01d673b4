"""The Makefile, CI and what may stand in committed files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import ROOT
from tests.helpers.tiers import only

#: Commands that other people's scripts rely on.
TARGETS = {"demo", "demo-scale", "test", "quick", "lint", "matrix", "soak", "soak-scale", "bench", "site"}

#: Split, so that this file does not find itself.
FORBIDDEN = {
    "a host of a package registry": ("pypi" + ".org", "python" + "hosted", "npmjs" + "."),
    "a path of somebody's machine": ("/" + "root/", "/" + "home/", "/" + "work/", "/" + "Users/"),
    "a note of how the work was organised": ("DESIGN" + ".md", "STYLE" + ".md", "../" + "shared"),
}


def committed() -> list[Path]:
    """Files under version control, and those about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True, timeout=LIMIT)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository")
    files = [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert ROOT / "README.md" in files
    return files


def make(*arguments: str) -> str:
    """Run make; returns what it prints."""
    # A make above this one (`make test`) must not hand its own flags down.
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    done = subprocess.run(
        ["make", *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_lists_its_targets():
    listed = set(re.findall(r"^  make ([a-z-]+)", make(), flags=re.MULTILINE))
    assert listed >= TARGETS
    assert listed == set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_each_target_sets_itself_up(target: str, tmp_path: Path):
    recipe = make("--dry-run", target, f"VENV={tmp_path / 'venv'}")
    assert recipe.startswith(".ci/setup"), recipe


def test_lint_is_all_of_it():
    recipe = make("--dry-run", "lint")
    assert all(command in recipe for command in ("ruff check", "ruff format --check", "mypy"))
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert settings["mypy"]["strict"] is True
    assert settings["ruff"]["lint"]["select"] == ["ALL"]


def test_each_ignored_rule_has_a_reason():
    """A code on a line of its own has its reason there; a list on one line has it there, or on the line above."""
    above, codes = "", 0
    section = (ROOT / "pyproject.toml").read_text().partition("[tool.ruff.lint]")[2].partition("pydocstyle")[0]
    for line in section.splitlines():
        if re.search(r'"[A-Z]+\d+"', line) and not line.startswith("select"):
            codes += 1
            assert re.search(r"# \S", line) or above.startswith("# "), line
        above = line
    assert codes > 20


def test_ci_runs_lint_and_test_and_the_newest_python():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.findall(r"^make (\w+)", script.read_text(), flags=re.MULTILINE) == ["lint", "matrix", "test"]


@pytest.mark.parametrize("script", ["run", "setup"])
def test_shell_scripts_parse(script: str):
    assert subprocess.run(["bash", "-n", f".ci/{script}"], cwd=ROOT, check=False, timeout=LIMIT).returncode == 0


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_committed_file_holds(what: str):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {word}"
        for path in committed()
        if path.name != "uv.lock"
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1)
        for word in FORBIDDEN[what]
        if word in line
    ]
    assert not found, "\n".join(found)


def test_the_version_is_in_the_changelog():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "benchmarks").glob("*.py")))
def test_benchmarks_explain_themselves(script: str):
    if script == "measure.py":
        pytest.skip("no script")
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0
    assert "--help" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "suite",
    only(["asserted", "capfire"], ["captured", "read", "asserted", "client_per_test", "capfire", "testbase"]),
)
def test_suites_of_the_benchmark_pass(suite: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import per_test

    [way] = [way for way in per_test.WAYS if way.suite == suite]
    found = per_test.run(way, tests=2)
    assert found["tests"] == 2
    assert found["exit_status"] == 0


@pytest.mark.slow
@pytest.mark.long
def test_the_example_application():
    command = [sys.executable, "-m", "pytest", "--langfuse-capture", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=ROOT / "examples" / "support_bot", capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert re.search(r"langfuse: \d+ observations in \d+ tests\n", done.stdout)
