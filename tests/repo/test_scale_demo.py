"""The example with a queue between the applications and Langfuse."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import ROOT

# Slow: starts a broker, a forwarder, a stand-in and the three processes of the shop.
pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples" / "scale"


def told(text: str) -> list[str]:
    """Return the lines of the demonstration without what differs from run to run."""
    differs = r"\d+\.\d+ s|\(\w+Error\)|\d+ messages"
    return [re.sub(differs, "…", line.strip()) for line in text.splitlines()]


@pytest.mark.long
def test_nothing_is_lost_over_an_outage():
    command = [sys.executable, str(FOLDER / "demo.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)

    assert done.returncode == 0, done.stdout + done.stderr
    # The page shows a real run.
    shown = (FOLDER / "README.md").read_text().split("```text\n")[1].split("```")[0]
    assert told(done.stdout) == told(shown)
