"""The guard process of a test: see `guard`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

_GUARD = Path(__file__).with_name("guard.py")


class Watchdog:
    """Tells the guard which process groups there are. It outlives a pytest that is killed, alone or with its group."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        """Have `group` killed, and the folder removed, when this process is gone."""
        if self._guard is None:
            self._guard = subprocess.Popen(  # noqa: S603 - this interpreter and a file of ours
                [sys.executable, "-I", "-S", str(_GUARD), str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        self._tell(group)

    def forget(self, group: int) -> None:
        """It is over: its number may be another's by now."""
        self._tell(-group)

    def close(self) -> None:
        """No group is left."""
        if self._guard is not None:
            self._guard.stdin.close()  # type: ignore[union-attr] # it is a pipe
            self._guard.wait()
            self._guard = None

    def _tell(self, number: int) -> None:
        if self._guard is not None:
            with contextlib.suppress(BrokenPipeError):  # somebody killed the guard: then nobody watches
                self._guard.stdin.write(b"%d\n" % number)  # type: ignore[union-attr] # as above
