"""How long a suite of outage tests takes: 210 of them, each with an observation that is made and flushed.

All faults but `hang` and `drip`, in which a test lasts as long as a client waits; the plain SDK with its timeout of 1 s
in outage tests, whose retries are a part of the time (a fetched prompt would add 3 s to each answer of 5xx: those are
the SDK's own pauses, see docs/faults.md). Two processes of pytest-xdist.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from measure import Table, progress, spread, surroundings

SUITE = Path(__file__).parent / "suites" / "outages.py"
#: Seconds on two cores.
LIMIT = 30.0
PROCESSES = 2


def run(*arguments: str) -> tuple[float, int]:
    """Run the suite; its seconds, and how many tests have passed."""
    command = [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    command += ["-c", os.devnull, "--rootdir", str(SUITE.parent), str(SUITE)]
    started = time.perf_counter()
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - started
    passed = re.search(r"(\d+) passed", done.stdout)
    if done.returncode or passed is None:
        sys.exit(f"pytest failed\n{done.stdout}")
    return seconds, int(passed[1])


def measure(runs: int) -> Table:
    """Run it so often."""
    seconds, tests = [], 0
    for number in range(runs):
        progress(f"run {number + 1} of {runs}")
        took, tests = run("-n", str(PROCESSES))
        seconds.append(took)
    table = Table(
        "A suite of outage tests",
        f"{tests} tests under all faults but hang and drip, `pytest -n {PROCESSES}`, medians of {runs} runs [min-max]. "
        f"{surroundings()}",
        ("", "tests", "s", "ms a test"),
    )
    table.rows.append(
        ("whole process", str(tests), spread(seconds, 1), spread([took / tests * 1000 for took in seconds], 0))
    )
    table.require("seconds for 200 outage tests", max(seconds) / tests * 200, LIMIT, 1)
    return table


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="default: 3")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown, too")
    options = parser.parse_args()
    return measure(options.runs).finish(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
