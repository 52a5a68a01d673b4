"""Measure how long a test waits for Langfuse, and where, by samples of its thread's stack."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Self

from pytest_langfuse.recording.langfuse_calls import HARNESS, CallSite
from pytest_langfuse.recording.supplied_timeout import SHORTENED_BY
from pytest_langfuse.recording.thread_frames import frames_of_threads
from pytest_langfuse.recording.waiting_test import threads_in_langfuse, waits_at

#: Seconds between two samples.
_INTERVAL = 0.02
#: The share of a processor below which a thread waits; a busy machine lets one that computes have little.
_IDLE = 0.1
#: The shortest wait that is worth a line of a report, in seconds.
_SHORTEST = 0.1


class Wait(NamedTuple):
    """The wait of a test for Langfuse: `seconds` in all, `longest` of them at `site`; `ended` if a limit ended it.

    `shortened` are the seconds that it would have lasted longer, at most, without the timeout that capture supplies.
    """

    seconds: float
    site: CallSite
    longest: float
    ended: bool = False
    shortened: float = 0.0

    @property
    def unshortened(self) -> float:
        """The seconds that the test would have waited at most if capture had supplied no timeout."""
        return self.seconds + self.shortened

    def __str__(self) -> str:
        unshortened = without_time_limit(self.seconds, self.shortened)
        most = "" if self.seconds - self.longest < _SHORTEST else f", {self.longest:.1f} s of them"
        ended = " (ended by langfuse_outage_timeout)" if self.ended else ""
        return f"blocked {self.seconds:.1f} s{unshortened and f' ({unshortened})'}{most} at {self.site}{ended}"


def without_time_limit(seconds: float, shortened: float) -> str:
    """Return how long a wait would have been without the timeout that capture supplies; empty if as long as it was."""
    return f"up to {seconds + shortened:.1f} s without the time limit of the capture" if shortened else ""


class Mark(NamedTuple):
    """The seconds of each line up to some moment: those that the test was blocked, and those that were cut short."""

    blocked: Mapping[CallSite, float]
    shortened: Mapping[CallSite, float]


class BlockingSampler:
    """Samples the thread that enters it, until it is left.

    `limit` is in seconds; once the waits of the test and of the harness reach it, `on_limit` is called, in another
    thread; so is `on_sample`, at the beginning, after each sample and by `look`. The time that several threads wait at
    the same moment counts once. A wait is never measured shorter than it was, so that a timeout of a second is always a
    wait of a second.
    """

    # An attribute of the class: freezegun replaces those of modules.
    _clock = staticmethod(time.monotonic)

    def __init__(
        self,
        *,
        limit: float | None = None,
        on_limit: Callable[[], None] = lambda: None,
        on_sample: Callable[[], None] = lambda: None,
    ) -> None:
        self._limit = limit
        self._on_limit = on_limit
        self._on_sample = on_sample
        self._ended = False
        self._blocked: defaultdict[CallSite, float] = defaultdict(float)
        self._shortened: defaultdict[CallSite, float] = defaultdict(float)
        #: When a request was last cut short; one that was open then would have waited at the same time.
        self._cut = -math.inf
        self._current = _OpenWait()
        self._last = self._used = 0.0
        self._test_thread = 0
        self._cpu_clock: int | None = None
        self._abandoned: set[int] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pytest-langfuse-sampler", daemon=True)

    def __enter__(self) -> Self:
        self._test_thread = threading.get_ident()
        if hasattr(time, "pthread_getcpuclockid"):
            self._cpu_clock = time.pthread_getcpuclockid(self._test_thread)
        # What earlier tests have left behind is not what this one waits for.
        self._abandoned = threads_in_langfuse(frames_of_threads())
        self._last, self._used = self._clock(), self._cpu_seconds()
        self._on_sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._measure()
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Let `on_sample` be called now, since something begins or ends that it wants to know."""
        self._on_sample()

    def mark(self) -> Mark:
        """Return the waits so far, for `wait`."""
        self._measure()
        return Mark(self._blocked.copy(), self._shortened.copy())

    def wait(self, since: Mark | None = None) -> Wait | None:
        """Return how long the test has waited for Langfuse, altogether or since `mark`; `None` if not noticeably."""
        now, before = self.mark(), since or Mark({}, {})
        blocked, shortened = _later(now.blocked, before.blocked), _later(now.shortened, before.shortened)
        total = {site: blocked.get(site, 0.0) + shortened.get(site, 0.0) for site in blocked | shortened}
        if sum(total.values()) < _SHORTEST:
            return None
        site = max(total, key=total.__getitem__)
        return Wait(
            math.fsum(blocked.values()), site, blocked.get(site, 0.0), self._ended, math.fsum(shortened.values())
        )

    def cut_short(self, began: float) -> None:
        """Count a request that capture's timeout has just ended, if the test waits for it.

        `began` is the monotonic time of its beginning. Called in the thread of the request.
        """
        if threading.get_ident() == self._test_thread and asyncio._get_running_loop() is None:  # noqa: SLF001 - documented
            frames = frames_of_threads()
            site = waits_at(self._test_thread, frames, ())
        else:
            # Whether the test waits for another thread or a task is what the samples say.
            site = self._current.site
        with self._lock:
            if site is not None and began >= self._cut:
                self._shortened[site] += SHORTENED_BY
                self._cut = self._clock()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self._measure()
            self._on_sample()
            if self._limit is not None and not self._ended and sum(self._blocked.values()) >= self._limit:
                self._ended = True
                self._on_limit()

    def _measure(self) -> None:
        """Add the time since the last sample to the line at which the test waits."""
        with self._lock:
            if self._stop.is_set():
                return
            now, used = self._clock(), self._cpu_seconds()
            elapsed, computed = now - self._last, used - self._used
            self._last, self._used = now, used
            # A thread that computes does not wait, whatever it computes for.
            computes = computed >= elapsed * _IDLE
            site = None if computes else self._sample()
            if site is not None:
                grown = self._current.go_on(site, elapsed)
            else:
                grown = self._current.end(max(elapsed - computed, 0.0), computes=computes)
            for line, seconds in grown:
                self._blocked[line] += seconds

    def _sample(self) -> CallSite | None:
        frames = frames_of_threads()
        others = frames.keys() - {threading.get_ident(), self._thread.ident, self._test_thread}
        if self._abandoned:
            self._abandoned &= threads_in_langfuse(frames)
        return waits_at(self._test_thread, frames, others - self._abandoned)

    def _cpu_seconds(self) -> float:
        """Return the processor time that the thread of the test has used; 0 where the system does not say."""
        if self._cpu_clock is None:
            return 0.0
        try:
            return time.clock_gettime(self._cpu_clock)
        except OSError:  # the thread has ended
            return 0.0


