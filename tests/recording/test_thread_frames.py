"""The frames of all threads are read while nothing is collected: Python 3.11 could hang."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from types import FrameType

import pytest

from pytest_langfuse.recording.langfuse_calls import outwards
from pytest_langfuse.recording.thread_frames import frames_of_threads
from tests.helpers.limited_runs import LIMIT

collects_anywhere = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="since Python 3.12, garbage is not collected inside of a C function"
)

#: The collection that begins with the n-th new object frees a `threading.local`. Each new thread has a new frame.
HANGS = """
import gc
import threading
from pytest_langfuse.recording.langfuse_calls import outwards
from pytest_langfuse.recording.thread_frames import frames_of_threads

class Cycle:
    def __init__(self):
        self.itself, self.local = self, threading.local()
        self.local.value = 1

for number in range(1, 20):
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(10)]
    for thread in threads:
        thread.start()
    gc.disable()
    garbage = Cycle()
    gc.collect(0)
    del garbage
    gc.set_threshold(number, 0, 1_000)
    gc.enable()
    assert len(frames_of_threads()) == 11
    assert gc.isenabled()
    done.set()
    for thread in threads:
        thread.join()
print("done")
"""


def test_frames_of_threads() -> None:
    frame = frames_of_threads()[threading.get_ident()]
    while frame.f_code.co_name != "test_frames_of_threads":
        assert frame.f_back is not None
        frame = frame.f_back


@collects_anywhere
def test_it_does_not_hang() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, check=True, timeout=LIMIT)
    assert done.stdout == "done\n"


@collects_anywhere
def test_threads_that_read_them_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one waits until the first has ended its pause."""
    first, second = threading.Thread(target=frames_of_threads), threading.Thread(target=frames_of_threads)
    collects: list[bool] = []
    waited: list[bool] = []
    current_frames = sys._current_frames

    def noted() -> dict[int, FrameType]:
        collects.append(gc.isenabled())
        if threading.current_thread() is first:
            second.start()
            second.join(0.1)
            waited.append(second.is_alive())
        return current_frames()

    monkeypatch.setattr(sys, "_current_frames", noted)
    first.start()
    first.join()
    second.join()
    assert (collects, waited) == ([False, False], [True])
    assert gc.isenabled()


@collects_anywhere
def test_an_application_that_has_paused_it_keeps_its_pause() -> None:
    gc.disable()
    try:
        frames_of_threads()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_thread_that_is_just_calling_a_function_ends_the_walk():
    """Python 3.11 has given its code object in place of its frame."""
    frame = sys._getframe()
    assert list(outwards(frame.f_code)) == []  # type: ignore[arg-type]
    assert next(iter(outwards(frame))) is frame
