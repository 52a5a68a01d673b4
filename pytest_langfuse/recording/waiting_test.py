"""Find where a test's thread waits for Langfuse: by itself, or through a thread or task that it waits for.

Read from the frames of all threads, so nothing of the application is hooked or slowed down.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from types import FrameType
from typing import Any

from pytest_langfuse.recording.langfuse_calls import CallSite, call_site, is_application, module_of, outwards

#: The frames of each thread, by its identifier.
Frames = Mapping[int, FrameType]


class _AnyThread:
    """A wait whose cause can't be seen: an event, a queue, an answer of a server in this process."""


class _Tasks:
    """The tasks of an event loop, `main` the one until which it runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, main: object) -> None:
        frames = _frames_of_task(main) if isinstance(main, asyncio.Task) else []
        at_end = frames[-1] if frames else None
        self._loop = loop
        self._main = call_site(reversed(frames))
        #: True if the main task sleeps, so that it waits for none of the others.
        self.main_sleeps = (
            at_end is not None and module_of(at_end) == "asyncio.tasks" and at_end.f_code.co_name == "sleep"
        )

    def in_langfuse(self) -> CallSite | None:
        """Return where the main task, or else one of those that it may wait for, is in Langfuse."""
        if self._main is not None or self.main_sleeps:
            return self._main
        return _first(call_site(reversed(_frames_of_task(task))) for task in _all_tasks(self._loop))


_Awaited = threading.Thread | list[Future[Any]] | _Tasks | _AnyThread


def waits_at(thread: int, frames: Frames, others: Collection[int]) -> CallSite | None:
    """Return the line at which `thread` waits for Langfuse; `None` if it does not.

    If `thread` waits for another one that is in Langfuse, the line is that of the other. Where it can't be seen for
    which one it waits, it is one of `others`.
    """
    return _waits_at(thread, frames, others, set())


def threads_in_langfuse(frames: Frames) -> set[int]:
    """Return the threads that the application has in a call of Langfuse."""
    return {thread for thread, frame in frames.items() if call_site(outwards(frame)) is not None}


def _waits_at(thread: int, frames: Frames, others: Collection[int], seen: set[int]) -> CallSite | None:
    frame = frames.get(thread)
    if frame is None or thread in seen:
        return None
    seen.add(thread)
    site = call_site(outwards(frame))
    if site is not None:
        return site
    awaited = _awaited(frame)
    if isinstance(awaited, threading.Thread):
        return _waits_at(awaited.ident or 0, frames, others, seen)
    if isinstance(awaited, list) and (workers := _workers_of(awaited, frames)):
        return _first(_waits_at(worker, frames, others, seen) for worker in workers)
    if isinstance(awaited, _Tasks):
        site = awaited.in_langfuse()
    if site is None and awaited is not None and not (isinstance(awaited, _Tasks) and awaited.main_sleeps):
        site = _first(_in_langfuse(frames[other]) for other in others if other in frames and other not in seen)
    return site


def _in_langfuse(frame: FrameType) -> CallSite | None:
    """Return where a thread is in Langfuse, in a call or in a task of its event loop."""
    site = call_site(outwards(frame))
    if site is None and isinstance(tasks := _awaited(frame), _Tasks):
        site = tasks.in_langfuse()
    return site


def _first(sites: Iterable[CallSite | None]) -> CallSite | None:
    return next((site for site in sites if site is not None), None)


def _awaited(innermost: FrameType) -> _Awaited | None:
    """Return what a thread waits for; `None` if it works, sleeps, or waits for another process."""
    timed = False
    for frame in outwards(innermost):
        module, function = module_of(frame), frame.f_code.co_name
        if is_application(frame):
            # A function in C that the application called (`time.sleep`), or a wait that is used as a sleep.
            return None if frame is innermost or timed else _AnyThread()
        if module == "threading":
            if function == "join" and isinstance(joined := frame.f_locals.get("self"), threading.Thread):
                return joined
            timed = timed or (function == "wait" and frame.f_locals.get("timeout") is not None)
        elif module == "concurrent.futures._base" and (futures := _futures(frame)):
            return futures
        elif module.startswith("asyncio.") and function == "run_until_complete":
            return _Tasks(frame.f_locals["self"], frame.f_locals.get("future"))
        elif module.startswith(("subprocess", "_pytest.", "pytest_langfuse.")):
            return None
        else:
            timed = False
    return None


def _futures(frame: FrameType) -> list[Future[Any]]:
    local = frame.f_locals
    found = [local.get("self"), *(local.get("fs") or ())]
    return [future for future in found if isinstance(future, Future) and not future.done()]


def _workers_of(futures: Collection[Future[Any]], frames: Frames) -> list[int]:
    """Return the threads of executors that run one of `futures`."""
    return [
        thread
        for thread, innermost in frames.items()
        for frame in outwards(innermost)
        if module_of(frame) == "concurrent.futures.thread"
        and any(getattr(frame.f_locals.get("self"), "future", None) is future for future in futures)
    ]


def _all_tasks(loop: asyncio.AbstractEventLoop) -> Collection[asyncio.Task[Any]]:
    try:
        return asyncio.all_tasks(loop)
    except RuntimeError:  # the set of tasks kept changing while it was copied: the loop does not wait
        return ()


def _frames_of_task(task: asyncio.Task[Any]) -> list[FrameType]:
    """Return the frames of a suspended task, the outermost first."""
    return list(_frames_of_coroutine(task.get_coro()))


def _frames_of_coroutine(awaitable: Any) -> Iterator[FrameType]:
    while awaitable is not None:
        for prefix in ("cr", "gi", "ag"):
            if (frame := getattr(awaitable, f"{prefix}_frame", None)) is not None:
                yield frame
                awaited = "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await"
                awaitable = getattr(awaitable, awaited, None)
                break
        else:
            return
