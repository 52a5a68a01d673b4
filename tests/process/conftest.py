"""Scripts to run in processes, and an environment without the developer's settings."""

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_langfuse.captured_test import CapturedTest
from pytest_langfuse.session import session_key

#: Variables that the capture sets.
OURS = {"LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY", "LANGFUSE_TIMEOUT"}

HEAD = """
import asyncio, multiprocessing, os, signal, sys, threading, time
from langfuse import Langfuse, get_client

def observe(count=10, prefix="s", client=get_client):
    for number in range(count):
        with client().start_as_current_observation(name=f"{prefix}{number}"):
            pass

def ready():
    print("ready", flush=True)
"""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("LANGFUSE_", "OTEL_")) and name not in OURS:
            monkeypatch.delenv(name)


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a script which can make observations, and returns its path."""

    def write(body: str, name: str = "script.py", head: str = HEAD) -> Path:
        path = tmp_path / name
        path.write_text(head + textwrap.dedent(body))
        return path

    return write


@pytest.fixture
def captured_test(request: pytest.FixtureRequest) -> CapturedTest:
    """The test that runs, as the plugin captures it."""
    return request.config.stash[session_key].captured(request.node.nodeid)
