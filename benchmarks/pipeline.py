"""What the production pipeline costs and carries, beside the plain SDK with the same settings.

A healthy Langfuse on loopback in a process of its own. Cost is the processor time of the whole process per
observation, creating, encoding, compressing and sending included; throughput is from the exporter's `export` until the
server has the spans. In the tight loop, 20,000 observations are made as fast as they can be, and the process ends.
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
    """Run it; exit status 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    cost: dict[str, list[float]] = {way: [] for way in WAYS}
    small: dict[str, list[float]] = {way: [] for way in WAYS}
    large: dict[str, list[float]] = {way: [] for way in WAYS}
    lost: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(options.rounds):
        progress(f"round {number + 1} of {options.rounds}")
        with langfuse() as server:
            for way in WAYS if number % 2 else reversed(WAYS):
                cost[way].append(drive(way, "cost", server.url)["cpu_us"])
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
        ["way", "us per observation", "spans/s, 0.2 kB", "spans/s, 4 kB", "% lost of 20,000 in a loop"],
    )
    for way in WAYS:
        table.rows.append(
            [LABELS[way], spread(cost[way], 1), spread(small[way], 0), spread(large[way], 0), spread(lost[way], 1)]
        )
    ratios = [ours / plain for ours, plain in zip(cost["ours"], cost["plain"], strict=True)]
    table.require("cost of an observation, init_tracing / plain SDK", statistics.median(ratios), COST_LIMIT)
    for label, rates in (("0.2 kB", small), ("4 kB", large)):
        slower = statistics.median(plain / ours for ours, plain in zip(rates["ours"], rates["plain"], strict=True))
        table.require(f"time to export, {label}, init_tracing / plain SDK", slower, 1.0)
    table.require("% lost with init_tracing", max(lost["ours"]), 0.0)
    return table.finish(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
