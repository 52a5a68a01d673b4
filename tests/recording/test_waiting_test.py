"""What counts as waiting for Langfuse: the test's own wait, in whatever way it waits."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_langfuse.recording.langfuse_calls import HARNESS, CallSite
from pytest_langfuse.recording.waiting_test import threads_in_langfuse, waits_at

INSTALLED = sysconfig.get_path("purelib")


def module(name: str, source: str, file: str = "module.py", **values: Any) -> dict[str, Any]:
    """Return the names of a module that counts as installed."""
    namespace = {"__name__": name, **values}
    exec(compile(source, f"{INSTALLED}/{file}", "exec"), namespace)
    return namespace


class Released:
    """What the threads of a test wait for: nothing ends before the test has looked."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.waiting = threading.Semaphore(0)
        self.langfuse = module(
            "langfuse._client.client",
            "def flush(): block()\n\nasync def aflush(): await ablock()\n\ndef call(function): function()\n",
            block=self.block,
            ablock=self.ablock,
        )
        self.flush: Callable[[], None] = self.langfuse["flush"]
        self.aflush: Callable[[], Any] = self.langfuse["aflush"]

    @property
    def block(self) -> Callable[[], None]:
        """A call of a library that waits, as httpx does."""
        source = "def block():\n    waiting.release()\n    event.wait()\n"
        block: Callable[[], None] = module("httpx", source, waiting=self.waiting, event=self.event)["block"]
        return block

    @property
    def ablock(self) -> Callable[[], Any]:
        source = "async def ablock():\n    waiting.release()\n    while not event.is_set(): await asyncio.sleep(0.01)\n"
        values = {"waiting": self.waiting, "event": self.event, "asyncio": asyncio}
        ablock: Callable[[], Any] = module("httpx", source, **values)["ablock"]
        return ablock


@pytest.fixture
def released() -> Iterator[Released]:
    released = Released()
    yield released
    released.event.set()


def observed(test: Callable[[], object], released: Released, *, waiting: int = 1) -> CallSite | None:
    """Run `test` in a thread until `waiting` calls block, and return where it waits."""
    thread = threading.Thread(target=test, daemon=True)
    # Not their identifiers: a new thread gets that of one which has just ended.
    before = {*threading.enumerate(), thread}
    thread.start()
    for _ in range(waiting):
        assert released.waiting.acquire(timeout=10)
    # The thread of the test may not have begun to wait for the other yet, and may wait for that one's start.
    looks: list[CallSite | None] = []
    while len(looks) < 300 and (len(looks) < 100 or looks[-1] != looks[-5]):
        frames = dict(sys._current_frames())
        assert thread.ident
        others = {other.ident for other in threading.enumerate() if other not in before}
        looks.append(waits_at(thread.ident, frames, frames.keys() & others))
        time.sleep(0.001)
    return looks[-1]


def test_the_test_itself(released: Released) -> None:
    def app() -> None:
        released.flush()

    site = observed(app, released)
    assert site
    assert str(site).endswith("in test_the_test_itself.<locals>.app, calling flush")
    assert site.path.endswith("test_waiting_test.py")
    assert site.line == app.__code__.co_firstlineno + 1


def test_join(released: Released) -> None:
    def test() -> None:
        thread = threading.Thread(target=app, daemon=True)
        thread.start()
        thread.join(10)

    def app() -> None:
        released.flush()

    site = observed(test, released)
    assert site
    assert site.function.endswith("app")


def test_a_result_of_an_executor(released: Released) -> None:
    def test() -> None:
        with concurrent.futures.ThreadPoolExecutor() as executor:
            executor.submit(app).result(timeout=10)

    def app() -> None:
        released.flush()

    site = observed(test, released)
    assert site
    assert site.function.endswith("app")


@pytest.mark.parametrize("how", ["wait", "as_completed", "shutdown", "map"])
def test_other_ways_to_wait_for_an_executor(released: Released, how: str) -> None:
    def test() -> None:
        with concurrent.futures.ThreadPoolExecutor() as executor:
            if how == "map":
                list(executor.map(lambda _: app(), range(2)))
            futures = [executor.submit(app)]
            if how == "wait":
                concurrent.futures.wait(futures, timeout=10)
            elif how == "as_completed":
                list(concurrent.futures.as_completed(futures, timeout=10))

    def app() -> None:
        released.flush()

    assert observed(test, released) is not None


def test_a_queue_that_another_thread_fills(released: Released) -> None:
    def test() -> None:
        answers: queue.Queue[None] = queue.Queue()
        threading.Thread(target=app, args=(answers,), daemon=True).start()
        answers.get(timeout=10)

    def app(answers: queue.Queue[None]) -> None:
        released.flush()
        answers.put(None)

    assert observed(test, released) is not None


def test_a_chain_of_threads(released: Released) -> None:
    def test() -> None:
        thread = threading.Thread(target=middle, daemon=True)
        thread.start()
        thread.join()

    def middle() -> None:
        with concurrent.futures.ThreadPoolExecutor() as executor:
            executor.submit(app).result()

    def app() -> None:
        released.flush()

    site = observed(test, released)
    assert site
    assert site.function.endswith("app")


