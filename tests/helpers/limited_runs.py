"""A limit for the processes that tests wait for: one that hangs is a failure that shows where."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from subprocess import Popen
from typing import Any, Final

import pytest

#: Seconds. The slowest process of the suite takes a minute on a busy machine.
LIMIT: Final = 300


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

    def abortable(*arguments: Any, **options: Any) -> Popen[Any]:
        process = popen(*arguments, **options)
        process.kill = partial(process.send_signal, signal.SIGABRT)  # type: ignore[method-assign]
        return process

    pytester.run = limited  # type: ignore[method-assign]
    pytester.popen = abortable  # type: ignore[method-assign]
