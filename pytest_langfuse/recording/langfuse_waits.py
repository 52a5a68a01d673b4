"""The time that the application is blocked in calls of Langfuse, taken where these calls are hooked.

A thread that computes does not wait, and neither does one that imports: what `langfuse` imports at its first call is
not Langfuse's answer.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from pytest_langfuse.recording.langfuse_calls import HARNESS, CallSite, call_site, outwards
from pytest_langfuse.recording.start_place import Place, Start, place_of
from pytest_langfuse.recording.supplied_timeout import SHORTENED_BY
from pytest_langfuse.recording.thread_frames import frames_of_threads
from pytest_langfuse.recording.waiting_test import waits_at

if TYPE_CHECKING:
    from types import FrameType

Result = TypeVar("Result")

#: An import reads files, and on a busy machine other processes compute meanwhile: it lasts so many times as long as it
#: computes, at most.
_SLOWEST: Final = 4
#: The shortest wait that is kept, in seconds: finding out where it was takes some microseconds.
_SHORTEST: Final = 0.001


class LangfuseWait(NamedTuple):
    """A wait, in monotonic seconds. `shortened`: by so much it was cut by the timeout that capture supplies."""

    began: float
    ended: float
    shortened: float
    #: The function of Langfuse that the application has called, `Langfuse.flush`.
    call: str
    start: Start | None

    @property
    def place(self) -> Place | None:
        """The statement of the application that waited, if that was to be remembered."""
        return place_of(self.start)


@dataclass(slots=True)
class _OpenCall:
    """A call that a thread is in."""

    #: The number of imported modules when it began.
    modules: int
    #: Seconds of waits, and of what they were cut by, in calls within this one.
    inner: float = 0.0
    shortened: float = 0.0


class WaitTimer:
    """Times calls that may block; calls within a call are part of it. Thread-safe.

    `note(began, ended, shortened)` is called in the thread of a call that has blocked, before the call returns.
    """

    # Attributes of the class: freezegun replaces those of modules.
    _clock = staticmethod(time.monotonic)
    _cpu_seconds = staticmethod(time.thread_time)

    def __init__(self, note: Callable[[float, float, float], None]) -> None:
        self._note = note
        self._local = threading.local()

    def timed(self, call: Callable[[], Result]) -> Result:
        """Make a call, and note how long it has blocked."""
        __tracebackhide__ = True
        outer: _OpenCall | None = getattr(self._local, "call", None)
        self._local.call = this = _OpenCall(len(sys.modules))
        began, used = self._clock(), self._cpu_seconds()
        try:
            return call()
        finally:
            ended = self._clock()
            elapsed, computed = ended - began, self._cpu_seconds() - used
            waited = max(0.0, elapsed - computed)
            if len(sys.modules) != this.modules:
                waited = max(min(waited, this.inner), elapsed - _SLOWEST * computed)
            self._local.call = outer
            if outer is not None:
                outer.inner += waited
                outer.shortened += this.shortened
            elif waited >= _SHORTEST:
                self._note(ended - waited, ended, this.shortened)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Note nothing of what the thread does inside the block: the harness does it."""
        outer: _OpenCall | None = getattr(self._local, "call", None)
        self._local.call = _OpenCall(0)
        try:
            yield
        finally:
            self._local.call = outer

    def cut_short(self) -> None:
        """Count a request of this thread that capture's timeout has just ended."""
        this: _OpenCall | None = getattr(self._local, "call", None)
        if this is not None:
            this.shortened += SHORTENED_BY


def waiting_site(frame: FrameType, test_thread: int) -> CallSite | None:
    """Return where the application has called Langfuse, if the test waits for it; `frame` is the current one."""
    site = call_site(outwards(frame))
    if site is None or site is HARNESS:
        return None
    this = threading.get_ident()
    return site if this == test_thread or waits_at(test_thread, frames_of_threads(), {this}) == site else None


def blocked_seconds(waits: Sequence[LangfuseWait]) -> tuple[float, float]:
    """Return the seconds of all waits, and those by which they were cut; what several threads wait at once is one."""
    seconds = shortened = 0.0
    end, cut = float("-inf"), 0.0
    for wait in sorted(waits, key=lambda wait: (wait.began, wait.ended)):
        if wait.began >= end:
            shortened += cut
            cut = 0.0
        seconds += max(0.0, wait.ended - max(wait.began, end))
        end, cut = max(end, wait.ended), max(cut, wait.shortened)
    return seconds, shortened + cut
