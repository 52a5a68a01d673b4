"""The application that does not survive an outage, and the report that says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

# Slow: runs an example's own suite.
pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples" / "naive_bot"


def run(cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-o", f"cache_dir={cache}", *arguments]
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)


def test_green_while_langfuse_is_well_and_red_when_it_is_not(tmp_path: Path):
    healthy = run(tmp_path, "--langfuse-capture")
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr

    degraded = run(tmp_path, "--langfuse-outage=hang,http_503", "--tb=line")
    assert degraded.returncode == pytest.ExitCode.TESTS_FAILED, degraded.stdout + degraded.stderr
    pytest.LineMatcher(degraded.stdout.splitlines()).fnmatch_lines(
        [
            "hang: 2 of 3 tests degraded, * lost",
            "  tests/test_service.py::test_answers: passed -> failed",
            "    blocked * in answer, calling Langfuse.get_prompt",
            "  tests/test_service.py::test_takes_feedback: * s -> * s",
            "    blocked * in feedback, calling Langfuse.flush",
            "http_503: * of 3 tests degraded, * lost",
            "  tests/test_service.py::test_answers: passed -> failed",
        ]
    )
    assert "test_is_up: " not in degraded.stdout
