"""The pages that docs/faults.py writes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pytest_langfuse.outage.fault_options import FaultOptions
from pytest_langfuse.outage.faults import FAULTS
from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import DOCS

# Slow: runs the SDK under faults.
pytestmark = pytest.mark.slow


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    import faults

    return faults


def rows(page: Path, section: str) -> list[list[str]]:
    """The rows of the table below a heading, without its head."""
    text = page.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_catalogue_is_that_of_the_plugin():
    assert [row[0].strip("`") for row in rows(DOCS / "outages.md", "The faults")] == list(FAULTS)


def test_every_option_is_in_the_table():
    named = set(re.findall(r"`(\w+)=", " ".join(row[0] for row in rows(DOCS / "outages.md", "Options"))))
    assert named == set(FaultOptions.__dataclass_fields__)


def test_every_fault_was_measured(faults: ModuleType):
    for operation in faults.OPERATIONS.values():
        table = rows(DOCS / "faults.md", operation.title)
        assert [row[0].strip("`") for row in table] == list(FAULTS), operation.title
        for row in table:
            # For each timeout: what was seen, the requests and, where something is sent, what was kept.
            assert len(row) == 1 + len(faults.TIMEOUTS) * (3 if operation.kept else 2), row
            assert all(row), row
            assert "?" not in "".join(row), row


def test_one_fault_measured_anew(faults: ModuleType):
    cells = [faults.Cell("spans", "redirect", 1), faults.Cell("prompt", "http_401", 1)]
    command = [sys.executable, str(DOCS / "faults.py"), "--only", "redirect", "--only", "http_401", "--jobs", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{re.escape(str(cells[0]))}.*nothing logged', requests=2, kept='0 of 10'", done.stderr)
    assert re.search(rf"{re.escape(str(cells[1]))}.*UnauthorizedError", done.stderr)
