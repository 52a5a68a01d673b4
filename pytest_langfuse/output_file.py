"""Files that a user names to be written: no other file is lost, and an earlier one stays until the new one is whole."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

#: The bytes of a file that tell what it is.
_HEAD: Final = 400
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: Where the descriptors of the process are: `>(command)` of a shell is `/dev/fd/63`.
_DESCRIPTORS: Final = "/dev/fd"
#: Links that are followed: as many as Linux follows.
_LINKS: Final = 40


class OutputFile:
    """A file to be written.

    A regular file is written under another name beside it, which then takes its place: who reads it has the file before
    or the whole new one, also if the process is killed. What else a path can name (a pipe, a device, an open descriptor
    such as `/dev/stdout`) is written directly. Not thread-safe.
    """

    def __init__(self, path: Path) -> None:
        # Absolute, since a test may change the working directory.
        self.path = path.absolute()
        #: The descriptor of a named pipe. It is opened early and kept open: its reader would take it for the end.
        self._pipe: int | None = None

    def problem(self, beginnings: Sequence[bytes]) -> str:
        """Return why the file can't be written; empty if it can.

        A file that is there may be replaced only if it is empty, or begins with one of `beginnings`.
        """
        try:
            if (number := self.descriptor) is not None:
                return _problem_of_descriptor(number)
            if not os.path.lexists(self.path):
                return _problem_of_folder(self.path.parent)
            if not self.path.exists():
                # A link to what is not there yet.
                return _problem_of_folder(self.path.resolve().parent)
            return self._problem_of_existing(beginnings)
        except (OSError, ValueError, RuntimeError):
            return "is not the path of a file"

    def _problem_of_existing(self, beginnings: Sequence[bytes]) -> str:
        mode = self.path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "is a directory; name a file in it"
        if not os.access(self.path, os.W_OK):
            return "is not writable"
        if stat.S_ISFIFO(mode):
            return self._problem_of_pipe()
        if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
            return f"is a {'socket' if stat.S_ISSOCK(mode) else 'disk'}; name a file"
        if stat.S_ISREG(mode) and beginnings and not _is_ours(self.path, beginnings):
            return "holds something else, which would be lost; name another file, or delete it"
        return ""

    def _problem_of_pipe(self) -> str:
        if self._pipe is None:
            try:
                self._pipe = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                # Opening it would wait for a reader, perhaps for ever.
                return "is a named pipe that nobody reads; start its reader before"
            os.set_blocking(self._pipe, True)
        return ""

    @property
    def descriptor(self) -> int | None:
        """The number of the open descriptor that the path names, as `/dev/stdout` does; `None` if it names a file."""
        path = self.path
        folder = os.path.realpath(_DESCRIPTORS)
        for _ in range(_LINKS):
            if path.name.isdecimal() and path.name.isascii() and os.path.realpath(path.parent) == folder:
                return int(path.name)
            try:
                path = path.parent / os.readlink(path)  # noqa: PTH115 - it stays a text that may be relative
            except (OSError, ValueError):
                break
        return None

    @property
    def identity(self) -> object:
        """An object that is equal for two paths of one file; `None` for a device, in which nothing is kept."""
        number = self.descriptor
        try:
            status = self.path.stat() if number is None else os.fstat(number)
        except (OSError, ValueError):
            return os.path.normcase(os.path.realpath(self.path))
        return None if number is None and stat.S_ISCHR(status.st_mode) else (status.st_dev, status.st_ino)

    @property
    def is_replaced(self) -> bool:
        """True if the path names a regular file, or none yet: the next one that is written takes its place."""
        return self.descriptor is None and self._pipe is None and (self.path.is_file() or not self.path.exists())

    def write(self, texts: Iterable[str], encoding: str = "utf-8") -> None:
        """Write the file.

        Raises:
            OSError: it can't be written. A regular file is as it was.
        """
        number, pipe = self.descriptor, self._pipe
        if number is not None or pipe is not None:
            self._pipe = None
            _write_descriptor(pipe if number is None else _duplicate(number), texts, encoding)
            return
        target = self.path.resolve()
        if (target.exists() and not target.is_file()) or not os.access(target.parent, os.W_OK):
            # A device; or a file in a folder in which no other one can be made.
            with target.open("w", encoding=encoding) as file:
                file.writelines(texts)
            return
        _replace(target, texts, encoding)

    @property
    def size(self) -> int:
        """The bytes that a regular file has; 0 if it does not exist, or is something else.

        Raises:
            OSError: nobody may know.
        """
        try:
            status = self.path.stat() if self.descriptor is None else os.fstat(self.descriptor)
        except FileNotFoundError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def begins_with(self, beginnings: Sequence[bytes]) -> bool:
        """Return whether a regular file begins with one of `beginnings`.

        Raises:
            OSError: it can't be read.
        """
        return self.path.is_file() and _head(self.path).startswith(tuple(beginnings))

    def append(self, data: bytes) -> None:
        """Write behind what is in the file.

        Raises:
            OSError: it can't be written, or a part only.
        """
        number = self._pipe if self.descriptor is None else _duplicate(self.descriptor)
        self._pipe = None
        with self.path.open("ab") if number is None else os.fdopen(number, "wb") as file:
            file.write(data)

    def close(self) -> None:
        """Let the reader of a named pipe go if nothing was written."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def _problem_of_descriptor(number: int) -> str:
    try:
        # Nothing is written, but one that is open for reading alone says so.
        os.write(number, b"")
    except OSError:
        return "is not open for writing"
    return ""


def _problem_of_folder(folder: Path) -> str:
    if not folder.is_dir():
        return "is in a directory that does not exist"
    return "" if os.access(folder, os.W_OK) else "is not writable"


def _is_ours(path: Path, beginnings: Sequence[bytes]) -> bool:
    head = _head(path)
    return not head or head.startswith(tuple(beginnings))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD).removeprefix(_BYTE_ORDER_MARK).lstrip()


def _duplicate(number: int) -> int:
    for stream in (sys.stdout, sys.stderr):
        # What was printed before comes first.
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    return os.dup(number)


def _write_descriptor(number: int | None, texts: Iterable[str], encoding: str) -> None:
    assert number is not None  # noqa: S101 - for mypy
    with os.fdopen(number, "w", encoding=encoding) as file:
        file.writelines(texts)


def _replace(target: Path, texts: Iterable[str], encoding: str) -> None:
    # Hidden, so that nobody who looks for such files takes it for one.
    beside = target.with_name(f".langfuse-{secrets.token_hex(8)}.tmp")
    # With the permissions of any new file.
    number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(number, "w", encoding=encoding) as file:
            file.writelines(texts)
        with suppress(FileNotFoundError):
            shutil.copymode(target, beside)
        try:
            beside.replace(target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # The file itself is mounted, into a container say: nothing can take its place.
            shutil.copyfile(beside, target)
            beside.unlink()
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
