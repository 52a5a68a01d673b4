"""A pytest plugin that measures a run from inside: the time between the first test and the last, threads, memory."""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

#: The first figures for growth are taken here: by then caches are filled.
WARM = 100

done = 0
readings: dict[str, float] = {}


def _memory() -> float:
    """Resident memory in MB; where there is no /proc, its peak so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return pages * resource.getpagesize() / (1 << 20)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop() -> Iterator[None]:
    """Time the loop."""
    # The first full collection looks at all that was imported: 60 ms, which some suites make enough objects to reach.
    gc.collect()
    started, cpu = time.perf_counter(), time.process_time()
    result = yield
    readings["seconds"] = time.perf_counter() - started
    readings["cpu_seconds"] = time.process_time() - cpu
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Read threads and memory when warm, and after the last test."""
    global done  # noqa: PLW0603 - a count of this process
    result = yield
    done += 1
    if done == WARM:
        _read("warm")
    return result


def pytest_sessionfinish(exitstatus: int) -> None:
    """Write the figures down."""
    _read("end")
    readings["tests"], readings["exit_status"] = done, exitstatus
    Path(os.environ["BENCHMARK_READINGS"]).write_text(json.dumps(readings), encoding="utf-8")


def _read(when: str) -> None:
    readings[f"threads_{when}"], readings[f"memory_{when}"] = threading.active_count(), _memory()