class _OpenWait:
    """A wait that lasts, over several samples. It began before its first sample, and ends after its last one."""

    def __init__(self) -> None:
        self.site: CallSite | None = None
        self._seconds = 0.0
        #: The part of the interval before the first sample that the thread may have waited in, until it is counted.
        self._before = 0.0

    def go_on(self, site: CallSite, elapsed: float) -> Iterator[tuple[CallSite, float]]:
        """Yield the line at which the test waits, and how much longer now."""
        self.site = site
        self._seconds += elapsed
        yield site, elapsed
        # The ends of a wait that is not noticeable are not worth more than chance makes of them.
        if self._before and self._seconds >= _SHORTEST:
            yield site, self._before
            self._before = 0.0

    def end(self, idle: float, *, computes: bool) -> Iterator[tuple[CallSite, float]]:
        """Yield the line at which the test has waited, and how much longer: for a part of the last interval.

        `idle` are the seconds of the interval in which the thread did not compute.
        """
        self._before = idle if computes else 0.0
        if self.site is not None and self._seconds >= _SHORTEST:
            yield self.site, idle
            self._before = 0.0
        self.site, self._seconds = None, 0.0


def _later(now: Mapping[CallSite, float], before: Mapping[CallSite, float]) -> dict[CallSite, float]:
    """Return the seconds of the application's lines since `before`."""
    return {site: seconds - before.get(site, 0.0) for site, seconds in now.items() if site is not HARNESS}
