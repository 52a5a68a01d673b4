"""Runs of pytest in processes that have imported the libraries already, which takes longer than most runs themselves.

A server imports them once and forks for each run. Neither langfuse nor pytest-langfuse are among them: when they are
imported is what many tests are about.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

#: Variables that the interpreter, or a library that is imported early, reads only once.
_READ_ONCE: Final = ("PYTHON", "PYDANTIC_", "OTEL_", "LD_", "LC_", "LANG")
_LENGTH: Final = 8
_SERVER: Final = Path(__file__).with_name("warm_python_server.py")


class WarmProcess:
    """A run that a server has begun, with what `pytester` needs of `subprocess.Popen`."""

    stdin = None

    def __init__(self, args: Sequence[str], status: IO[str]) -> None:
        self.args = args
        self.returncode: int | None = None
        self._status = status
        self.pid = int(status.readline())

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, at most `timeout` seconds; return the exit status, or `-N` after signal N.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


class WarmPython:
    """A server, which starts with the first run; a context manager, which says where runs may come from it.

    Its environment is that in which the block begins, not that of the test that happens to be the first.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._environ: dict[str, str] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        self._environ = dict(os.environ)

    def __exit__(self, *_: object) -> None:
        self._environ = None
        if self._socket is not None and self._server is not None:
            self._socket.close()
            self._server.wait(60)
        self._socket = self._server = None

    def run(self, args: Sequence[str], *, cwd: str, path: str, stdout: IO[Any], stderr: IO[Any]) -> WarmProcess | None:
        """Run `python -m pytest` with `args`, and `path` as PYTHONPATH, in the environment of this process.

        `None` if that environment asks for a new interpreter.
        """
        if self._environ is None or _read_once(self._environ) != _read_once(os.environ):
            return None
        connection = self._socket or self._start(self._environ)
        ours, theirs = os.pipe()
        request = json.dumps({"args": list(args), "cwd": cwd, "env": {**os.environ, "PYTHONPATH": path}}).encode()
        with Path(os.devnull).open("rb") as stdin:
            files = array.array("i", [stdin.fileno(), stdout.fileno(), stderr.fileno(), theirs])
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)]
            connection.sendmsg([len(request).to_bytes(_LENGTH, "big")], ancillary)
        connection.sendall(request)
        os.close(theirs)
        return WarmProcess(args, os.fdopen(ours, "r"))

    def _start(self, environ: Mapping[str, str]) -> socket.socket:
        self._socket, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, str(_SERVER), str(number)]
            self._server = subprocess.Popen(command, pass_fds=[number], stdin=subprocess.DEVNULL, env=environ)
        return self._socket


def _read_once(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that count; those of the import path are set anew for each run."""
    return {name: value for name, value in environ.items() if name.startswith(_READ_ONCE) and name != "PYTHONPATH"}