@pytest.mark.parametrize("how", ["await", "task", "to_thread", "call in the loop"])
def test_an_event_loop(released: Released, how: str) -> None:
    async def test() -> None:
        match how:
            case "await":
                await app()
            case "task":
                await asyncio.gather(asyncio.create_task(app()), asyncio.Event().wait())
            case "to_thread":
                await asyncio.to_thread(released.flush)
            case _:
                released.flush()

    async def app() -> None:
        await released.aflush()

    if how == "to_thread":
        # The caller in the thread is asyncio alone: there is no line of the application to name.
        released.flush = module("app", "def to_langfuse():\n    flush()\n", flush=released.flush)["to_langfuse"]
    assert observed(lambda: asyncio.run(test()), released) is not None


def test_an_event_loop_of_another_thread(released: Released) -> None:
    """As in the test clients of web frameworks."""

    def test() -> None:
        loop = asyncio.new_event_loop()
        threading.Thread(target=lambda: loop.run_until_complete(asyncio.Event().wait()), daemon=True).start()
        asyncio.run_coroutine_threadsafe(app(), loop).result()

    async def app() -> None:
        await released.aflush()

    site = observed(test, released)
    assert site
    assert site.function.endswith("app")


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param(lambda: time.sleep(30), id="sleep"),
        pytest.param(lambda: threading.Event().wait(30), id="a wait that is a sleep"),
        pytest.param(lambda: asyncio.run(asyncio.sleep(30)), id="sleep of asyncio"),
        pytest.param(
            lambda: subprocess.run([sys.executable, "-c", "import time; time.sleep(3)"], check=False), id="process"
        ),
    ],
)
def test_a_thread_that_nobody_waits_for(released: Released, meanwhile: Callable[[], object]) -> None:
    def test() -> None:
        threading.Thread(target=app, daemon=True).start()
        meanwhile()

    def app() -> None:
        released.flush()

    assert observed(test, released) is None


def test_joining_one_thread_while_another_is_blocked(released: Released) -> None:
    def test() -> None:
        threading.Thread(target=app, daemon=True).start()
        other = threading.Thread(target=released.event.wait, daemon=True)
        other.start()
        other.join()

    def app() -> None:
        released.flush()

    assert observed(test, released) is None


def test_what_earlier_tests_have_left_behind(released: Released) -> None:
    def app() -> None:
        released.flush()

    left = threading.Thread(target=app, daemon=True)
    left.start()
    assert released.waiting.acquire(timeout=10)
    assert left.ident in threads_in_langfuse(dict(sys._current_frames()))


def test_the_thread_of_the_sdk_itself(released: Released) -> None:
    def test() -> None:
        threading.Thread(target=released.flush, daemon=True).start()
        released.event.wait()

    assert observed(test, released) is None


def test_an_application_that_is_installed(released: Released) -> None:
    def test() -> None:
        thread = threading.Thread(target=module("shop", "def pay():\n    flush()\n", flush=released.flush)["pay"])
        thread.daemon = True
        thread.start()
        thread.join()

    site = observed(test, released)
    assert site == CallSite("module.py", 2, "pay", "flush")


@pytest.mark.parametrize("name", ["langfuse._client.observe", "langfuse.openai", "pytest_langfuse.tracing.web.wsgi"])
def test_what_a_wrapper_calls_is_not_langfuse(released: Released, name: str) -> None:
    wrapper = module(name, "def call(function):\n    function()\n")["call"]

    def test() -> None:
        wrapper(released.block)

    assert observed(test, released) is None


def test_what_langfuse_calls_back_is_the_application(released: Released) -> None:
    def mask() -> None:
        released.block()

    def test() -> None:
        released.langfuse["call"](mask)

    assert observed(test, released) is None


def test_an_import_is_no_wait(released: Released) -> None:
    """The SDK imports on demand: that takes seconds, and happens without an outage, too."""

    def test() -> None:
        source = "import pytest_langfuse_blocks\n"
        with contextlib.suppress(ModuleNotFoundError):
            module("langfuse._client.client", source)

    finder = type("Finder", (), {"find_spec": staticmethod(lambda *_: released.block())})
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        assert observed(test, released) is None
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]


def test_a_flush_of_the_harness_is_not_the_applications(released: Released) -> None:
    harness = module("pytest_langfuse.recording.recorder", "def flush_all():\n    flush()\n", flush=released.flush)

    def test() -> None:
        harness["flush_all"]()

    assert observed(test, released) is HARNESS


def test_a_hook_is_not_the_harness(released: Released) -> None:
    hook = module("pytest_langfuse.recording.sdk", "def hooked():\n    flush()\n", flush=released.flush)["hooked"]

    def test() -> None:
        hook()

    site = observed(test, released)
    assert site
    assert site.function.endswith("test")


def test_the_outermost_call_of_langfuse_is_named(released: Released) -> None:
    inner = module("opentelemetry.sdk.trace.export", "def force_flush(): flush()", flush=released.block)["force_flush"]
    outer = module("langfuse.api", "def flush_all(): flush()", flush=inner)["flush_all"]

    def test() -> None:
        outer()

    site = observed(test, released)
    assert site
    assert site.call == "flush_all"


def test_a_package_whose_name_only_begins_alike_is_not_langfuse(released: Released) -> None:
    other = module("langfuse_tools.client", "def flush(): wait()", wait=released.block)["flush"]

    def test() -> None:
        other()

    assert observed(test, released) is None
