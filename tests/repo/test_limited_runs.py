"""No test waits for a process for ever."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.limited_runs import LIMIT, limit_runs
from tests.helpers.paths import ROOT

WAITS = {f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output")}
#: The way in which a call without a limit waits is what this one is about.
WITHOUT = {"tests/recording/test_waiting_test.py"}

HANGS = """
import os
import sys

print("begun", flush=True)
os.mkfifo("fifo")
open("fifo")
"""


def test_each_call_that_waits_for_a_process_has_a_limit() -> None:
    unlimited = [
        f"{name}:{node.lineno}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if (name := str(path.relative_to(ROOT))) not in WITHOUT and "subprocess." in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in WAITS
        if not {"timeout", None}.intersection(keyword.arg for keyword in node.keywords)
    ]
    assert unlimited == []


def test_each_run_of_pytester_has_a_limit(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float | None] = []
    wait = subprocess.Popen.wait

    def noted(process: subprocess.Popen[Any], timeout: float | None = None) -> int:
        given.append(timeout)
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", noted)
    pytester.run(sys.executable, "-S", "-c", "")
    pytester.run(sys.executable, "-S", "-c", "", timeout=LIMIT + 1)
    assert given == [LIMIT, LIMIT + 1]


def test_a_run_that_hangs_shows_what_it_printed_and_where_it_is(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = subprocess.Popen.wait

    def once_it_hangs(process: subprocess.Popen[Any], timeout: float | None = None) -> int:
        while not Path("fifo").exists():
            assert process.poll() is None
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", once_it_hangs)
    limit_runs(pytester, 0.1)
    hangs = pytester.makepyfile(hangs=HANGS)
    with pytest.raises(pytester.TimeoutExpired) as error:
        pytester.run(sys.executable, "-X", "faulthandler", hangs)
    assert error.value.__notes__[0] == "begun\n"
    assert 'hangs.py", line' in error.value.__notes__[1]
