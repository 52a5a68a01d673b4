"""The watchdog process of a test, which runs `watchdog_script.py`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

_SCRIPT = Path(__file__).with_name("watchdog_script.py")


class Watchdog:
    """A process that kills the given process groups if pytest is killed, alone or with its own group."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        """Have `group` killed and the folder removed once this process is gone."""
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a file of this package
                [sys.executable, "-I", "-S", str(_SCRIPT), str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        self._send(group)

    def forget(self, group: int) -> None:
        """Stop watching `group`: it has ended, and the system may give its id to another one."""
        self._send(-group)

    def close(self) -> None:
        """End the watchdog process."""
        if self._process is not None:
            self._process.stdin.close()  # type: ignore[union-attr] # it is a pipe
            self._process.wait()
            self._process = None

    def _send(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):  # somebody killed the watchdog
                self._process.stdin.write(b"%d\n" % number)  # type: ignore[union-attr] # it is a pipe
