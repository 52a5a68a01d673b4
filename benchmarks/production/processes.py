"""Run a driver against a server, each in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WAYS = ("plain", "ours")
#: Nobody listens here.
REFUSED = "http://127.0.0.1:9"


class Langfuse:
    """The server, and how to tell it what to do."""

    def __init__(self, url: str) -> None:
        self.url = url

    def mode(self, name: str) -> None:
        """From now on it answers so."""
        self._call(f"/__mode/{name}")

    def counts(self) -> dict[str, int]:
        """Return what it accepted."""
        counts: dict[str, int] = self._call("/__counts")
        return counts

    def _call(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as response:  # noqa: S310 - the address is ours
            return json.load(response)


@contextmanager
def langfuse(mode: str = "ok", *, ids: Path | None = None) -> Iterator[Langfuse]:
    """Start a server for the block. With `ids` it keeps only the ids of spans, in this file."""
    command = [sys.executable, str(HERE / "server.py"), *([] if ids is None else [str(ids)])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is piped
            server = Langfuse(process.stdout.readline().strip())
            server.mode(mode)
            yield server
        finally:
            process.kill()


def environment() -> dict[str, str]:
    """Nothing of the developer's own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LANGFUSE_", "OTEL_"))}


def start(way: str, scenario: str, url: str, **options: Any) -> subprocess.Popen[str]:
    """A driver that runs."""
    command = [sys.executable, "-W", "ignore", str(HERE / "driver.py"), way, scenario, url, json.dumps(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def drive(way: str, scenario: str, url: str, **options: Any) -> dict[str, Any]:
    """Run a driver to its end; its readings, its exit status and how long it took to end after its last line."""
    process = start(way, scenario, url, **options)
    assert process.stdout is not None  # noqa: S101 - it is piped
    assert process.stderr is not None  # noqa: S101 - it is piped
    readings: dict[str, Any] = {}
    for line in process.stdout:
        readings.update(json.loads(line))
        last = time.time()
        readings["_last"] = last
    status = process.wait()
    if not readings:
        sys.exit(f"{way} {scenario} failed with status {status}:\n{process.stderr.read()}")
    process.stderr.close()
    process.stdout.close()
    return {**readings, "status": status, "exit_s": time.time() - readings["_last"]}
