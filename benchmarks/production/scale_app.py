"""An application of `soak_scale.py`: it makes traces until its stdin is closed, and exports them to Kafka.

`python scale_app.py BROKERS TOPIC FILE RATE` appends the id of each acknowledged span to FILE, 8 bytes each, before the
application's own ledger counts it as exported; so FILE is right after a `kill -9`, too. RATE is in spans a second, 0
for as many as possible. At its end it prints its ledger as a line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from pytest_langfuse.tracing import init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing.delivery.export_body import ExportBody
from pytest_langfuse.tracing.delivery.sink import Confirm, Outcome, Verdict
from pytest_langfuse.tracing.queue.kafka_sink import KafkaSink

IN_TRACE = 10
#: Spans in the buffer at which the application waits: beyond the bound of the buffer, spans would be dropped.
ENOUGH = 20_000
TEXT = "A question of about the usual length, to which an answer is sought in all that is known. " * 3


def span_ids(body: ExportBody) -> bytes:
    """Return the ids of the spans in a body of one trace: they follow the trace's id (fields 1 and 2 of a span)."""
    before = b"\x0a\x10" + bytes.fromhex(body.trace) + b"\x12\x08"
    found = [part[:8] for part in body.data.split(before)[1:]]
    if len(found) != body.spans:
        raise ValueError(f"{body.spans} spans, {len(found)} ids")
    return b"".join(found)


@contextmanager
def noting_acknowledged(path: str) -> Iterator[None]:
    """Append the ids of spans that Kafka has acknowledged to a file."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    send = KafkaSink.send

    def watched(sink: KafkaSink, bodies: Sequence[ExportBody], confirm: Confirm) -> None:
        def confirmed(outcome: Outcome | Sequence[Outcome]) -> None:
            outcomes = [outcome] * len(bodies) if isinstance(outcome, Outcome) else outcome
            taken = [body for body, its in zip(bodies, outcomes, strict=True) if its.verdict is Verdict.ACCEPTED]
            os.write(file, b"".join(map(span_ids, taken)))
            confirm(outcome)

        send(sink, bodies, confirmed)

    with patch.object(KafkaSink, "send", watched):
        yield


def work(stop: threading.Event, client: object, rate: float) -> None:
    """Make traces, as fast as asked for and as the buffer empties."""
    started = time.monotonic()
    made = 0
    while not stop.is_set():
        with client.start_as_current_observation(name="request", input=TEXT):  # type: ignore[attr-defined]
            for _ in range(IN_TRACE - 1):
                client.start_observation(name="step", input=TEXT, output=TEXT).end()  # type: ignore[attr-defined]
        made += IN_TRACE
        if rate:
            stop.wait(max(started + made / rate - time.monotonic(), 0.0))
        elif made % 1000 == 0:
            while tracing_health().buffered > ENOUGH and not stop.wait(0.01):
                pass


def main() -> None:
    """Run until stdin is closed."""
    brokers, topic, path, rate = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    stop = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with noting_acknowledged(path):
        client = init_tracing(
            export="kafka",
            kafka_brokers=brokers,
            kafka_topic=topic,
            # The broker is killed, and tansu on S3 stores the sequence of a batch before the batch: over a kill -9 it
            # takes the repeated batch of an idempotent producer for a duplicate, and loses what it acknowledges then.
            kafka_options={"enable.idempotence": False},
            sample_rate=1.0,
            flush_interval=0.5,
            flush_at=512,
        )
        work(stop, client, float(rate))
        report = shutdown_tracing(60.0)
    health = tracing_health()
    ledger = {
        "ended": health.ended,
        "exported": report.exported,
        "dropped": dict(report.dropped),
        "unaccounted": health.unaccounted,
    }
    print(json.dumps(ledger), flush=True)


if __name__ == "__main__":
    main()
