"""The ledger of one process: a line in a file for each thing that happened to a span.

Each line is one `write` to a file of the process's own: what was written survives SIGKILL, it is the kernel's by then.
There is no lock that a fork or a signal handler could meet, and a forked process begins a file of its own by itself.
Nothing here raises: an application must not fail because of its test's ledger.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
#: The file is held open under a number far above those that the application gets, which it neither notices nor takes
#: over when it has closed all there is, as daemons do. (To look whose it is before each write would double the cost.)
_HIGHEST_DESCRIPTOR = 4096
_SPARE = 16


class Ledger:
    """Writes lines into a file in `folder` that is named after the process."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._file = -1
        self._process = 0

    def write(self, line: str) -> None:
        """Append one line, a JSON array without its end of line."""
        data = line.encode() + b"\n"
        process = os.getpid()
        if self._process == process:
            try:
                os.write(self._file, data)
            except OSError:  # the application has closed it
                self._process = 0
            else:
                return
        try:
            self._file, self._process = self._open(process), process
            os.write(self._file, data)
        except OSError:
            # The test is over and its folder gone, or the application has no file descriptor left.
            return

    def _open(self, process: int) -> int:
        file = os.open(f"{self._folder}/{process}", _FLAGS, 0o600)
        try:
            # Not where there are none; and not before the application needs them.
            import fcntl
            import resource

            allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            allowed = _HIGHEST_DESCRIPTOR if allowed < 0 else min(allowed, _HIGHEST_DESCRIPTOR)
            moved = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, max(0, allowed - _SPARE))
        except (ImportError, OSError):
            return file
        os.close(file)
        return moved

    def _write_once(self, line: str) -> None:
        """As `write`, and hold nothing open: a process without tracing has no further line."""
        try:
            file = os.open(f"{self._folder}/{os.getpid()}", _FLAGS, 0o600)
            try:
                os.write(file, line.encode() + b"\n")
            finally:
                os.close(file)
        except OSError:
            return  # as above

    def started(self) -> None:
        """This process is a Python interpreter with a ledger."""
        # On a line of its own even if a process with the same number was killed in the middle of one.
        self._write_once(f'\n["interpreter", {os.getppid()}]')

    def replaced(self) -> None:
        """This process is about to become another program, which may keep no ledger."""
        self._write_once('["replaced"]')

    def failed(self, error: Exception) -> None:
        """Something could not be noted: nobody must conclude from this ledger that nothing was lost."""
        self._write_once(f'["failed", "{type(error).__name__}"]')


def start(folder: str) -> Ledger:
    """Begin the ledger of this process."""
    ledger = Ledger(folder)
    ledger.started()
    for name in ("execv", "execve"):
        if hasattr(os, name):
            setattr(os, name, _noting(getattr(os, name), ledger))
    return ledger


def _noting(original: Callable[..., Any], ledger: Ledger) -> Callable[..., Any]:
    def execute(*args: Any, **kwargs: Any) -> Any:
        ledger.replaced()
        try:
            return original(*args, **kwargs)
        finally:
            # It failed: this is still the same program.
            ledger.started()

    # As functools.wraps does; functools is not loaded yet.
    for name in ("__name__", "__qualname__", "__doc__"):
        setattr(execute, name, getattr(original, name))
    execute.__module__ = "os"
    execute.__wrapped__ = original  # type: ignore[attr-defined] # read by inspect.signature
    return execute
