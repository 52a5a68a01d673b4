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


def test_its_tests_pass(tmp_path: Path):
    command = [sys.executable, "-m", "pytest", "-q", "-ra", "-o", f"cache_dir={tmp_path}"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    # One may be skipped, for lack of Node.
    assert re.search(r"^(7 passed|6 passed, 1 skipped) in ", done.stdout, flags=re.MULTILINE), done.stdout


def test_the_packages_of_node_come_from_whatever_registry_npm_is_configured_with():
    lock = json.loads((FOLDER / "recommendations" / "package-lock.json").read_text())
    assert len(lock["packages"]) > 10
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
