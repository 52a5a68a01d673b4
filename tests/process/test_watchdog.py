"""The process that ends what a test has started when pytest itself is killed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_langfuse.process.watchdog import Watchdog

pytestmark = pytest.mark.slow


@pytest.fixture
def groups() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes, each in a group of its own."""
    started = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2)]
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_a_group_that_is_forgotten_is_not_killed(groups: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    """By then the system may have given its id to another one."""
    folder = tmp_path / "ledger"
    folder.mkdir()
    watchdog = Watchdog(folder)
    for process in groups:
        watchdog.watch(process.pid)
    forgotten, watched = groups
    watchdog.forget(forgotten.pid)
    watchdog.close()

    assert watched.wait(timeout=10) == -signal.SIGKILL
    # The watchdog has exited, so whatever it kills is killed.
    assert forgotten.poll() is None
    assert not folder.exists()
