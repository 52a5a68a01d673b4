"""Name the caller: a line of the application, else a library."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

#: Folders of the standard library and of installed packages.
LIBRARIES = tuple(
    sorted({f"{Path(sysconfig.get_path(name))}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")})
)
_STDLIB = sys.stdlib_module_names
#: pytest calls everything in its main thread.
_RUNNERS = {"_pytest", "pytest", "pluggy", "__main__", "xdist", "execnet"}
#: Beside the package, modules that it loads in child processes.
_OURS = ("pytest_langfuse", "_pytest_langfuse")


def calling_code() -> str:
    """Return `shop/app.py:12` for the innermost line of the application that is calling, else the outermost library.

    A thread of a library has no line of the application: its name is added.
    """
    library = "pytest-langfuse"
    for frame in _outwards(sys._getframe(1)):  # noqa: SLF001 - the documented way to see the caller
        filename = frame.f_code.co_filename
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        # "<string>" is the application where `python -c` runs it.
        if package.startswith(_OURS) or (filename.startswith("<") and package != "__main__"):
            continue
        if not filename.startswith(LIBRARIES):
            return f"{shown_path(filename)}:{frame.f_lineno}"
        if package not in _STDLIB and package not in _RUNNERS:
            library = package
    thread = threading.current_thread()
    return library if thread is threading.main_thread() else f"{library} (thread {thread.name})"


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def shown_path(filename: str) -> str:
    """Return the path of a file, relative to the working directory where it is inside."""
    path = Path(filename)
    try:
        here = Path.cwd()
    except OSError:  # the folder is gone
        return filename
    return str(path.relative_to(here)) if path.is_relative_to(here) else filename
