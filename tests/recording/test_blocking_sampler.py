"""How long a test has waited, over real time but with bounds that a busy machine keeps."""

from __future__ import annotations

import sysconfig
import threading
import time
from collections.abc import Callable

from pytest_langfuse.recording.blocking_sampler import BlockingSampler, Wait
from pytest_langfuse.recording.langfuse_calls import CallSite
from pytest_langfuse.recording.supplied_timeout import SHORTENED_BY

SITE = CallSite("app.py", 3, "answer", "Langfuse.flush")


def langfuse(source: str) -> dict[str, object]:
    """Return the names of a module of Langfuse."""
    names: dict[str, object] = {"__name__": "langfuse._client.client", "time": time, "threading": threading}
    exec(compile(source, f"{sysconfig.get_path('purelib')}/langfuse/client.py", "exec"), names)
    return names


sleep = langfuse("def sleep(seconds): time.sleep(seconds)")["sleep"]
compute = langfuse(
    "def compute(seconds):\n    end = time.thread_time() + seconds\n    while time.thread_time() < end: pass"
)["compute"]


def blocked(*threads: float) -> float:
    """Wait for threads that are in Langfuse so many seconds, and return the seconds that the sampler saw."""
    with BlockingSampler() as sampler:
        begun = [threading.Thread(target=lambda seconds=seconds: sleep(seconds)) for seconds in threads]  # type: ignore[operator, misc]
        for thread in begun:
            thread.start()
        for thread in begun:
            thread.join()
    wait = sampler.wait()
    return 0.0 if wait is None else wait.seconds


def test_threads_at_the_same_moment_count_once() -> None:
    begin = time.monotonic()
    seconds = blocked(0.5, 0.5, 0.5, 0.5)
    assert 0.3 < seconds <= time.monotonic() - begin


def test_no_noticeable_wait_is_none() -> None:
    with BlockingSampler() as sampler:
        pass
    assert sampler.wait() is None


def test_to_compute_is_not_to_wait() -> None:
    begin = time.monotonic()
    with BlockingSampler() as sampler:
        compute(0.3)  # type: ignore[operator]
    # A machine that is busy stops a thread that computes, and that looks like a wait.
    stopped = time.monotonic() - begin - 0.3
    assert (wait := sampler.wait()) is None or wait.seconds <= stopped / 0.9


def test_a_part_of_the_time() -> None:
    with BlockingSampler() as sampler:
        sleep(0.4)  # type: ignore[operator]
        mark = sampler.mark()
        time.sleep(0.1)
        assert sampler.wait(mark) is None
        sleep(0.2)  # type: ignore[operator]
        later, whole = sampler.wait(mark), sampler.wait()
    assert later
    assert whole
    assert whole.seconds - later.seconds > 0.2
    # The line that waited longest is named.
    assert (later.site.line, whole.site.line) == (later.site.line, later.site.line - 4)
    assert whole.longest < whole.seconds


def test_the_limit_is_told_once() -> None:
    told: list[str] = []
    reached = threading.Event()

    def on_limit() -> None:
        told.append(threading.current_thread().name)
        reached.set()

    with BlockingSampler(limit=0.1, on_limit=on_limit) as sampler:
        while not reached.is_set():
            sleep(0.05)  # type: ignore[operator]
        sleep(0.3)  # type: ignore[operator]
    assert told == ["pytest-langfuse-sampler"]
    wait = sampler.wait()
    assert wait
    assert wait.ended


def test_what_an_earlier_test_left_is_not_waited_for() -> None:
    done = threading.Event()
    abandoned = threading.Thread(target=lambda: wait_for(done), daemon=True)
    wait_for = langfuse("def wait_for(event): event.wait()")["wait_for"]
    abandoned.start()
    with BlockingSampler() as sampler:
        threading.Timer(0.4, done.set).start()
        # Not for `abandoned`: for whom, the sampler can't know.
        done.wait()
        left = sampler.wait()
    assert left is None


def test_a_wait_is_never_measured_shorter_than_it_was() -> None:
    """A timeout of a second is a wait of a second: chance must not decide whether that is longer than allowed."""
    for _ in range(5):
        with BlockingSampler() as sampler:
            compute(0.013)  # type: ignore[operator]
            begin = time.monotonic()
            sleep(0.15)  # type: ignore[operator]
            waited = time.monotonic() - begin
            compute(0.013)  # type: ignore[operator]
            wait = sampler.wait()
        assert wait
        assert wait.seconds >= waited


def cut_short(sampler: BlockingSampler, cut: Callable[[BlockingSampler], None], *, waits: bool) -> float:
    """Let `cut` run in a thread of the application, for which the test waits or not, and return what it adds."""
    thread = threading.Thread(target=cut, args=(sampler,))
    thread.start()
    names = langfuse("def join(thread): thread.join()")
    (names["join"] if waits else threading.Thread.join)(thread)  # type: ignore[operator]
    wait = sampler.wait()
    return 0.0 if wait is None else wait.shortened


def after_a_while(sampler: BlockingSampler) -> None:
    began = time.monotonic()
    while not (sampler._current.site or time.monotonic() > began + 0.5):
        time.sleep(0.01)
    sampler.cut_short(began)


def test_a_request_that_is_cut_short_counts_only_if_the_test_waits_for_it() -> None:
    with BlockingSampler() as sampler:
        assert cut_short(sampler, after_a_while, waits=False) == 0.0
        assert cut_short(sampler, after_a_while, waits=True) == SHORTENED_BY
        mark = sampler.mark()
        # In the thread of the test, it can't be otherwise, however quickly it went.
        langfuse_cut = langfuse("def cut(sampler, began): sampler.cut_short(began)")["cut"]
        langfuse_cut(sampler, time.monotonic())  # type: ignore[operator]
        assert (wait := sampler.wait(mark)) is not None
        assert (round(wait.seconds, 1), wait.shortened) == (0.0, SHORTENED_BY)
        sampler.cut_short(time.monotonic())
        assert sampler.wait(mark) == wait


def test_requests_that_were_open_at_the_same_moment_are_cut_short_once() -> None:
    names = langfuse("def cut(sampler, *began):\n    for time in began: sampler.cut_short(time)")
    begin = time.monotonic()
    with BlockingSampler() as sampler:
        names["cut"](sampler, begin, begin, begin)  # type: ignore[operator]
        assert (wait := sampler.wait()) is not None
        assert wait.shortened == SHORTENED_BY
        names["cut"](sampler, time.monotonic())  # type: ignore[operator]
        assert (wait := sampler.wait()) is not None
        assert wait.shortened == 2 * SHORTENED_BY


def test_the_text_of_a_wait() -> None:
    assert str(Wait(1.0, SITE, 1.0, shortened=4.0)) == (
        "blocked 1.0 s (up to 5.0 s without the time limit of the capture) at app.py:3 in answer, "
        "calling Langfuse.flush"
    )
    assert str(Wait(5.01, SITE, 5.0)) == "blocked 5.0 s at app.py:3 in answer, calling Langfuse.flush"
    assert str(Wait(5.0, SITE, 3.0, ended=True)) == (
        "blocked 5.0 s, 3.0 s of them at app.py:3 in answer, calling Langfuse.flush (ended by langfuse_outage_timeout)"
    )
