"""Runs of pytest in a process that has imported the libraries are like those in a new one."""

from __future__ import annotations

import signal

import pytest

ABOUT = """
import os
import sys

PRELOADED = {"httpx", "opentelemetry.sdk.trace", "pydantic"} & set(sys.modules)

def test_about():
    print("langfuse" in sys.modules, bool(PRELOADED), sys.path[0] == os.getcwd(), os.environ.get("OF_THE_RUN"))
    print(sys.__stdin__.read())
"""


def about(run: pytest.RunResult) -> str:
    (line,) = [line for line in run.outlines if line.endswith(("None", "here"))]
    return line.rpartition("test_about ")[2].rpartition(".py ")[2]


def test_a_run_has_its_own_environment_and_folder(pytester, monkeypatch):
    pytester.makepyfile(ABOUT)
    monkeypatch.setenv("OF_THE_RUN", "here")
    assert about(pytester.runpytest_subprocess("-s", "-p", "no:langfuse")) == "False True True here"


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "OTEL_BSP_MAX_QUEUE_SIZE", "PYDANTIC_DISABLE_PLUGINS"])
def test_what_is_read_once_takes_a_new_interpreter(pytester, monkeypatch, name):
    pytester.makepyfile(ABOUT)
    monkeypatch.setenv(name, "7")
    assert about(pytester.runpytest_subprocess("-s", "-p", "no:langfuse")) == "False False True None"


def test_how_a_run_ends(pytester):
    pytester.makepyfile(
        test_fails="def test_it(): assert 0",
        test_ends="""
        import os
        import signal

        def test_it():
            os.kill(os.getpid(), signal.SIGTERM)
        """,
        test_exits="""
        import atexit
        import os

        def test_it():
            atexit.register(print, "at exit", flush=True)
            atexit.register(os.write, 2, b"to stderr")
        """,
    )
    assert pytester.runpytest_subprocess("test_fails.py").ret == 1
    assert pytester.runpytest_subprocess("test_ends.py").ret == -signal.SIGTERM
    run = pytester.runpytest_subprocess("test_exits.py")
    assert (run.ret, run.outlines[-1], run.errlines) == (0, "at exit", ["to stderr"])


def test_one_that_hangs_is_ended(pytester):
    pytester.makepyfile("""
        import time

        def test_it():
            time.sleep(300)
    """)
    with pytest.raises(pytester.TimeoutExpired):
        pytester.runpytest_subprocess(timeout=1)
