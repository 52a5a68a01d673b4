"""Stack samples that show where a test waits for Langfuse."""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

#: Seconds between two samples.
_INTERVAL = 0.02

#: Packages in which waiting means waiting for Langfuse.
_LANGFUSE = ("langfuse.", "opentelemetry.sdk.trace", "opentelemetry.exporter.", "pytest_langfuse.tracing")

_LIBRARIES = tuple({str(Path(sysconfig.get_path(name))) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class Wait(NamedTuple):
    """A line of the app that waited: `call` is the function of Langfuse that it called, `seconds` about how long."""

    path: str
    line: int
    function: str
    call: str
    seconds: float

    def __str__(self) -> str:
        return f"blocked {self.seconds:.1f} s at {self.path}:{self.line} in {self.function}, calling {self.call}"


class BlockingSampler:
    """Samples all threads inside a `with` block, except those of the SDK itself, for which nobody waits."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, int, str, str]] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pytest-langfuse-sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def longest(self) -> Wait | None:
        """Return the line at which the most time was spent; `None` if none waited."""
        if not self._seen:
            return None
        ((path, line, function, call), count) = self._seen.most_common(1)[0]
        return Wait(path, line, function, call, count * _INTERVAL)

    def _run(self) -> None:
        own = threading.get_ident()
        while not self._stop.wait(_INTERVAL):
            for thread, frame in sys._current_frames().items():  # noqa: SLF001 - the documented way to see other threads
                if thread != own and (where := _waiting(frame)) is not None:
                    self._seen[where] += 1


def _waiting(frame: FrameType) -> tuple[str, int, str, str] | None:
    """Return the app's line that called into Langfuse; `None` if the thread is not in Langfuse."""
    call: str | None = None
    for below in _outwards(frame):
        module = below.f_globals.get("__name__", "")
        if module.startswith(_LANGFUSE):
            call = below.f_code.co_qualname
        elif call is not None and not below.f_code.co_filename.startswith((*_LIBRARIES, "<")):
            if module.startswith("pytest_langfuse."):
                continue
            return _shown(below.f_code.co_filename), below.f_lineno, below.f_code.co_qualname, call
    return None


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
