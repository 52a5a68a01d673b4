"""The ledger of one process: a file with a line for each event of a span.

Each process writes a separate file, and each line with one `write`: the kernel has it then, so it survives SIGKILL.
There is no lock that a fork or a signal handler could deadlock on, and a forked process begins a new file.
Nothing here raises: an application must not fail because of its test's ledger.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
#: The file stays open under a descriptor far above those that the application gets, so that the application does not
#: reuse the number after it has closed every file, as daemons do. (Checking the file before each write would double
#: the cost.)
_HIGHEST_DESCRIPTOR = 4096
_SPARE = 16


class LedgerWriter:
    """Writes lines to a file in `folder` that has the process id as its name."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._file = -1
        self._process = 0

    def write(self, line: str) -> None:
        """Append a line: a JSON array, without the newline."""
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
            # The test is over and its folder removed, or the application has no file descriptor left.
            return

    def _open(self, process: int) -> int:
        file = os.open(f"{self._folder}/{process}", _FLAGS, 0o600)
        try:
            # Missing on Windows; and imported only when the application uses tracing.
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
        """Append a line and close the file: a process without tracing writes no other line."""
        try:
            file = os.open(f"{self._folder}/{os.getpid()}", _FLAGS, 0o600)
            try:
                os.write(file, line.encode() + b"\n")
            finally:
                os.close(file)
        except OSError:
            return  # see `write`

    def started(self) -> None:
        """Record that this process is a Python interpreter with a ledger."""
        # The newline in front ends a line that a killed process with the same id may have left unfinished.
        self._write_once(f'\n["interpreter", {os.getppid()}]')

    def replaced(self) -> None:
        """Record that this process is about to become another program, which may keep no ledger."""
        self._write_once('["replaced"]')

    def failed(self, error: Exception) -> None:
        """Record that an event could not be written, so that the ledger does not count as complete."""
        self._write_once(f'["failed", "{type(error).__name__}"]')


def start(folder: str) -> LedgerWriter:
    """Begin the ledger of this process and return its writer."""
    ledger = LedgerWriter(folder)
    ledger.started()
    for name in ("execv", "execve"):
        if hasattr(os, name):
            setattr(os, name, _recording(getattr(os, name), ledger))
    return ledger


def _recording(original: Callable[..., Any], ledger: LedgerWriter) -> Callable[..., Any]:
    def execute(*args: Any, **kwargs: Any) -> Any:
        ledger.replaced()
        try:
            return original(*args, **kwargs)
        finally:
            # It failed: the process is still the same program.
            ledger.started()

    # As `functools.wraps` does. functools is not imported yet.
    for name in ("__name__", "__qualname__", "__doc__"):
        setattr(execute, name, getattr(original, name))
    execute.__module__ = "os"
    execute.__wrapped__ = original  # type: ignore[attr-defined] # read by inspect.signature
    return execute
