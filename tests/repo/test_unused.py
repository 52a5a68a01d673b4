"""A plugin that is installed and not used costs nothing: no import of what is heavy."""

from __future__ import annotations

import json
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# Slow: builds the wheel.
pytestmark = pytest.mark.slow

HEAVY = ["langfuse", "opentelemetry", "httpx", "respx", "freezegun", "pydantic", "google.protobuf"]
if sys.version_info < (3, 14):
    # Since then pdb imports it, and pytest imports pdb.
    HEAVY.append("asyncio")
RUN = f"""
import json, sys
import pytest

status = pytest.main(sys.argv[1:])
json.dump({{"status": int(status), "heavy": [name for name in {HEAVY!r} if name in sys.modules]}}, open("found", "w"))
"""


def test_there_is_one_entry_point():
    [found] = [point for point in entry_points(group="pytest11") if point.value.startswith("pytest_langfuse")]
    assert (found.name, found.value) == ("langfuse", "pytest_langfuse.entry_point")


@pytest.mark.parametrize(
    "arguments",
    [[], ["--collect-only"], ["--help"], ["--fixtures"], ["--markers"], ["-x", "-v"]],
    ids=lambda arguments: " ".join(arguments) or "plain",
)
def test_a_run_that_uses_nothing_imports_nothing(clean_environment, tmp_path: Path, arguments: list[str]):
    tmp_path.joinpath("test_it.py").write_text("def test_it(tmp_path, monkeypatch): pass\n")
    # anyio's plugin comes with httpx, not with ours.
    done = clean_environment.python("-c", RUN, "-p", "no:anyio", *arguments, cwd=tmp_path)
    found = json.loads(tmp_path.joinpath("found").read_text())
    assert found == {"status": 0, "heavy": []}, done.stdout + done.stderr


def test_this_check_can_fail(clean_environment, tmp_path: Path):
    tmp_path.joinpath("test_it.py").write_text("def test_it(langfuse_spans): pass\n")
    clean_environment.python("-c", RUN, "-p", "no:anyio", cwd=tmp_path)
    found = json.loads(tmp_path.joinpath("found").read_text())
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
    clean_environment.python("-c", run, "-p", "no:anyio", "--langfuse-capture", cwd=tmp_path)
    assert json.loads(tmp_path.joinpath("found").read_text())["heavy"] == [name] * imported
