"""Shared by all tests."""

import asyncio
import os
from collections.abc import Iterator

import langfuse  # noqa: F401 - pytester's in-process runs forget modules that they were the first to import: 300 ms each
import pytest

from pytest_langfuse.expect.text import style

pytest_plugins = ["pytester"]

# Without cached bytecode each run of pytest in a subprocess compiles the plugins that are installed here: two seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session", autouse=True)
def _without_plugins_of_libraries():
    """Keep plugins out of runs in a subprocess of libraries under test: each takes half a second to import."""
    names = ("langsmith_plugin", "logfire", "pytest_logfire")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{name}" for name in names))
        yield


# A main thread that was never told which event loop is its own makes one when it is asked, as pytest-asyncio does
# before version 1.4, and nobody closes it.
asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def _no_terminal() -> Iterator[None]:
    """Failures of captured tests of this suite are not wrapped, whatever the terminal that it runs in."""
    restore = style.configure()
    yield
    restore()
