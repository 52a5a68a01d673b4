"""Make the report that `make demo` ends with, of the runs before it and of the README's test, which goes wrong in it.

    python docs/demo_report.py [RUN.jsonl ...] -o REPORT.html

Each RUN.jsonl is a file of --langfuse-json. Prints the path of the report.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from picture import failing_run


def make(runs: list[Path], output: Path) -> None:
    """Write the report of the README's failing test and of `runs`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        red = Path(folder, "red.jsonl")
        failing_run(f"--langfuse-json={red}")
        command = [sys.executable, "-m", "pytest_langfuse.report", str(red), *map(str, runs), "-o", str(output)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN.jsonl")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="REPORT.html")
    given = parser.parse_args()
    make(given.runs, given.output)
    print(os.path.relpath(given.output))


if __name__ == "__main__":
    main()
