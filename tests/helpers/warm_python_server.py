"""The process of `warm_python`: imports, then forks for each run. A script, not to be imported."""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

_MODULES = (
    "asyncio",
    "email.mime.multipart",
    "google.protobuf.json_format",
    "httpcore",
    "httpx",
    "multiprocessing.pool",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.util._once",
    "pydantic.v1",
    "pydantic.main",
    "pydantic.json_schema",
    "pygments.lexers.python",
    "requests",
    "unittest.mock",
    "urllib.request",
    "wrapt",
    "xml.etree.ElementTree",
)


def _request(connection: socket.socket) -> tuple[dict, list[int]]:
    """Wait for the next run, and return it with its files; ends the process when nobody is there to ask."""
    files = array.array("i")
    length, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_LEN(4 * files.itemsize))
    if not length:
        os._exit(0)
    for _, _, data in ancillary:
        files.frombytes(data[: len(data) - len(data) % files.itemsize])
    left, parts = int.from_bytes(length, "big"), []
    while left:
        parts.append(connection.recv(left))
        left -= len(parts[-1])
    return json.loads(b"".join(parts)), list(files)


def _serve(connection: socket.socket) -> list[str]:
    """Fork for each request; returns in the forked processes only, with the arguments of the run."""
    # Nobody waits for the processes that report how runs end.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, files = _request(connection)
        if not os.fork():
            break
        for file in files:
            os.close(file)
    connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, status = files
    if run := os.fork():
        os.write(status, b"%d\n" % run)
        for file in standard:
            os.close(file)
        _, ended = os.waitpid(run, 0)
        with contextlib.suppress(OSError):
            os.write(status, b"%d\n" % os.waitstatus_to_exitcode(ended))
        os._exit(0)
    os.close(status)
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    # As `python -m` does.
    sys.path[:1] = [request["cwd"], *request["env"]["PYTHONPATH"].split(os.pathsep)]
    return request["args"]


if __name__ == "__main__":
    from _pytest.config import default_plugins

    for name in (*(f"_pytest.{plugin}" for plugin in default_plugins), *_MODULES):
        importlib.import_module(name)
    # A library that starts a thread when it is imported can't be among them: its thread is missing after a fork.
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    sys.argv = ["pytest", *_serve(socket.socket(fileno=int(sys.argv[1])))]
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)
