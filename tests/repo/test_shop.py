"""The example of several processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import ROOT

# Slow: runs an example's own suite.
pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples" / "shop"


def run(cache: Path, *files: str) -> str:
    """Run some of its tests, which pass, and return the last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-ra", "-o", f"cache_dir={cache}", *files]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.long
def test_its_tests_pass(tmp_path: Path):
    # One may be skipped, for lack of Node.
    last = run(tmp_path, "tests/test_shop.py", "tests/test_recommendations.py")
    assert re.match(r"2 passed|1 passed, 1 skipped", last)


# What these show of the shop, other tests show of smaller applications.
@pytest.mark.exhaustive
def test_the_tests_of_mistakes_pass(tmp_path: Path):
    assert run(tmp_path, "tests/test_without.py").startswith("5 passed")


def test_these_are_all():
    assert {path.name for path in FOLDER.glob("tests/test_*.py")} == {
        "test_recommendations.py",
        "test_shop.py",
        "test_without.py",
    }


def test_the_packages_of_node_come_from_whatever_registry_npm_is_configured_with():
    lock = json.loads((FOLDER / "recommendations" / "package-lock.json").read_text())
    assert len(lock["packages"]) > 10
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
