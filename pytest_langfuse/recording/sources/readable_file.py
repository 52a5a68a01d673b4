"""Files that a user names: they can be read to their end, and nobody is waited for."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final, TextIO

_KINDS: Final[Mapping[int, str]] = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
#: Where the descriptors of a process are: `<(command)` of a shell is one, and ends with the command.
_DESCRIPTORS: Final = ("/proc/", "/dev/fd/")


def require_file(path: Path) -> None:
    """Raise for what is not a file: opening a named pipe waits for somebody who writes, perhaps for ever.

    Raises:
        OSError: there is no such file, or it is something else.
    """
    kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    if kind is not None and not os.path.realpath(path).startswith(_DESCRIPTORS):
        raise OSError(errno.EINVAL, f"it is {kind}, not a file")


def content_of(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: it can't be read, or is not a file.
    """
    require_file(path)
    return path.read_bytes()


def standard_input() -> BinaryIO:
    """Return the standard input of the process.

    Raises:
        OSError: the process was started without one.
    """
    # So it is after `<&-`.
    given: TextIO | None = sys.stdin
    if given is None:
        raise OSError(errno.EBADF, "it is closed")
    return given.buffer
