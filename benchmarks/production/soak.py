"""A soak of the production pipeline: threads and asyncio at work while Langfuse fails in every way, on and off.

The faults are those of the plugin's outage layer, all of them, one at a time, on real sockets. Every millisecond the
ledger is checked: `ended == exported + buffered + sum(dropped.values())`, with nothing unaccounted. At its end
Langfuse recovers, the process shuts down, and what the stand-in has is compared with what the ledger says. An
observation may be delivered once more only for each request with it to which the process got no answer: then nobody
can know whether Langfuse has it.

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
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.outage.faults import FAULTS
from pytest_langfuse.outage.outage import Outage
from pytest_langfuse.outage.server import LangfuseServer
from pytest_langfuse.recording.http.forward import LoopbackForwarder
from pytest_langfuse.recording.recorder import Recorder
from pytest_langfuse.recording.sdk import hooked, hooks
from pytest_langfuse.standin.stand_in import StandIn
from pytest_langfuse.tracing import (
    init_tracing,
    request_context,
    safe_trace,
    shutdown_tracing,
    tracing_health,
)
from pytest_langfuse.tracing.delivery.http_sink import HttpSink
from pytest_langfuse.tracing.delivery.sink import Outcome, Verdict

HEALTHY = "no fault"
LOOKS: Counter[str] = Counter()
THREADS, TASKS = 8, 8
#: Seconds.
TIMEOUT, PAUSE = 0.5, 0.02
#: Longer than the breaker's pause, and than what is slow.
PAUSE_BETWEEN = 1.2


class Unanswered:
    """Requests that were sent and got no answer, as the process saw it: the only reason to deliver something twice."""

    def __init__(self) -> None:
        self.fault = HEALTHY
        #: By the id of an observation.
        self.tries: Counter[bytes] = Counter()
        #: By the error and the fault in force: how many requests.
        self.reasons: Counter[str] = Counter()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is sent inside the block."""
        post = HttpSink.post

        def watched(sink: HttpSink, data: bytes) -> Outcome:
            fault = self.fault
            outcome = post(sink, data)
            if outcome.verdict is Verdict.FAILED and not outcome.reason.startswith(("http_", "not_otlp")):
                self.tries.update(ids(data))
                self.reasons[f"{outcome.reason} ({fault})"] += 1
            return outcome

        with patch.object(HttpSink, "post", watched):
            yield


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
            time.sleep(PAUSE)

    async def task(self, number: int) -> None:
        """One task's work."""

        @safe_trace
        async def stream(question: str) -> list[str]:
            await asyncio.sleep(PAUSE)
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


@contextmanager
def served() -> Iterator[LangfuseServer]:
    """A stand-in on a real socket, to which all requests to Langfuse go; one for each, by the fault that it meets."""
    stand_in = StandIn()
    recorder = Recorder(
        everything=True,
        flush=hooks.flush,
        flush_scores=hooks.flush_scores,
        score_source=lambda: stand_in.score_log,
    )
    with (
        hooked(recorder, stand_in),
        LangfuseServer(stand_in) as server,
        recorder.sent_for_real(lambda: ()),
        hooks.forwarding(LoopbackForwarder(server.base_url_for)),
    ):
        yield server


def flap(server: LangfuseServer, seconds: float, rng: random.Random, unanswered: Unanswered) -> Counter[str]:
    """Change how Langfuse fails, and check the ledger, for so long. Returns how many requests met each fault."""
    until = time.monotonic() + seconds
    met: Counter[str] = Counter()
    waiting: list[str] = []
    while time.monotonic() < until:
        if not waiting:
            # All of them once before one comes again: a short run has seen many, a long one all.
            waiting = [HEALTHY, *FAULTS]
            rng.shuffle(waiting)
        name = waiting.pop()
        options = {"delay": 2 * TIMEOUT} if name == "slow" else {}
        outage = None if name == HEALTHY else Outage.of(name, **options)
        unanswered.fault = name
        with nullcontext() if outage is None else outage.activate(server):
            check_ledger(rng.uniform(0.2, 3.0))
        if outage is not None:
            met[name] += outage.struck
        unanswered.fault = HEALTHY
        # The breaker's pause and a healthy moment, so that the next fault is met by requests and not by the breaker.
        check_ledger(PAUSE_BETWEEN)
    return met


def check_ledger(seconds: float) -> None:
    """Hold the ledger against itself for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        health = tracing_health()
        accounted = health.exported + health.buffered + sum(health.dropped.values())
        if health.unaccounted or health.ended != accounted or health.buffered < 0:
            sys.exit(f"the ledger does not balance: {health}")
        LOOKS["ledger"] += 1
        time.sleep(0.001)


def ids(body: bytes) -> Iterator[bytes]:
    """The ids of the observations in an export body."""
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield span.span_id


def main() -> int:
    """Run it; exit status 1 if an observation is not accounted for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rng = random.Random(options.seed)  # noqa: S311 - to be repeatable, not to be secret
    unanswered = Unanswered()
    with served() as server, unanswered.watching():
        init_tracing(
            public_key="pk-lf-soak", secret_key="sk-lf-soak", base_url=server.url, timeout=TIMEOUT, flush_at=50,  # noqa: S106
            flush_interval=0.2, breaker_failure_threshold=5, breaker_recovery_timeout=1.0, max_buffer_spans=20_000,
        )  # fmt: skip
        work = Work()
        threads = [threading.Thread(target=work.thread, args=(number,)) for number in range(THREADS)]
        threads.append(threading.Thread(target=work.tasks))
        for thread in threads:
            thread.start()
        met = flap(server, options.seconds, rng, unanswered)
        work.stop.set()
        for thread in threads:
            thread.join()
        time.sleep(2.0)
        report = shutdown_tracing(60.0)
        arrived = Counter(span for body in server.stand_in.bodies for span in ids(body))
    health = tracing_health()
    again = [span for span, copies in arrived.items() if copies > 1]
    unexplained = sum(arrived[span] - 1 > unanswered.tries[span] for span in again)
    unaccounted = work.made - report.exported - report.buffered - sum(report.dropped.values())
    missing = report.exported - len(arrived)
    print(
        f"seed {options.seed}, {options.seconds:.0f} s; requests that met a fault: "
        f"{', '.join(f'{name} {count}' for name, count in sorted(met.items()))}\n"
        f"made {work.made}, ended {health.ended}, exported {report.exported}, dropped {dict(report.dropped)}, "
        f"unaccounted {health.unaccounted}; looked at {LOOKS.total()} times\n"
        f"the server has {len(arrived)}, {len(again)} of them more than once; requests without an answer: "
        f"{', '.join(f'{reason} {count}' for reason, count in sorted(unanswered.reasons.items()))}\n"
        f"not accounted for: {unaccounted}; said to be exported but not there: {max(0, missing)}; "
        f"more than once for no reason: {unexplained}"
    )
    return 1 if unaccounted or health.unaccounted or missing > 0 or unexplained or report.timed_out else 0


if __name__ == "__main__":
    sys.exit(main())
