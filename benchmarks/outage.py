"""Measure how an outage of Langfuse affects an application and its spans, with the plain SDK and with `init_tracing`.

Each outage has another server, and each figure another process. A call is an observation with a nested one.
The 99th percentile of single calls depends on what else the machine does, so each process runs at the same time as
another whose Langfuse is healthy, and is compared with that; the calls of all rounds are taken together. In the long
outage, observations are made at a steady rate; the server recovers at its end, and the process then has time to send
the rest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import Table, progress, spread, surroundings
from production.processes import REFUSED, WAYS, drive, langfuse, start

CALL_LIMIT = 1.1
#: Milliseconds.
PROMPT_LIMIT = 5.0
MODES = ("refused", "hang", "drip", "503", "429", "reset")
LABELS = {"plain": "plain SDK", "ours": "init_tracing"}
#: The buffer's bound in bytes, and how much more the process may grow: for encoding, compressing and sending.
BUFFER_MB, REST_MB = 64, 64
RATE = 2000
#: The buffer's bound in spans.
BUFFER_SPANS = 100_000


def in_mode(way: str, scenario: str, mode: str, **options: Any) -> dict[str, Any]:
    """Run a driver against a Langfuse that fails in this way."""
    with langfuse(mode if mode != "refused" else "ok") as server:
        return drive(way, scenario, REFUSED if mode == "refused" else server.url, **options)


def side_by_side(way: str, mode: str, rounds: int) -> tuple[float, float]:
    """Return the 99th percentile of calls in microseconds: in an outage, and at the same time without one."""
    failing: list[int] = []
    healthy: list[int] = []
    with ThreadPoolExecutor() as pool:
        for _ in range(rounds):
            both = [pool.submit(in_mode, way, "calls", one) for one in (mode, "ok")]
            failing += both[0].result()["us"]
            healthy += both[1].result()["us"]
    return statistics.quantiles(failing, n=100)[-1], statistics.quantiles(healthy, n=100)[-1]


def call_times(rounds: int) -> Table:
    """Measure calls and prompt fetches for each way and mode."""
    table = Table(
        "An outage, as the application notices it",
        f"{rounds} rounds. {surroundings()} A prompt is fetched with a fallback, for the plain SDK once. The first "
        "fetch of a process, which imports a part of the SDK, is left out where the breaker is open.",
        ["Langfuse", "call p99, us, plain SDK", "x healthy", "call p99, us, init_tracing", "x healthy",
         "get_prompt plain, s", "init_tracing, known to be down, ms"],
    )  # fmt: skip
    worst_ratio, worst_prompt = 0.0, 0.0
    for mode in MODES:
        cells = [mode]
        for way in WAYS:
            progress(f"calls: {mode}, {LABELS[way]}")
            failing, healthy = side_by_side(way, mode, rounds)
            cells += [f"{failing:.0f}", f"{failing / healthy:.2f}"]
            if way == "ours":
                worst_ratio = max(worst_ratio, failing / healthy)
        progress(f"prompts: {mode}")
        plain = in_mode("plain", "prompts", mode, tries=1)["seconds"]
        ours = [seconds * 1000 for seconds in in_mode("ours", "prompts", mode, tries=20, opened=True)["seconds"]]
        worst_prompt = max(worst_prompt, statistics.quantiles(ours, n=10)[-1])
        table.rows.append([*cells, spread(plain, 1), spread(ours, 2)])
    table.require("call p99 in the worst outage / healthy, init_tracing", worst_ratio, CALL_LIMIT)
    table.require("get_prompt with a fallback while the breaker is open, p90, ms", worst_prompt, PROMPT_LIMIT)
    return table


def recovery(seconds: float) -> Table:
    """Make observations at a steady rate through a long outage, then let the server recover."""
    table = Table(
        "An outage that ends",
        f"{RATE} observations a second for {seconds:.0f} s while Langfuse answers 503, then it recovers. "
        "The breaker tries again after 5 s, so that the run is short.",
        ["way", "made", "delivered", "twice", "counted as lost", "not accounted for", "MB grown"],
    )
    for way in WAYS:
        progress(f"recovery: {LABELS[way]}")
        with langfuse("503") as server:
            tracing = {"breaker_recovery_timeout": 5.0} if way == "ours" else {}
            process = start(way, "steady", server.url, seconds=seconds, rate=RATE, after=15.0, tracing=tracing)
            assert process.stdout is not None  # noqa: S101 - it is piped
            readings = json.loads(process.stdout.readline())
            server.mode("ok")
            watchdog = threading.Timer(180, process.kill)
            watchdog.start()
            readings.update(json.loads(process.stdout.readline()))
            process.communicate()
            watchdog.cancel()
            counts = server.counts()
        dropped = sum(readings.get("dropped", {}).values())
        twice = counts["spans"] - counts["distinct"]
        missing = readings["made"] - counts["distinct"] - dropped
        table.rows.append(
            [LABELS[way], *(str(value) for value in (readings["made"], counts["distinct"], twice, dropped, missing)),
             f"{readings['grown_mb']:.0f}"]
        )  # fmt: skip
        if way == "ours":
            table.require("observations not accounted for, init_tracing", missing, 0, 0)
            table.require("observations delivered twice, init_tracing", twice, 0, 0)
            table.require(
                "lost though the buffer had room, init_tracing",
                max(0, dropped - max(0, readings["made"] - BUFFER_SPANS)),
                0,
                0,
            )
            table.require("MB grown, init_tracing", readings["grown_mb"], BUFFER_MB + REST_MB, 0)
    return table


def main() -> int:
    """Run the benchmark; exit status 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="number of rounds; default: 7")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the long outage; default: 60")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file, as Markdown")
    options = parser.parse_args()
    tables = [call_times(options.rounds), recovery(options.seconds)]
    statuses = [table.finish(None) for table in tables]
    if options.markdown is not None:
        options.markdown.write_text("\n".join(table.markdown() for table in tables), encoding="utf-8")
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
