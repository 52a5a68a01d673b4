"""Messages for the forwarder, a queue in memory, and the command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker
from pytest_langfuse.tracing.forward.deliveries import Deliveries
from pytest_langfuse.tracing.forward.forward_counts import ForwardCounts
from pytest_langfuse.tracing.forward.forwarder import Forwarder
from pytest_langfuse.tracing.forward.poster import Poster
from pytest_langfuse.tracing.forward.project_keys import Project, Projects
from pytest_langfuse.tracing.forward.queue_source import SPANS, AssignedPartition, DeadLetter, QueueMessage

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-test", "LANGFUSE_SECRET_KEY": "sk-lf-test"}
COMMAND = [
    sys.executable,
    "-c",
    "import sys; from pytest_langfuse.tracing.forward.forward_command import main; sys.exit(main())",
]


def export_body(*names: str, size: int = 0) -> bytes:
    """An export body of spans of one trace with these names."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    trace = os.urandom(16)
    for name in names:
        span = scope.spans.add(trace_id=trace, span_id=os.urandom(8), name=name)
        span.start_time_unix_nano = span.end_time_unix_nano = 1_700_000_000_000_000_000
        if size:
            span.attributes.add(key="input").value.string_value = "x" * size
    return request.SerializeToString()


def span_names(body: bytes) -> list[str]:
    """The names of the spans in a body."""
    request = ExportTraceServiceRequest.FromString(body)
    return [span.name for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]


class MemoryQueue:
    """A `QueueSource` of one partition in memory. It keeps what was committed and what was dead-lettered."""

    name = "memory"

    def __init__(self) -> None:
        self.assignment = AssignedPartition(0)
        self.waiting: list[QueueMessage] = []
        self.committed: list[int] = []
        self.dead: list[DeadLetter] = []
        #: The error with which dead letters are refused.
        self.cannot_bury: str | None = None
        #: Whether the outcome of dead letters becomes known later, and whether it may now.
        self.buries_later, self.late_may_come = False, True
        self.late: list[Callable[[str | None], None]] = []
        self.calls: list[str] = []
        #: Why it can't be read.
        self.unreadable: list[str] = ["the queue has not given it any partitions yet"]
        self._count = 0

    def put(self, body: bytes, *, public_key: str = "", kind: str = SPANS) -> QueueMessage:
        """Append a message."""
        headers = [("x-langfuse-public-key", public_key.encode())] if public_key else []
        message = QueueMessage(body, b"0" * 32, headers, public_key, kind, self.assignment, self._count, time.time())
        self._count += 1
        self.waiting.append(message)
        return message

    def start(self, watcher: Any) -> None:
        self.unreadable = []
        watcher.assigned([self.assignment])

    def poll(self, most: int, timeout: float) -> list[QueueMessage]:
        self.calls.append("poll")
        read, self.waiting = self.waiting[:most], self.waiting[most:]
        for message in read:
            self.assignment.opened(message.position)
        if not read and timeout:
            time.sleep(min(timeout, 0.005))
        return read

    def acknowledge(self, messages: Iterable[QueueMessage]) -> None:
        for message in messages:
            if not message.partition.revoked:
                message.partition.done(message.position)

    def commit(self, *, wait: bool) -> None:
        done = self.assignment.next
        if done is not None and (not self.committed or self.committed[-1] != done):
            self.committed.append(done)

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def bury(self, letter: DeadLetter, stored: Callable[[str | None], None]) -> None:
        if self.cannot_bury is None:
            self.dead.append(letter)
        if self.buries_later:
            self.late.append(stored)
        else:
            stored(self.cannot_bury)

    def confirm_letters(self) -> None:
        while self.late and self.late_may_come:
            self.late.pop()(None)

    def lag(self) -> int | None:
        return len(self.waiting)

    def problems(self) -> list[str]:
        return self.unreadable

    def at_end(self) -> bool:
        return not self.waiting

    def close(self, timeout: float) -> None:
        self.calls.append("close")


class MemoryForwarder:
    """A forwarder over a `MemoryQueue`, in the thread of the test, posting to a real server."""

    def __init__(
        self,
        url: str,
        *,
        projects: Projects | None = None,
        threads: int = 2,
        recovery: float = 0.2,
        timeout: float = 2.0,
        **options: Any,
    ) -> None:
        self.queue = MemoryQueue()
        self.counts = ForwardCounts()
        self.breaker = CircuitBreaker(failure_threshold=5, recovery_timeout=recovery)
        self.poster = Poster(base_url=url, timeout=timeout, threads=threads, breaker=self.breaker)
        self.deliveries = Deliveries(
            source=self.queue,
            projects=projects or Projects(Project("pk-lf-test", "sk-lf-test"), {}),
            poster=self.poster,
            breaker=self.breaker,
            counts=self.counts,
            linger=0.0,
        )
        self.forwarder = Forwarder(source=self.queue, deliveries=self.deliveries, counts=self.counts, **options)
        self.poster.start()

    def until(self, condition: Callable[[], object], timeout: float = 20.0) -> None:
        """Step until the condition holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, self.forwarder.state
            self.forwarder.step()

    def drain(self) -> None:
        """Step until all is done, and commit."""
        self.until(lambda: not self.queue.waiting and self.deliveries.idle)
        self.forwarder.step()
        self.queue.commit(wait=True)


class ForwarderProcess:
    """The command, with its log lines as they come."""

    def __init__(self, *arguments: str, env: Mapping[str, str] = KEYS) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            env={**without_settings(), **env},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.raw.append(line)
                if line.startswith("{"):
                    self.lines.append(json.loads(line))
                self._changed.notify_all()

    def wait_for_line(self, part: str, timeout: float = 20.0) -> dict[str, Any]:
        """Wait for a log line with this in its message."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [line for line in self.lines if part in line["message"]]
            return bool(found)

        with self._changed:
            assert self._changed.wait_for(look, timeout), self.raw
        return found[0]

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for the end, and return the exit status."""
        return self.process.wait(timeout)

    def end(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


def run_forwarder(*arguments: str, env: Mapping[str, str] = KEYS) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**without_settings(), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def without_settings() -> dict[str, str]:
    """This environment without settings of Langfuse."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LANGFUSE_", "OTEL_"))}


def produce(broker: str, topic: str, messages: Sequence[tuple[str, bytes, Mapping[str, str]]]) -> None:
    """Store messages (key, value, headers), each acknowledged."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": broker, "acks": "all", "log_level": 0})
    for key, value, headers in messages:
        producer.produce(topic, value, key=key, headers=dict(headers))
        producer.poll(0)
    assert producer.flush(20) == 0
