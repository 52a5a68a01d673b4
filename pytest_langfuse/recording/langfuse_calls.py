"""Find the line of the application that is in a call of Langfuse, from the frames of a thread or of an asyncio task."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

#: Packages in which waiting means waiting for Langfuse.
_LANGFUSE = ("langfuse.", "opentelemetry.sdk.trace", "opentelemetry.exporter.", "pytest_langfuse.tracing")
#: Modules of them that call the application or another provider: what is inside such a call is not Langfuse.
_WRAPPERS = (
    "langfuse.openai",
    "langfuse.langchain",
    "langfuse._client.observe",
    "pytest_langfuse.tracing.context",
    "pytest_langfuse.tracing.decorator",
    "pytest_langfuse.tracing.generator_context",
    "pytest_langfuse.tracing.propagation",
    "pytest_langfuse.tracing.web",
)
#: Modules of this package that stand between the application and Langfuse. A call of any other is the harness's own.
_HOOKS = (
    "pytest_langfuse.recording.sdk",
    "pytest_langfuse.recording.langfuse_waits",
    "pytest_langfuse.recording.http",
    "pytest_langfuse.standin",
)
#: Libraries that start threads, wrap functions or run tests: they call Langfuse for somebody else.
_NO_CALLERS = frozenset(
    name
    for names in (
        "anyio asgiref ddtrace elasticapm eventlet execnet gevent greenlet",
        "logfire newrelic opentelemetry pluggy pytest pytest_asyncio sentry_sdk wrapt xdist",
    )
    for name in names.split()
)

_STANDARD = tuple({str(Path(sysconfig.get_path(name))) for name in ("stdlib", "platstdlib")})
_INSTALLED = tuple({str(Path(sysconfig.get_path(name))) for name in ("purelib", "platlib")})


class CallSite(NamedTuple):
    """A line that is in a call of Langfuse: `call` is the function that it called."""

    path: str
    line: int
    function: str
    call: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} in {self.function}, calling {self.call}"


#: Stands for every call of Langfuse that the harness made, such as a flush at the end of a test.
HARNESS = CallSite("", 0, "", "")


def call_site(frames: Iterable[FrameType]) -> CallSite | None:
    """Return the application's line that called into Langfuse; `None` if the innermost frames are not Langfuse's.

    `frames` begin with the innermost. An import is not a call. The line of a library counts only where no line of the
    application is found, since the application itself may be installed as one.
    """
    call: str | None = None
    library: CallSite | None = None
    for frame in frames:
        code, module = frame.f_code, module_of(frame)
        if code.co_filename.startswith("<frozen importlib"):
            return None
        if module.startswith("_pytest."):
            break
        if is_application(frame):
            return None if call is None else _site(frame, call)
        if module.startswith(_LANGFUSE):
            if call is None and module.startswith(_WRAPPERS):
                return None
            call = code.co_qualname
        elif call is not None and module.startswith("pytest_langfuse."):
            if not module.startswith(_HOOKS):
                return HARNESS
        elif call is not None and library is None and _may_call(code, module):
            library = _site(frame, call)
    return library


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield `frame` and those that called it."""
    # Of a thread that is just calling a function, Python 3.11 has given a code object here.
    while isinstance(frame, FrameType):
        yield frame
        frame = frame.f_back


def module_of(frame: FrameType) -> str:
    """Return the name of the module that a frame runs."""
    return str(frame.f_globals.get("__name__", ""))


def is_application(frame: FrameType) -> bool:
    """Return whether a frame runs a file that is not part of Python or of this package, and is not installed."""
    outside = not frame.f_code.co_filename.startswith((*_STANDARD, *_INSTALLED, "<"))
    return outside and not module_of(frame).startswith("pytest_langfuse.")


def _may_call(code: CodeType, module: str) -> bool:
    return code.co_filename.startswith(_INSTALLED) and module.partition(".")[0] not in _NO_CALLERS


def _site(frame: FrameType, call: str) -> CallSite:
    path = Path(frame.f_code.co_filename)
    folders = (*_INSTALLED, str(Path.cwd()))
    folder = next((Path(folder) for folder in folders if path.is_relative_to(folder)), path.parent)
    return CallSite(str(path.relative_to(folder)), frame.f_lineno, frame.f_code.co_qualname, call)
