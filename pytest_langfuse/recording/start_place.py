"""Places in the application at which observations are started: remembered at the start, read when a rule asks.

At the start a walk over the frames finds the application's innermost one and keeps its code object and the offset of
the instruction, which takes about two microseconds; lines are looked up when somebody reads them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from pytest_langfuse.recording.calling_code import LIBRARIES, shown_path

#: What is kept at a start: a code object, and the offset of the instruction in it.
Start = tuple[CodeType, int]

#: Folders of installed packages, as a part of a path: of any environment, as one may be inside of the project.
_PACKAGES: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
#: The folder of this package.
OURS: Final = f"{Path(__file__).parents[1]}{os.sep}"
#: Of langfuse's `@observe`: its wrappers hold the decorated function as `func` (langfuse/_client/observe.py, 4.5, 5.0).
_OBSERVE: Final = str(Path("langfuse", "_client", "observe.py"))

#: Above pytest's own frames there are none of the application.
_RUNNER_FOLDER: Final = f"{os.sep}_pytest{os.sep}"

_LIBRARY, _TEST, _APPLICATION, _DECORATOR, _RUNNER = range(5)
#: Not an instruction, but the function as a whole.
_WHOLE: Final = -1


@dataclass(frozen=True)
class Place:
    """A statement of the application, or a function that is decorated with `@observe`."""

    code: CodeType
    #: Of the instruction, in bytes; -1 stands for the whole function.
    offset: int

    @property
    def file(self) -> str:
        """The path of the file, as the code has it."""
        return self.code.co_filename

    @property
    def qualname(self) -> str:
        """The qualified name of the function, without what Python adds for functions inside of functions."""
        names = self.code.co_qualname.split(".")
        return ".".join(name for name in names if not (name.startswith("<") and name != "<module>"))

    @cached_property
    def lines(self) -> tuple[int, int]:
        """The first and the last line of the statement; of a function, from its decorator to its first statement."""
        if self.offset == _WHOLE:
            first = self.code.co_firstlineno
            found = [line for _, _, line in self.code.co_lines() if line and line > first]
            return first, max(first, min(found, default=first) - 1)
        position = next(islice(self.code.co_positions(), self.offset // 2, None), (None, None, None, None))
        line = position[0] or self.code.co_firstlineno
        return line, position[1] or line

    @property
    def line(self) -> int:
        """The line that messages name."""
        return self.lines[0]

    def __str__(self) -> str:
        """Return `bot/tools.py:41`, relative to the working directory where it is inside."""
        return f"{shown_path(self.file)}:{self.line}"


def place_of(start: Start | None) -> Place | None:
    """Return the place of a start that was kept."""
    return None if start is None else Place(*start)


class StartPlaces:
    """Finds the application's frame that is starting an observation.

    `is_test(path)` tells test files, whose frames count where there is no other of the application. `libraries` are
    further folders that are not the application's.
    """

    def __init__(self, is_test: Callable[[str], bool], libraries: tuple[str, ...] = ()) -> None:
        self._is_test_file = is_test
        self._libraries = ("<", OURS, *LIBRARIES, *libraries)
        self._kinds: dict[str, int] = {}

    def here(self) -> Start | None:
        """Return code and offset of the application's innermost frame above the caller; `None` if there is none."""
        kinds = self._kinds
        test: FrameType | None = None
        frame = sys._getframe(1).f_back  # noqa: SLF001 - the documented way to see the caller
        while frame is not None:
            code = frame.f_code
            kind = kinds.get(code.co_filename)
            if kind is None:
                kind = self._kind_of(code.co_filename)
            if kind == _APPLICATION:
                return code, frame.f_lasti
            if kind == _TEST:
                if test is None:
                    test = frame
            elif kind == _DECORATOR:
                decorated = getattr(frame.f_locals.get("func"), "__code__", None)
                if isinstance(decorated, CodeType):
                    return decorated, _WHOLE
            elif kind == _RUNNER:
                break
            frame = frame.f_back
        return None if test is None else (test.f_code, test.f_lasti)

    def is_direct(self) -> bool:
        """Return whether the application itself has made the call that is hooked, and not an installed package."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
        while frame is not None and not self.is_application(frame.f_code):
            file = frame.f_code.co_filename
            if not file.startswith(OURS) and any(folder in file for folder in _PACKAGES):
                return False
            frame = frame.f_back
        return frame is not None

    def is_application(self, code: CodeType | None) -> bool:
        """Return whether code is the application's or a test's, and not a library's."""
        if code is None:
            return False
        kind = self._kinds.get(code.co_filename)
        return (self._kind_of(code.co_filename) if kind is None else kind) in (_APPLICATION, _TEST)

    def is_test(self, code: CodeType) -> bool:
        """Return whether code is in a test file."""
        return self._kinds.get(code.co_filename) == _TEST

    def _kind_of(self, file: str) -> int:
        if file.endswith(_OBSERVE):
            kind = _DECORATOR
        elif _RUNNER_FOLDER in file:
            kind = _RUNNER
        elif file.startswith(self._libraries) or any(folder in file for folder in _PACKAGES):
            kind = _LIBRARY
        else:
            kind = _TEST if self._is_test_file(file) else _APPLICATION
        self._kinds[file] = kind
        return kind
