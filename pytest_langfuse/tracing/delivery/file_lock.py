"""A lock that belongs to one process and goes with it, however the process ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # A POSIX record lock: unlike flock's it is not shared with forked children, which may outlive their parent.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def private(path: Path) -> None:
    """Make a file that only its owner may read and write, or make an existing one so.

    An existing file is not opened: closing it would release the locks that SQLite has on it in this process.

    Raises:
        OSError: It can't be made.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return
    _restrict(path, mode)


def _restrict(path: Path, mode: int) -> None:
    if sys.platform != "win32" and mode & 0o077:
        # Another user's file stays as it is: its owner decides.
        with suppress(PermissionError):
            path.chmod(0o600)


#: Record locks are the process's: within it, a second try for the same file would succeed.
_held: set[Path] = set()


class FileLock:
    """A lock that is held. Not for several threads at once."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> FileLock | None:
        """Return the lock, or `None` if another process (or this one) holds it.

        Raises:
            OSError: The file can't be opened.
        """
        resolved = path.resolve()
        if resolved in _held:
            return None
        descriptor = os.open(resolved, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _lock(descriptor)
        except OSError:
            os.close(descriptor)
            return None
        _restrict(resolved, os.fstat(descriptor).st_mode)
        _held.add(resolved)
        return cls(resolved, descriptor)

    def release(self) -> None:
        """Let another process have it. The file stays: deleting it would let two processes hold "the" lock."""
        self.forget()

    def forget(self) -> None:
        """Close the file; in a forked child, which does not hold the lock, that takes nothing from the parent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            _held.discard(self._path)
