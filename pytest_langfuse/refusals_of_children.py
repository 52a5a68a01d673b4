"""The connections that were refused in child processes, which hand them over in files."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class RefusalsOfChildren:
    """A folder with one file for each test, to which its child processes append a line for each refusal.

    Each line is returned once. So it shows whose process it was, even if that outlives its test.
    """

    def __init__(self) -> None:
        # Decided before any process is forked, which may be the first that writes.
        self._folder = Path(tempfile.gettempdir(), f"langfuse-refused-{uuid4().hex}")
        self._file = self._outside = str(self._folder / "outside")
        self._tests = 0
        self._removed = False
        self._read: dict[str, int] = {}

    def begin_test(self) -> None:
        """Let the processes that are started from now on write for another test."""
        self._tests += 1
        self._file = f"{self._folder}{os.sep}{self._tests}"

    def path(self, *, in_test: bool) -> str:
        """Return the file for a process of the test, or of nobody; its folder is there until `remove`."""
        if not self._removed:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        return self._file if in_test else self._outside

    def add(self, text: str, *, in_test: bool) -> None:
        """Hand a refusal over to the process that runs the tests; if that has gone, to nobody."""
        with suppress(OSError):
            file = os.open(self.path(in_test=in_test), _FLAGS, 0o600)
            try:
                os.write(file, f"{text}\n".encode(errors="replace"))
            finally:
                os.close(file)

    def of_test(self) -> list[str]:
        """Return what was refused in processes of the last test that began."""
        return self._new_lines(self._file)

    def others(self) -> list[str]:
        """Return everything else that was refused."""
        files = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        return [line for file in files for line in self._new_lines(str(file))]

    def _new_lines(self, file: str) -> list[str]:
        # Asked three times a test, and hardly ever is there a file: opening it would cost ten times as much.
        if not os.access(file, os.F_OK):
            return []
        try:
            data = Path(file).read_bytes()[self._read.get(file, 0) :]
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._read[file] = self._read.get(file, 0) + len(whole)
        return whole.decode(errors="replace").splitlines()

    def remove(self) -> None:
        """Remove the folder. What is refused from now on is only printed."""
        self._removed = True
        shutil.rmtree(self._folder, ignore_errors=True)
