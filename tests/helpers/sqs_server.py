"""A real SQS server (ministack) for tests, in a process of its own; it serves S3, too."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pytest_langfuse.standin.http.free_ports import free_port

#: What the server takes for credentials: anything.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class QueueMessage(NamedTuple):
    """A message that was received: its body decoded, its attributes as texts."""

    data: bytes
    attributes: dict[str, str]
    group: str | None
    deduplication: str | None
    receipt: str
    #: Bytes that count against SQS's limits.
    size: int


class SqsServer:
    """SQS on loopback, without persistence. Queues are in the region us-east-1."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Any = None

    def start(self) -> None:
        """Start it, also again after `kill()`, and wait until it answers."""
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MINISTACK_"))},
            # It listens on all interfaces otherwise.
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "SERVICES": "sqs,s3",
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(self._directory),
        }
        with (self._directory / "sqs.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from ministack.app import main; main()"], stdout=log, stderr=log, env=env
            )
        deadline = time.monotonic() + 30
        while True:
            if self._process.poll() is not None:
                text = (self._directory / "sqs.log").read_text()
                raise RuntimeError(f"the server exited with status {self._process.returncode}: {text}")
            try:
                urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Kill it with SIGKILL: its queues are gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def client(self) -> Any:
        """A client of the test's own."""
        if self._client is None:
            from botocore.session import get_session

            self._client = get_session().create_client(
                "sqs",
                region_name="us-east-1",
                endpoint_url=self.url,
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
        return self._client

    def create_queue(self, name: str, attributes: Mapping[str, str] | None = None) -> str:
        """Create a queue and return its URL; a FIFO queue, if the name ends in `.fifo`."""
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        self.client.create_queue(QueueName=name, Attributes={**fifo, **(attributes or {})})
        return f"{self.url}/000000000000/{name}"

    def send(self, url: str, data: bytes, *, group: str = "", **attributes: str) -> None:
        """Send one message: `data` in Base64."""
        self.send_batch(url, [data], group=group, **attributes)

    def send_batch(self, url: str, data: Sequence[bytes], *, group: str = "", **attributes: str) -> None:
        """Send up to ten messages."""
        values = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        fifo = {"MessageGroupId": group} if group else {}
        entries = [
            {
                "Id": str(number),
                "MessageBody": base64.b64encode(one).decode(),
                "MessageAttributes": values,
                **fifo,
                **({"MessageDeduplicationId": os.urandom(8).hex()} if group else {}),
            }
            for number, one in enumerate(data)
        ]
        answer = self.client.send_message_batch(QueueUrl=url, Entries=entries)
        assert not answer.get("Failed"), answer

    def messages(self, url: str) -> list[QueueMessage]:
        """Receive and delete all messages that are visible."""
        found: list[QueueMessage] = []
        while True:
            answer = self.client.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"]
            )
            if not (received := answer.get("Messages")):
                return found
            for message in received:
                found.append(_decoded(message))
                self.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def counts(self, url: str) -> tuple[int, int]:
        """Return how many messages of a queue are visible, and how many are held by a receiver."""
        attributes = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        )


def _decoded(message: Mapping[str, Any]) -> QueueMessage:
    attributes = {name: str(value["StringValue"]) for name, value in message.get("MessageAttributes", {}).items()}
    system = message.get("Attributes", {})
    return QueueMessage(
        base64.b64decode(message["Body"], validate=True),
        attributes,
        system.get("MessageGroupId"),
        system.get("MessageDeduplicationId"),
        message["ReceiptHandle"],
        len(message["Body"]) + sum(len(name) + len("String") + len(value) for name, value in attributes.items()),
    )


@contextmanager
def sqs_server(directory: Path) -> Iterator[SqsServer]:
    """Run a server that writes its log into `directory`."""
    server = SqsServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.kill()
