"""The processes of `soak_scale.py`: applications, the broker and its storage, forwarders; each can be killed."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# The broker, S3 and the forwarder's process are those of the tests.
sys.path.insert(0, str(HERE.parents[1]))

from production.processes import environment  # noqa: E402
from tests.helpers.forwarding import KEYS, ForwarderProcess  # noqa: E402
from tests.helpers.kafka_broker import KafkaBroker  # noqa: E402
from tests.helpers.sqs_server import CREDENTIALS, sqs_server  # noqa: E402

TOPIC = "soak"
PARTITIONS = 4
ID_BYTES = 8
#: Seconds for a process to start, on a busy machine.
PATIENCE = 60.0


class IdFile:
    """A file of span ids, to which another process appends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def count(self) -> int:
        """Return how many are in it."""
        return self.path.stat().st_size // ID_BYTES if self.path.exists() else 0

    def new(self) -> list[bytes]:
        """Return those that came since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = len(data) // ID_BYTES * ID_BYTES
        self._read += whole
        return [data[start : start + ID_BYTES] for start in range(0, whole, ID_BYTES)]


class Application:
    """An application that runs until `finish` or `kill`."""

    def __init__(self, broker: KafkaBroker, acknowledged: Path, *, rate: float) -> None:
        self.acknowledged = IdFile(acknowledged)
        self.killed = self.finished = False
        command = [sys.executable, "-W", "ignore", str(HERE / "scale_app.py"), broker.address, TOPIC, str(acknowledged)]
        self.process = subprocess.Popen(
            [*command, str(rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment(), **KEYS, "PYTHONPATH": str(HERE.parents[1])},
        )

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.killed = True
        self.process.kill()
        self.process.communicate()

    def finish(self) -> dict[str, Any]:
        """Let it shut down, and return its ledger."""
        self.finished = True
        printed, errors = self.process.communicate(timeout=90)
        if self.process.returncode:
            raise RuntimeError(f"an application ended with status {self.process.returncode}:\n{errors}")
        ledger: dict[str, Any] = json.loads(printed)
        return ledger


class SoakedForwarder(ForwarderProcess):
    """A forwarder of the group, with its metrics."""

    def __init__(self, broker: KafkaBroker, url: str) -> None:
        address = f"kafka://{broker.address}/{TOPIC}?group=soak"
        super().__init__("--from", address, "--to", url, "--http", "127.0.0.1:0")
        try:
            said = self.wait_for_line("health and metrics at", PATIENCE)["message"]
        except BaseException:
            self.end()
            raise
        self._metrics = f"{said.split()[-1]}/metrics"

    def metrics(self) -> dict[str, float]:
        """Return its metrics, summed over their labels; none while it does not answer."""
        metrics: dict[str, float] = {}
        with contextlib.suppress(urllib.error.URLError, OSError):
            with urllib.request.urlopen(self._metrics, timeout=5) as answer:  # noqa: S310 - it is on loopback
                page = answer.read().decode()
            for name, value in re.findall(r"^langfuse_forward_(\w+?)(?:\{.*\})? (\S+)$", page, flags=re.MULTILINE):
                metrics[name] = metrics.get(name, 0.0) + float(value)
        return metrics

    @property
    def partitions(self) -> int:
        """The partitions that it has."""
        return int(self.metrics().get("partitions", 0))

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.end()

    def leave(self) -> None:
        """Let it stop, as a deployment does."""
        self.process.send_signal(signal.SIGTERM)
        status = self.wait()
        self.end()
        if status:
            raise RuntimeError(f"a forwarder ended with status {status}:\n{''.join(self.raw)}")


@contextmanager
def stored_broker(folder: Path) -> Iterator[KafkaBroker]:
    """Run a broker that keeps its topics in S3, so that it can be killed and started again."""
    with sqs_server(folder) as storage:
        request = urllib.request.Request(f"{storage.url}/soak", method="PUT")  # noqa: S310 - it is on loopback
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        where = {"AWS_ENDPOINT": storage.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        broker = KafkaBroker(folder / "broker.log", storage="s3://soak/", env={**CREDENTIALS, **where})
        broker.start()
        try:
            broker.create_topic(TOPIC, partitions=PARTITIONS)
            yield broker
        finally:
            broker.kill()
