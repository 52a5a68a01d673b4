"""Measure how long a test waits for Langfuse, and where, by samples of its thread's stack."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple, Self

from pytest_langfuse.recording.langfuse_calls import HARNESS, CallSite
from pytest_langfuse.recording.waiting_test import threads_in_langfuse, waits_at

#: Seconds between two samples.
_INTERVAL = 0.02
#: The share of a processor below which a thread waits; a busy machine lets one that computes have little.
_IDLE = 0.1
#: The shortest wait that is worth a line of a report, in seconds.
_SHORTEST = 0.1


class Wait(NamedTuple):
    """The wait of a test for Langfuse: `seconds` in all, `longest` of them at `site`; `ended` if a limit ended it."""

    seconds: float
    site: CallSite
    longest: float
    ended: bool = False

    def __str__(self) -> str:
        most = "" if self.seconds - self.longest < _SHORTEST else f", {self.longest:.1f} s of them"
        ended = " (ended by langfuse_outage_timeout)" if self.ended else ""
        return f"blocked {self.seconds:.1f} s{most} at {self.site}{ended}"


#: The seconds of each line up to some moment.
Mark = Mapping[CallSite, float]


class BlockingSampler:
    """Samples the thread that enters it, until it is left.

    `limit` is in seconds; once the waits of the test and of the harness reach it, `on_limit` is called, in another
    thread. The time that several threads wait at the same moment counts once.
    """

    # An attribute of the class: freezegun replaces those of modules.
    _clock = staticmethod(time.monotonic)

    def __init__(self, *, limit: float | None = None, on_limit: Callable[[], None] = lambda: None) -> None:
        self._limit = limit
        self._on_limit = on_limit
        self._ended = False
        self._blocked: defaultdict[CallSite, float] = defaultdict(float)
        self._test_thread = 0
        self._cpu_clock: int | None = None
        self._abandoned: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pytest-langfuse-sampler", daemon=True)

    def __enter__(self) -> Self:
        self._test_thread = threading.get_ident()
        if hasattr(time, "pthread_getcpuclockid"):
            self._cpu_clock = time.pthread_getcpuclockid(self._test_thread)
        # What earlier tests have left behind is not what this one waits for.
        self._abandoned = threads_in_langfuse(sys._current_frames())  # noqa: SLF001 - see `_run`
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def mark(self) -> Mark:
        """Return the waits so far, for `wait`."""
        return self._blocked.copy()

    def wait(self, since: Mark | None = None) -> Wait | None:
        """Return how long the test has waited for Langfuse, altogether or since `mark`; `None` if not noticeably."""
        before = since or {}
        blocked = {
            site: seconds - before.get(site, 0.0)
            for site, seconds in self._blocked.copy().items()
            if site is not HARNESS
        }
        seconds = sum(blocked.values())
        if seconds < _SHORTEST:
            return None
        site, longest = max(blocked.items(), key=lambda item: item[1])
        return Wait(seconds, site, longest, self._ended)

    def _run(self) -> None:
        last, used = self._clock(), self._cpu_seconds()
        while not self._stop.wait(_INTERVAL):
            now, used_now = self._clock(), self._cpu_seconds()
            # A thread that computes does not wait, whatever it computes for.
            if used_now - used < (now - last) * _IDLE and (site := self._sample()) is not None:
                self._blocked[site] += now - last
                self._check_limit()
            last, used = now, used_now

    def _sample(self) -> CallSite | None:
        frames = dict(sys._current_frames())  # noqa: SLF001 - the documented way to see other threads
        others = frames.keys() - {threading.get_ident(), self._test_thread}
        if self._abandoned:
            self._abandoned &= threads_in_langfuse(frames)
        return waits_at(self._test_thread, frames, others - self._abandoned)

    def _check_limit(self) -> None:
        if self._limit is not None and not self._ended and sum(self._blocked.values()) >= self._limit:
            self._ended = True
            self._on_limit()

    def _cpu_seconds(self) -> float:
        """Return the processor time that the thread of the test has used; 0 where the system does not say."""
        if self._cpu_clock is None:
            return 0.0
        try:
            return time.clock_gettime(self._cpu_clock)
        except OSError:  # the thread has ended
            return 0.0
