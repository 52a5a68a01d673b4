"""The function that a thread, a pool or a callback is to run, found in what the application handed over."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread, Timer
from types import CodeType, FrameType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_langfuse.recording.start_place import OURS

if TYPE_CHECKING:
    from pytest_langfuse.recording.recorded_span import HandOver

#: How many decorators are looked through: a function may be said to wrap itself.
_DEEPEST: Final = 16
#: `Executor.map` submits its calls one by one; from Python 3.14 on also while its results are read.
_MAP: Final = ("concurrent.futures._base", "Executor", "map")


class Work(NamedTuple):
    """Work that was handed over, and how."""

    how: HandOver
    #: A callable, or, for threads of a class with its own `run`, the class.
    function: Any
    #: The functions that run: the outermost first, then what each decorator has wrapped.
    layers: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The name of the function, or of the class of the thread; empty where it has none."""
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        name = None
        with suppress(Exception):
            name = getattr(function, "__name__", None)
        return name if isinstance(name, str) else ""


def work_of(how: HandOver, work: Any) -> Work:
    """Return what is handed over: `work` is a thread, a callable or a coroutine."""
    if isinstance(work, Thread):
        return _of_thread(how, work)
    return Work(how, work, tuple(_layers(work)))


def is_executor_map() -> bool:
    """Return whether the hook of `submit` that calls this was called by `Executor.map`."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to see the caller
    while frame is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    return frame is not None and (frame.f_globals.get("__name__"), *frame.f_code.co_qualname.split(".")[:2]) == _MAP


def code_of(layer: Any) -> CodeType | None:
    """Return the code of a function, if it has any that can be read."""
    code = None
    with suppress(Exception):
        code = getattr(layer, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _of_thread(how: HandOver, thread: Thread) -> Work:
    layers = tuple(_layers(thread.run))
    if any(layer is run for run in _layers(Timer.run) for layer in layers):
        function = getattr(thread, "function", None)
        return Work("timer", function, tuple(_layers(function)))
    if any(layer is run for run in _layers(Thread.run) for layer in layers):
        # Read from Python 3.11 to 3.14. Without it, nothing is known of the thread's function.
        function = getattr(thread, "_target", None)
        return Work(how, function, tuple(_layers(function)))
    return Work("thread class", type(thread), layers)


def _layers(work: Any) -> Iterator[Any]:
    for _ in range(_DEEPEST):
        if work is None:
            return
        if isinstance(work, functools.partial):
            work = work.func
        elif isinstance(work, MethodType):
            work = work.__func__
        else:
            yield work
            work = _inside(work)


def _inside(work: Any) -> Any:
    """Return what a decorator has wrapped, else the function that runs when a class or another object is called."""
    # Not `getattr`: a proxy answers to every name.
    if (wrapped := getattr(work, "__dict__", {}).get("__wrapped__")) is not None:
        return wrapped
    owner, name = (work, "__init__") if isinstance(work, type) else (type(work), "__call__")
    call = getattr(owner, name, None)
    return call if isinstance(call, FunctionType) else None
