"""Kill the processes of a test when pytest itself is killed. A script that uses only the standard library.

Its argument is a folder that it removes at the end. Standard input brings process group ids, one a line, with a `-` in
front of those that have ended. When standard input closes, pytest has exited, or has ended all groups itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Read group ids until standard input closes, then kill the groups that are left and remove the folder."""
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            groups.add(number)
        else:
            groups.discard(-number)
    for group in groups:
        with contextlib.suppress(OSError):  # the group has ended
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
