"""Measure how long a suite of 210 outage tests takes. Each makes an observation and flushes it.

All faults but `hang` and `drip`, in which a test lasts as long as a client waits. Nearly all of the time is the plain
SDK's: its exporter waits about a second before it tries again, within its timeout of 1 s in outage tests (a prompt that
is fetched would add 3 s to each answer of 5xx, see docs/faults.md). So more processes than cores are worth while.
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
#: Seconds for 200 tests on two cores.
LIMIT = 30.0
#: Of pytest-xdist; the first is held against the limit.
PROCESSES = (2, 4)


def run(processes: int) -> tuple[float, int]:
    """Run the suite and return its seconds and the number of tests that passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(processes)]
    command += ["--dist", "worksteal", "-c", os.devnull, "--rootdir", str(SUITE.parent), str(SUITE)]
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin,pytest_langfuse.plugin"}
    started = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **plugins}, check=False, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - started
    passed = re.search(r"(\d+) passed", done.stdout)
    if done.returncode or passed is None:
        sys.exit(f"pytest failed\n{done.stdout}")
    return seconds, int(passed[1])


def measure(runs: int) -> Table:
    """Run the suite `runs` times with each number of processes, in turn."""
    seconds: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
    tests = 0
    for number in range(runs):
        for processes in PROCESSES:
            progress(f"run {number + 1} of {runs}, {processes} processes")
            took, tests = run(processes)
            seconds[processes].append(took)
    table = Table(
        "A suite of outage tests",
        f"{tests} tests under all faults but hang and drip, with the plain SDK; the whole of `pytest`, medians of "
        f"{runs} runs [min-max]. {surroundings()}",
        ("command", "s", "s for 200 tests"),
    )
    for processes, taken in seconds.items():
        row = (f"`pytest -n {processes}`", spread(taken, 1), spread([each / tests * 200 for each in taken], 1))
        table.rows.append(row)
    slowest = max(seconds[PROCESSES[0]]) / tests * 200
    table.require(f"seconds for 200 outage tests in {PROCESSES[0]} processes, the slowest run", slowest, LIMIT, 1)
    return table


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs with each number of processes; default: 3")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file, as Markdown")
    options = parser.parse_args()
    return measure(options.runs).finish(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
