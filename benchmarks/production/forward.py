"""Forwarders between a broker and a receiver, for benchmarks: a filled topic is drained.

The broker and the receiver, which only counts, are processes of their own; so is the forwarder. Its CPU is counted from
the moment in which it has its partitions until all is committed, the threads of librdkafka included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402

from tests.helpers.kafka_broker import KafkaBroker  # noqa: E402

PARTITIONS = 4
SPAN_BYTES = 1_700
_KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-bench", "LANGFUSE_SECRET_KEY": "sk-lf-bench"}


def message(spans: int, span_bytes: int) -> bytes:
    """Return an export body of so many spans of one trace, each of about so many bytes."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    trace = os.urandom(16)
    for number in range(spans):
        span = scope.spans.add(trace_id=trace, span_id=os.urandom(8), name=f"step {number}")
        span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
        # Text compresses; hexadecimal digits do so by a half, as prompts and answers do.
        span.attributes.add(key="langfuse.observation.input").value.string_value = os.urandom(
            span_bytes // 2 - 50
        ).hex()
    data: bytes = request.SerializeToString()
    return data


def fill(broker: KafkaBroker, topic: str, *, spans: int, in_message: int, span_bytes: int = SPAN_BYTES) -> int:
    """Write messages until there are so many spans, and return how many bytes they have."""
    from confluent_kafka import Producer  # noqa: PLC0415 - an extra

    broker.create_topic(topic, partitions=PARTITIONS)
    producer = Producer({"bootstrap.servers": broker.address, "acks": "all", "compression.type": "lz4"})
    bodies = [message(in_message, span_bytes) for _ in range(50)]
    size = 0
    for number in range(spans // in_message):
        body = bodies[number % len(bodies)]
        size += len(body)
        while True:
            try:
                producer.produce(topic, body, key=os.urandom(16).hex())
            except BufferError:
                producer.poll(0.1)
            else:
                break
        producer.poll(0)
    if producer.flush(60):
        raise RuntimeError("the broker does not take the messages")
    return size


def forward(
    broker: KafkaBroker, topic: str, url: str, group: str, *, forwarders: int = 1, options: Sequence[str] = ()
) -> dict[str, float]:
    """Forward a topic in processes of their own, which share its partitions; their CPU and wall seconds, and counts."""
    address = f"kafka://{broker.address}/{topic}?group={group}"
    driver = [sys.executable, str(Path(__file__).with_name("forward_driver.py")), str(PARTITIONS // forwarders)]
    running = [
        subprocess.Popen(
            [*driver, "--from", address, "--to", url, "--once", *options],
            env={**os.environ, **_KEYS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(forwarders)
    ]
    try:
        for process in running:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise RuntimeError(process.communicate()[1])
        for process in running:
            if process.stdin is not None:
                process.stdin.write("go\n")
                process.stdin.flush()
        readings = [_readings(process) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    sums = {name: sum(one[name] for one in readings) for name in ("cpu", "spans", "requests")}
    return {**sums, "wall": max(one["ended"] for one in readings) - min(one["begun"] for one in readings)}


def _readings(process: subprocess.Popen[str]) -> dict[str, float]:
    line = "" if process.stdout is None else process.stdout.readline()
    if not line:
        raise RuntimeError(process.communicate()[1])
    found: dict[str, float] = json.loads(line)
    return found


@contextmanager
def counting_server() -> Iterator[str]:
    """Run a Langfuse that only counts, and give its address."""
    command = [sys.executable, str(Path(__file__).with_name("counting_server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip() if server.stdout is not None else ""
        finally:
            server.kill()
