"""Shared by all tests."""

import asyncio
import atexit
import gc
import importlib
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Before pydantic is imported: logfire's plugin for it takes a third of the time that each process needs for langfuse.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "1"

# isort: split
import hypothesis
import langfuse  # noqa: F401 - pytester's in-process runs forget modules that they were the first to import: 300 ms each
import pytest
from langfuse._client.resource_manager import LangfuseResourceManager
from langfuse._utils import prompt_cache
from opentelemetry import trace as otel_trace
from opentelemetry.util._once import Once

import pytest_langfuse
from pytest_langfuse.expect.text import style
from pytest_langfuse.recording.placeholder import PLACEHOLDER_PUBLIC_KEY
from pytest_langfuse.recording.sdk import hooks
from pytest_langfuse.tracing import singleton
from tests.helpers import slow_plugins
from tests.helpers.limited_runs import limit_runs, warm_python

pytest_plugins = ["pytester"]

# All of it, for the same reason; and so that there is one of each: packages keep modules that are forgotten.
for _module in pkgutil.walk_packages(pytest_langfuse.__path__, "pytest_langfuse."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)

# Hypothesis fails examples that take 200 ms: on a loaded machine any does.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long tests first: one that a worker begins last is one that the others wait for."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Keep what is there from now on out of the garbage collector: each run of pytest in this process ends with one."""
    gc.collect()
    gc.freeze()


# Without cached bytecode each run of pytest in a subprocess compiles the plugins that are installed here: two seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session", autouse=True)
def _without_slow_plugins():
    """Keep plugins that few tests need out of runs of pytest in a subprocess: together they take over a second."""
    with pytest.MonkeyPatch.context() as patch:
        slow_plugins.keep_out(patch)
        with warm_python:
            yield


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A run of pytest in a subprocess may not hang for ever, nor load slow plugins."""
    # pytester itself forgets what the session has set. The configuration of this repository needs pytest-asyncio.
    slow_plugins.keep_out(monkeypatch, "asyncio")
    # Of this run, not of the runs that it tests.
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    limit_runs(pytester)
    in_process = pytester.runpytest

    def runpytest(*arguments: str, **options: Any) -> pytest.RunResult:
        # Workers of xdist are child processes. Those of a run in this process would be children of this run, too, which
        # refuses them the addresses of clients of earlier tests: a server of theirs may have got one.
        run = pytester.runpytest_subprocess if "-n" in arguments else in_process
        return run(*arguments, **options)

    monkeypatch.setattr(pytester, "runpytest", runpytest)
    return pytester


# A main thread that was never told which event loop is its own makes one when it is asked, as pytest-asyncio does
# before version 1.4, and nobody closes it.
asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def _no_terminal() -> Iterator[None]:
    """Failures of captured tests of this suite are not wrapped, whatever the terminal that it runs in."""
    restore = style.configure()
    yield
    restore()


#: They have sockets, of which the interpreter would complain in whatever test it collects them.
_forgotten: list[object] = []


def _end_threads(manager: LangfuseResourceManager) -> None:
    """End the four threads of a client without sending what waits: hundreds of them take a core from the tests."""
    hooks.managers.discard(manager)
    atexit.unregister(manager.shutdown)
    refresh = manager.prompt_cache._task_manager
    atexit.unregister(refresh.shutdown)
    # Version 4 calls it ingestion.
    scores = getattr(manager, "_score_consumers", None) or manager._ingestion_consumers
    for consumer in (*manager._media_upload_consumers, *scores, *refresh._consumers):
        consumer.pause()
    # The others look once a second whether they are paused; in version 4 this one does, too.
    if (sentinel := getattr(prompt_cache, "_SHUTDOWN_SENTINEL", None)) is not None:
        refresh._queue.put(sentinel)
    active = getattr(manager.tracer_provider, "_active_span_processor", None)
    for processor in list(hooks.processors):
        # Not those of other clients of the provider.
        mine = getattr(processor, "public_key", None) == manager.public_key
        if mine and processor in getattr(active, "_span_processors", ()):
            hooks.processors.discard(processor)
            batch = processor._batch_processor
            batch._queue.clear()
            batch._shutdown = True
            batch._worker_awaken.set()


@contextmanager
def _clients_forgotten() -> Iterator[None]:
    """Forget the clients that are built inside of the block, and the provider that one of them makes.

    The next test with the key would get the client, `get_client()` could not choose, and any next client would add its
    span processor to the provider.
    """
    instances = LangfuseResourceManager._instances
    before = set(instances)
    provider, once = otel_trace._TRACER_PROVIDER, otel_trace._TRACER_PROVIDER_SET_ONCE
    yield
    if otel_trace._TRACER_PROVIDER is not provider:
        _forgotten.append(otel_trace._TRACER_PROVIDER)
        otel_trace._TRACER_PROVIDER = provider
        otel_trace._TRACER_PROVIDER_SET_ONCE = once if provider is not None else Once()
    for key in [key for key in instances if key not in before]:
        manager = instances.pop(key)
        if key != PLACEHOLDER_PUBLIC_KEY:
            # That one serves all captured tests of the process.
            _end_threads(manager)
        _forgotten.append(manager)


@pytest.fixture(scope="module", autouse=True)
def _no_client_of_a_module_is_left() -> Iterator[None]:
    """Forget the clients of fixtures that the tests of a module share."""
    with _clients_forgotten():
        yield


@pytest.fixture(autouse=True)
def _no_client_is_left() -> Iterator[None]:
    """Forget the clients of a test, and those that a run of pytest in this process has left; end their tracing."""
    with _clients_forgotten(), singleton.fresh():
        yield
