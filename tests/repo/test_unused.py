"""A plugin that is installed and not used costs nothing: no import of what is heavy."""

from __future__ import annotations

import json
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from tests.repo.conftest import CleanEnvironment

# Slow: builds the wheel.
pytestmark = pytest.mark.slow

HEAVY = ["langfuse", "opentelemetry", "httpx", "respx", "freezegun", "pydantic", "google.protobuf"]
if sys.version_info < (3, 14):
    # Since then pdb imports it, and pytest imports pdb.
    HEAVY.append("asyncio")
RUN = f"""
import json, sys
import pytest

found = []
for arguments in json.loads(sys.argv[1]):
    # anyio's plugin comes with httpx, not with ours.
    status = pytest.main(["-p", "no:anyio", "-p", "no:cacheprovider", *arguments])
    found.append({{"status": int(status), "heavy": [name for name in {HEAVY!r} if name in sys.modules]}})
json.dump(found, open("found", "w"))
"""


def test_there_is_one_entry_point():
    [found] = [point for point in entry_points(group="pytest11") if point.value.startswith("pytest_langfuse")]
    assert (found.name, found.value) == ("langfuse", "pytest_langfuse.entry_point")


def runs(environment: CleanEnvironment, folder: Path, *arguments: list[str], script: str = RUN) -> list[dict[str, Any]]:
    """Run pytest several times in one process; return the status and the heavy modules after each."""
    done = environment.python("-c", script, json.dumps(arguments), cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(folder.joinpath("found").read_text())
    assert {run["status"] for run in found} <= {0, 1}, done.stdout + done.stderr
    return found


def test_a_run_that_uses_nothing_imports_nothing(clean_environment, tmp_path: Path):
    tmp_path.joinpath("test_it.py").write_text("def test_it(tmp_path, monkeypatch): pass\n")
    arguments = [[], ["--collect-only"], ["--help"], ["--fixtures"], ["--markers"], ["-x", "-v"]]
    assert runs(clean_environment, tmp_path, *arguments) == [{"status": 0, "heavy": []}] * len(arguments)


def test_this_check_can_fail(clean_environment, tmp_path: Path):
    tmp_path.joinpath("test_it.py").write_text("def test_it(langfuse_spans): pass\n")
    [found] = runs(clean_environment, tmp_path, [])
    assert found["status"] == 0
    assert {"langfuse", "opentelemetry"} <= set(found["heavy"])


def test_without_the_plugin(clean_environment, tmp_path: Path):
    tmp_path.joinpath("test_it.py").write_text("def test_it(): pass\n")
    assert clean_environment.pytest("-q", "-p", "no:langfuse", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(("body", "imported"), [("pass", False), ("assert False", True)], ids=["passes", "fails"])
def test_only_a_failing_test_has_its_trace_rendered(clean_environment, tmp_path: Path, body: str, imported: bool):
    name = "pytest_langfuse.report.trace_section"
    tmp_path.joinpath("test_it.py").write_text(f"def test_it(): {body}\n")
    run = RUN.replace(repr(HEAVY), repr([name]))
    [found] = runs(clean_environment, tmp_path, ["--langfuse-capture"], script=run)
    assert found["heavy"] == [name] * imported
