"""A soak of the production pipeline: threads and asyncio at work while Langfuse fails in every way, on and off.

Every so often the ledger is checked: `ended == exported + buffered + sum(dropped.values())`. At its end Langfuse
recovers, the process shuts down, and what the server has is compared with what the ledger says. An observation is
delivered twice only when Langfuse had taken it and its answer did not get through (hang, drip, reset).

`python benchmarks/production/soak.py --seconds 600`
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from production.processes import Langfuse, langfuse
from pytest_langfuse.tracing import (
    init_tracing,
    request_context,
    safe_trace,
    shutdown_tracing,
    tracing_health,
)

MODES = ("ok", "503", "429", "500", "401", "302", "400", "413", "hang", "drip", "reset")
#: Modes in which Langfuse may have taken what the process takes for failed.
AMBIGUOUS = {"drip"}
THREADS, TASKS = 8, 8


class Work:
    """Makes observations until it is told to stop, and counts them."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.made = 0
        self._lock = threading.Lock()

    def count(self, observations: int) -> None:
        """So many were made."""
        with self._lock:
            self.made += observations

    def thread(self, number: int) -> None:
        """One thread's work."""

        @safe_trace
        def answer(question: str) -> str:
            return search(question)

        @safe_trace("search", as_type="retriever")
        def search(question: str) -> str:
            return question * 2

        while not self.stop.is_set():
            with request_context(user_id=f"user-{number}"):
                answer("why")
            self.count(2)
            time.sleep(0.002)

    async def task(self, number: int) -> None:
        """One task's work."""

        @safe_trace
        async def stream(question: str) -> list[str]:
            await asyncio.sleep(0.004)
            return [item async for item in items(question)]

        @safe_trace
        async def items(question: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as in an application
            for character in question:
                await asyncio.sleep(0)
                yield character

        while not self.stop.is_set():
            async with request_context(session_id=f"session-{number}"):
                await stream("why")
            self.count(2)

    def tasks(self) -> None:
        """An event loop with some tasks."""

        async def main() -> None:
            await asyncio.gather(*(self.task(number) for number in range(TASKS)))

        asyncio.run(main())


def flap(server: Langfuse, seconds: float, seed: int) -> set[str]:
    """Change how Langfuse fails, and check the ledger, for so long. Returns the ways in which it failed."""
    rng = random.Random(seed)  # noqa: S311 - to be repeatable, not to be secret
    until = time.monotonic() + seconds
    seen = set()
    while time.monotonic() < until:
        mode = rng.choice(MODES)
        server.mode(mode)
        seen.add(mode)
        change = time.monotonic() + rng.uniform(0.2, 3.0)
        while time.monotonic() < change:
            health = tracing_health()
            accounted = health.exported + health.buffered + sum(health.dropped.values())
            if health.ended != accounted or health.buffered < 0:
                sys.exit(f"the ledger does not balance: {health}")
            time.sleep(0.001)
    return seen


def main() -> int:
    """Run it; exit status 1 if an observation is not accounted for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with langfuse() as server:
        init_tracing(
            public_key="pk-lf-soak", secret_key="sk-lf-soak", base_url=server.url, timeout=0.5, flush_at=50,  # noqa: S106
            flush_interval=0.2, breaker_failure_threshold=5, breaker_recovery_timeout=1.0, max_buffer_spans=20_000,
        )  # fmt: skip
        work = Work()
        threads = [threading.Thread(target=work.thread, args=(number,)) for number in range(THREADS)]
        threads.append(threading.Thread(target=work.tasks))
        for thread in threads:
            thread.start()
        seen = flap(server, options.seconds, options.seed)
        work.stop.set()
        for thread in threads:
            thread.join()
        server.mode("ok")
        time.sleep(2.0)
        report = shutdown_tracing(60.0)
        counts = server.counts()
    ended = tracing_health().ended
    twice = counts["spans"] - counts["distinct"]
    unaccounted = work.made - report.exported - report.buffered - sum(report.dropped.values())
    missing = report.exported - counts["distinct"]
    print(
        f"seed {options.seed}, {options.seconds:.0f} s, faults: {', '.join(sorted(seen))}\n"
        f"made {work.made}, ended {ended}, exported {report.exported}, dropped {dict(report.dropped)}\n"
        f"the server has {counts['distinct']}, {twice} of them twice\n"
        f"not accounted for: {unaccounted}; said to be exported but not there: {max(0, missing)}"
    )
    failed = unaccounted or missing > 0 or report.timed_out or (twice and not seen & AMBIGUOUS)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
