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


_LONGEST_NOTE = 1000


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
        if resolved in _held or (descriptor := _locked(resolved)) is None:
            return None
        _held.add(resolved)
        return cls(resolved, descriptor)

    def renew(self) -> bool:
        """Return whether this process holds the lock; make its file again if that was removed or replaced.

        Raises:
            OSError: The file can't be made.
        """
        if self._descriptor < 0:
            return False
        if _leads_to(self._path, self._descriptor):
            # Any close of the file in this process has released the record lock.
            return sys.platform == "win32" or _try(self._descriptor)
        if (descriptor := _locked(self._path)) is None:
            return False
        noted = self.noted()
        os.close(self._descriptor)
        self._descriptor = descriptor
        self.note(noted)
        return True

    def note(self, text: bytes) -> None:
        """Write a short text into the file, over an earlier one of the same length; a full disk may keep that one."""
        with suppress(OSError):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, text)

    def noted(self) -> bytes:
        """Return what its last holder has noted."""
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            return os.read(self._descriptor, _LONGEST_NOTE)
        except OSError:
            return b""

    def touch(self) -> None:
        """Give the file the time of now."""
        with suppress(OSError):
            os.utime(self._path)

    def release(self) -> None:
        """Let another process have it. The file stays: deleting it would let two processes hold "the" lock."""
        self.forget()

    def forget(self) -> None:
        """Close the file; in a forked child, which does not hold the lock, that takes nothing from the parent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            _held.discard(self._path)


def _locked(path: Path) -> int | None:
    """Return a descriptor of the file, locked; `None` if another process has it locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        if not _try(descriptor):
            os.close(descriptor)
            return None
        # It may have been removed since it was opened: then the next process makes another one.
        if _leads_to(path, descriptor):
            _restrict(path, os.fstat(descriptor).st_mode)
            return descriptor
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        _lock(descriptor)
    except OSError:
        return False
    return True


def _leads_to(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
