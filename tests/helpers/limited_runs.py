"""A limit for the processes that tests wait for: one that hangs is a failure that shows where."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

import pytest

from tests.helpers.warm_python import WarmProcess, WarmPython

#: Seconds. The slowest process of the suite takes a minute on a busy machine.
LIMIT: Final = 300


#: The processes of one worker come from one server.
warm_python: Final = WarmPython()


def _warm(command: Sequence[str], **options: Any) -> WarmProcess | None:
    """Run `python -mpytest`, as pytester writes it, in a process that needn't import the libraries.

    `None` where a run may see a difference; `python -m pytest` is always a new interpreter.
    """
    files = options.pop("stdout", None), options.pop("stderr", None)
    stdin = options.pop("stdin", pytest.Pytester.CLOSE_STDIN)
    is_plain = stdin is pytest.Pytester.CLOSE_STDIN and not options and all(hasattr(file, "fileno") for file in files)
    if not is_plain or tuple(command[:2]) != (sys.executable, "-mpytest") or not hasattr(os, "fork"):
        return None
    path = os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH"))))
    return warm_python.run(command[2:], cwd=str(Path.cwd()), path=path, stdout=files[0], stderr=files[1])


def limit_runs(pytester: pytest.Pytester, limit: float = LIMIT) -> None:
    """Let `pytester.run`, and what is built on it, end a process after `limit` seconds. The error says what it printed.

    Python ends with the stack of each thread, as pytest lets faulthandler write it.
    """
    run: Callable[..., pytest.RunResult] = pytester.run
    popen: Callable[..., Popen[Any]] = pytester.popen

    def limited(*arguments: Any, timeout: float | None = None, **options: Any) -> pytest.RunResult:
        try:
            return run(*arguments, timeout=timeout or limit, **options)
        except pytester.TimeoutExpired as error:
            for name in ("stdout", "stderr"):
                error.add_note((pytester.path / name).read_text(errors="replace"))
            raise

    def abortable(command: Sequence[str], **options: Any) -> Popen[Any] | WarmProcess:
        process = _warm(command, **options) or popen(command, **options)
        process.kill = partial(process.send_signal, signal.SIGABRT)  # type: ignore[method-assign]
        return process

    pytester.run = limited  # type: ignore[method-assign]
    pytester.popen = abortable  # type: ignore[method-assign]
