"""Compare a span's way into a queue with the SDK's own export, and measure the forwarder behind the queue.

A span of an application: the CPU of its process from the span's start and end to its destination, in the processors,
the encoder and on the wire; traces of ten spans with 1.4 kB of text each. The plain SDK exports by HTTP without
compression, which costs it least; `init_tracing` samples the whole trace and produces to Kafka. The server and the
broker are processes of their own.

The forwarder: it drains a filled topic into a server that only counts. Two of them share the partitions of the topic as
members of one group; both have theirs before the clock starts. They are compared on messages of one small span, where
the CPU of the forwarder is the limit, rather than the broker or the server.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measure import Table, progress, spread, surroundings
from production.forward import PARTITIONS, counting_server, fill, forward
from production.processes import WAYS, drive, langfuse

from tests.helpers.kafka_broker import KafkaBroker, kafka_broker

SPANS = 20_000
COST_LIMIT = 0.90
#: Of the forwarder: microseconds of CPU, spans a second, and how much faster two are than one.
FORWARD_CPU, FORWARD_RATE, TWO_FORWARDERS = 3.0, 50_000, 1.6
#: Of a forwarder that samples, for each span that it reads.
SAMPLE_CPU = 15.0
FORWARDED = 300_000
SMALL_SPAN_BYTES = 300
LABELS = {"plain": "plain SDK to Langfuse, HTTP", "ours": "init_tracing to Kafka, sampled"}

SAMPLED = "one forwarder that samples 10 %, 10 spans of 1.7 kB a message"

#: By row of the table: CPU microseconds of a span, and spans a second.
Readings = dict[str, tuple[list[float], list[float]]]


def exports(broker: KafkaBroker, rounds: int) -> Readings:
    """Measure applications."""
    found: Readings = {label: ([], []) for label in LABELS.values()}
    for number in range(rounds):
        progress(f"applications, round {number + 1} of {rounds}")
        topic = f"round-{number}"
        broker.create_topic(topic, partitions=PARTITIONS)
        kafka = {"export": "kafka", "kafka_brokers": broker.address, "kafka_topic": topic, "keep_slower_than": 3600}
        settings = {"plain": {"otel_compression": "none"}, "ours": kafka}
        with langfuse() as server:
            for way in WAYS if number % 2 else reversed(WAYS):
                taken = drive(way, "export", server.url, spans=SPANS, tracing=settings[way])
                arrived = server.counts()["distinct"] if way == "plain" else taken["exported"]
                if arrived != SPANS:
                    sys.exit(f"{LABELS[way]}: {arrived} of {SPANS} spans arrived")
                cpu, rate = found[LABELS[way]]
                cpu.append(taken["cpu_us"])
                rate.append(taken["spans_per_s"])
    return found


def drains(broker: KafkaBroker, rounds: int) -> Readings:
    """Measure forwarders."""
    cases: dict[str, tuple[str, int, Sequence[str]]] = {
        "one forwarder, 10 spans of 1.7 kB a message": ("ten", 1, ()),
        "one forwarder, 100 spans of 1.7 kB a message": ("hundred", 1, ()),
        SAMPLED: ("ten", 1, ("--sample", "0.1", "--keep-errors", "--decision-wait", "1")),
        "one forwarder, 1 span of 0.3 kB a message": ("small", 1, ()),
        "two forwarders, 1 span of 0.3 kB a message": ("small", 2, ()),
    }
    fill(broker, "ten", spans=FORWARDED, in_message=10)
    fill(broker, "hundred", spans=FORWARDED, in_message=100)
    fill(broker, "small", spans=FORWARDED, in_message=1, span_bytes=SMALL_SPAN_BYTES)
    found: Readings = {label: ([], []) for label in cases}
    with counting_server() as url:
        for number in range(rounds):
            progress(f"forwarders, round {number + 1} of {rounds}")
            for label, (topic, forwarders, arguments) in cases.items():
                group = f"{topic}-{forwarders}-{len(arguments)}-{number}"
                taken = forward(broker, topic, url, group, forwarders=forwarders, options=arguments)
                if label != SAMPLED and taken["spans"] != FORWARDED:
                    sys.exit(f"{label}: {taken['spans']} of {FORWARDED} spans were forwarded")
                cpu, rate = found[label]
                cpu.append(taken["cpu"] / FORWARDED * 1e6)
                rate.append(FORWARDED / taken["wall"])
    return found


def main() -> int:
    """Run the benchmark; exit status 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="number of interleaved rounds; default: 5")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file, as Markdown")
    options = parser.parse_args()
    readings: Readings = {}
    for measured in (exports, drains):
        # What one has left in the broker's memory does not slow down the other.
        with tempfile.TemporaryDirectory() as folder, kafka_broker(Path(folder)) as broker:
            readings |= measured(broker, options.rounds)
    table = Table(
        "Export through a queue",
        f"{options.rounds} interleaved rounds; Kafka's protocol is spoken by tansu, in memory, on the same machine. "
        f"{surroundings()}",
        ["process", "CPU us per span", "spans/s"],
    )
    table.rows.extend([label, spread(cpu), spread(rate, 0)] for label, (cpu, rate) in readings.items())
    medians = {label: (statistics.median(cpu), statistics.median(rate)) for label, (cpu, rate) in readings.items()}
    ours, plain = (medians[LABELS[way]][0] for way in ("ours", "plain"))
    table.require("CPU of a span, sampler and Kafka / plain SDK", ours / plain, COST_LIMIT)
    for label, (used, speed) in medians.items():
        if label == SAMPLED:
            table.require(f"CPU of a span (us), {label}", used, SAMPLE_CPU)
        elif "1.7 kB" in label:
            table.require(f"CPU of a span (us), {label}", used, FORWARD_CPU)
            table.require(f"seconds for {FORWARD_RATE:,} spans, {label}", FORWARD_RATE / speed, 1.0)
    one, two = (speed for label, (_, speed) in medians.items() if "0.3 kB" in label)
    table.require("time of two forwarders / time of one", one / two, 1 / TWO_FORWARDERS, digits=3)
    return table.finish(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
