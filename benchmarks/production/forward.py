"""The cost of forwarding a span from Kafka to Langfuse, and how many a second one process forwards.

The broker and the receiver, which only counts, are processes of their own; so is the forwarder. Its CPU is counted from
the moment in which it has its partitions until all is committed, the threads of librdkafka included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from measure import Table, progress, spread, surroundings  # noqa: E402
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402

from tests.helpers.kafka_broker import KafkaBroker, kafka_broker  # noqa: E402

_SPAN_BYTES = 1_700
_KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-bench", "LANGFUSE_SECRET_KEY": "sk-lf-bench"}
#: What runs in the forwarder's process: it prints CPU and wall seconds, and the number of spans.
_DRIVER = """
import json, sys, time
from pytest_langfuse.tracing.forward.forward_options import read_options
from pytest_langfuse.tracing.forward.forward_service import build_forwarder, open_source
from pytest_langfuse.tracing.forward.stage import EverythingPasses
import os

options = read_options(sys.argv[1:], os.environ)
begun = []

class Watched(EverythingPasses):
    def assigned(self, assignments):
        begun[:] = [time.process_time(), time.perf_counter()]

source = open_source(options)
forwarder, poster = build_forwarder(options, source, Watched())
poster.start()
source.start(forwarder)
while not forwarder.step():
    pass
source.commit(wait=True)
cpu, wall = time.process_time() - begun[0], time.perf_counter() - begun[1]
print(json.dumps({"cpu": cpu, "wall": wall, "spans": forwarder.counts.spans, "requests": forwarder.counts.requests}))
sys.stdout.flush()
os._exit(0)
"""


def message(spans: int) -> bytes:
    """Return an export body of so many spans of one trace."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    trace = os.urandom(16)
    for number in range(spans):
        span = scope.spans.add(trace_id=trace, span_id=os.urandom(8), name=f"step {number}")
        span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
        # Text compresses; hexadecimal digits do so by a half, as prompts and answers do.
        span.attributes.add(key="langfuse.observation.input").value.string_value = os.urandom(
            _SPAN_BYTES // 2 - 50
        ).hex()
    data: bytes = request.SerializeToString()
    return data


def fill(broker: KafkaBroker, topic: str, *, spans: int, in_message: int) -> int:
    """Write messages until there are so many spans, and return how many bytes they have."""
    from confluent_kafka import Producer  # noqa: PLC0415 - an extra

    broker.create_topic(topic, partitions=4)
    producer = Producer({"bootstrap.servers": broker.address, "acks": "all", "compression.type": "lz4"})
    bodies = [message(in_message) for _ in range(50)]
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


def forward(broker: KafkaBroker, topic: str, url: str, group: str) -> dict[str, float]:
    """Forward a topic in a process of its own."""
    address = f"kafka://{broker.address}/{topic}?group={group}"
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER, "--from", address, "--to", url, "--once"],
        env={**os.environ, **_KEYS, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> int:
    """Measure; exit status 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=300_000, help="spans of one round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--markdown", type=Path, help="write the section for the docs here")
    options = parser.parse_args()
    table = Table(
        "Forwarding from Kafka",
        f"{options.spans:,} spans of 1.7 KB, lz4, four partitions; broker and receiver share the machine. "
        f"{surroundings()}",
        ("spans a message", "CPU, µs a span", "spans/s", "requests"),
    )
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("counting_server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    url = server.stdout.readline().strip() if server.stdout is not None else ""
    try:
        for in_message in (10, 30, 100):
            with tempfile.TemporaryDirectory() as folder, kafka_broker(Path(folder)) as broker:
                progress(f"{in_message} spans a message")
                fill(broker, "spans", spans=options.spans, in_message=in_message)
                rounds = [forward(broker, "spans", url, f"round-{number}") for number in range(options.rounds)]
            cpu = [one["cpu"] / one["spans"] * 1e6 for one in rounds]
            rate = [one["spans"] / one["wall"] for one in rounds]
            requests = [one["requests"] for one in rounds]
            table.rows.append((str(in_message), spread(cpu), spread(rate, 0), spread(requests, 0)))
            table.require(f"CPU of a span, {in_message} a message (µs)", sorted(cpu)[len(cpu) // 2], 3.0)
            table.require(
                f"seconds for 50,000 spans, {in_message} a message", 50_000 / sorted(rate)[len(rate) // 2], 1.0
            )
        with urllib.request.urlopen(f"{url}/counts") as answer:  # noqa: S310 - our own server
            progress(answer.read().decode())
    finally:
        server.kill()
        server.wait()
    return table.finish(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
