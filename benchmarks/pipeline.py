"""Compare the cost and the throughput of the production pipeline with those of the plain SDK at the same settings.

A healthy Langfuse on loopback in another process. Cost is the time of the whole process per observation, of the
processor and of the clock, creating, encoding, compressing and sending included, with a queue in which none is lost;
throughput is from the exporter's `export` until the server has the spans. In the tight loop, 20,000 observations are
made as fast as they can be, and the process ends.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from measure import Table, progress, spread, surroundings
from production.processes import WAYS, drive, langfuse

COST_LIMIT = 1.05
SPANS = 20_000
LABELS = {"plain": "plain SDK", "ours": "init_tracing"}


def main() -> int:
    """Run the benchmark; exit status 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="number of interleaved rounds; default: 7")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file, as Markdown")
    options = parser.parse_args()
    cost: dict[str, list[float]] = {way: [] for way in WAYS}
    clock: dict[str, list[float]] = {way: [] for way in WAYS}
    small: dict[str, list[float]] = {way: [] for way in WAYS}
    large: dict[str, list[float]] = {way: [] for way in WAYS}
    lost: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(options.rounds):
        progress(f"round {number + 1} of {options.rounds}")
        with langfuse() as server:
            for way in WAYS if number % 2 else reversed(WAYS):
                taken = drive(way, "cost", server.url)
                cost[way].append(taken["cpu_us"])
                clock[way].append(taken["wall_us"])
                small[way].append(drive(way, "throughput", server.url)["spans_per_s"])
                large[way].append(drive(way, "throughput", server.url, payload=4000, spans=3000)["spans_per_s"])
        for way in WAYS:
            with langfuse() as server:
                drive(way, "loop", server.url, spans=SPANS)
                counts = server.counts()
                lost[way].append((SPANS - counts["distinct"]) / SPANS * 100)
    table = Table(
        "The production pipeline, Langfuse healthy",
        f"{options.rounds} interleaved rounds. {surroundings()}",
        [
            "way",
            "CPU us per observation",
            "us of the clock",
            "spans/s, 0.2 kB",
            "spans/s, 4 kB",
            "% lost of 20,000 in a loop",
        ],
    )
    for way in WAYS:
        table.rows.append(
            [LABELS[way], spread(cost[way], 0), spread(clock[way], 0), spread(small[way], 0), spread(large[way], 0),
             spread(lost[way], 1)]
        )  # fmt: skip
    for label, times in (("CPU", cost), ("clock", clock)):
        ratio = statistics.median(ours / plain for ours, plain in zip(times["ours"], times["plain"], strict=True))
        table.require(f"cost of an observation, {label}, init_tracing / plain SDK", ratio, COST_LIMIT)
    for label, rates in (("0.2 kB", small), ("4 kB", large)):
        slower = statistics.median(plain / ours for ours, plain in zip(rates["ours"], rates["plain"], strict=True))
        table.require(f"time to export, {label}, init_tracing / plain SDK", slower, 1.0)
    table.require("% lost with init_tracing", max(lost["ours"]), 0.0)
    return table.finish(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
