"""Kills what is left of a test's processes when pytest itself is killed. A script; the standard library only.

Its argument is a folder that is removed then. Standard input brings numbers of process groups, one a line, with a `-`
before those that are over. Its end means that pytest is gone, or done.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Read until the end, then kill and remove."""
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            groups.add(number)
        else:
            groups.discard(-number)
    for group in groups:
        with contextlib.suppress(OSError):  # gone by itself
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
