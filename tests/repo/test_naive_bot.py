"""The application that does not survive an outage, and the report that says so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import ROOT

# Slow: runs an example's own suite.
pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples" / "naive_bot"


def run(cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-o", f"cache_dir={cache}", *arguments]
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=LIMIT)


def under_hang(text: str) -> list[str]:
    """Return what the report says of the first fault, with the same seconds wherever it was printed."""
    lines = text[text.index("hang: ") : text.index("http_503: ")].splitlines()
    return [re.sub(r"\d+\.\d+ s", "0.0 s", line) for line in lines]


@pytest.mark.long
def test_green_while_langfuse_is_well_and_red_when_it_is_not(tmp_path: Path):
    healthy = run(tmp_path, "--langfuse-capture")
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    assert "3 passed" in healthy.stdout

    degraded = run(tmp_path, "--langfuse-outage=hang,http_503", "--tb=line")
    printed = degraded.stdout
    assert degraded.returncode == pytest.ExitCode.TESTS_FAILED, printed + degraded.stderr
    assert "2 failed, 4 passed" in printed
    pytest.LineMatcher(printed.splitlines()).fnmatch_lines(
        [
            "hang: 2 of 3 tests degraded, * lost",
            "  tests/test_service.py::test_answers: passed -> failed",
            "    blocked * in answer, calling Langfuse.get_prompt",
            "  tests/test_service.py::test_takes_feedback: * s -> * s, waited up to * s without the time limit *",
            "    blocked * in feedback, calling Langfuse.flush",
            "http_503: * of 3 tests degraded, * lost",
            "  tests/test_service.py::test_answers: passed -> failed",
        ]
    )
    assert "test_is_up: " not in printed

    # The report on the pages is a real one. Of http_503, whose retries pause for a random time, only the last line is
    # compared.
    last = r"langfuse: \d of 6 tests degraded by an outage: hang 2, http_503 \d \(exit status 1\)"
    for page in (FOLDER / "README.md", ROOT / "docs" / "outages.md"):
        block = next(block for block in page.read_text().split("```") if "= Langfuse degradation =" in block)
        assert under_hang(block) == under_hang(printed[printed.index("= Langfuse degradation =") :])
        for text in (block, printed):
            assert re.fullmatch(last, text.splitlines()[-1])
