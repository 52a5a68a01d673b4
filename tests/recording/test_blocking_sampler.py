"""Where a test waits for Langfuse, seen by samples of the stacks."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pytest_langfuse.recording import blocking_sampler
from pytest_langfuse.recording.blocking_sampler import BlockingSampler, Wait


def function_of(module: str, source: str, name: str, **names: object) -> Callable[..., None]:
    """A function that was defined in a module of that name, in the file that is its path."""
    namespace = types.ModuleType(module)
    namespace.__dict__.update(names)
    exec(compile(source, f"/app/{module.replace('.', '/')}.py", "exec"), namespace.__dict__)
    return namespace.__dict__[name]


class CountingEvent(threading.Event):
    """Let the sampler take a given number of samples at once, then hold it until the block ends."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.left = samples
        self.taken = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == blocking_sampler._INTERVAL
        if self.left:
            self.left -= 1
            return False
        self.taken.set()
        return super().wait()


@contextmanager
def waiting_in(function: Callable[..., None]) -> Iterator[None]:
    """Run the block while a thread waits inside `function`."""
    entered, release = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        release.wait()

    thread = threading.Thread(target=function, args=(wait,))
    thread.start()
    assert entered.wait(10)
    try:
        yield
    finally:
        release.set()
        thread.join()


def longest(samples: int = 3) -> Wait | None:
    sampler = BlockingSampler()
    sampler._stop = event = CountingEvent(samples)
    with sampler:
        assert event.taken.wait(10)
    assert not sampler._thread.is_alive()
    return sampler.longest()


LANGFUSE = function_of("langfuse._client.client", "def flush(wait):\n    wait()\n", "flush")
APP = "def answer(wait):\n    done = 1\n    flush(wait)\n"


def test_the_line_of_the_app_is_named_with_the_call_and_the_time():
    with waiting_in(function_of("shop.chain", APP, "answer", flush=LANGFUSE)):
        wait = longest(samples=10)
    assert wait == Wait("chain.py", 3, "answer", "flush", 10 * blocking_sampler._INTERVAL)
    assert str(wait) == "blocked 0.2 s at chain.py:3 in answer, calling flush"


def test_the_outermost_call_of_langfuse_is_named():
    inner = function_of("opentelemetry.sdk.trace.export", "def force_flush(wait):\n    wait()\n", "force_flush")
    outer = function_of("langfuse.api", "def flush_all(wait):\n    inner(wait)\n", "flush_all", inner=inner)
    with waiting_in(function_of("shop", APP, "answer", flush=outer)):
        wait = longest()
    assert wait is not None
    assert (wait.path, wait.call) == ("shop.py", "flush_all")


def test_a_thread_that_waits_for_something_else_is_not_counted():
    with waiting_in(function_of("shop", APP, "answer", flush=lambda wait: wait())):
        assert longest() is None


def test_a_thread_of_the_sdk_itself_is_not_counted():
    with waiting_in(LANGFUSE):
        assert longest() is None


def test_a_package_whose_name_only_begins_alike_is_not_langfuse():
    other = function_of("langfuse_tools.client", "def flush(wait):\n    wait()\n", "flush")
    with waiting_in(function_of("shop", APP, "answer", flush=other)):
        assert longest() is None


def test_the_line_with_the_most_samples_is_the_longest():
    sampler = BlockingSampler()
    sampler._seen.update({("a.py", 1, "f", "flush"): 2, ("b.py", 2, "g", "get_prompt"): 5})
    assert sampler.longest() == Wait("b.py", 2, "g", "get_prompt", 5 * blocking_sampler._INTERVAL)
