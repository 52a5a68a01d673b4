"""One application in its own process, traced by the plain SDK or by `init_tracing`; prints what it measured.

`python driver.py plain|ours SCENARIO URL [JSON of options]`.
"""

# ruff: noqa: PLC0415, SLF001 - one way must not import the other's modules, and the SDK has no public way in

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

logging.disable(logging.CRITICAL)

Readings = dict[str, Any]

#: The same for both: what differs is the way from the end of a span to Langfuse.
SETTINGS: dict[str, Any] = {
    "public_key": "pk-lf-benchmark",
    "secret_key": "sk-lf-benchmark",
    "flush_at": 512,
    "flush_interval": 5.0,
}


def build(way: str, url: str, **ours: Any) -> Any:
    """The client."""
    if way == "plain":
        from langfuse import Langfuse

        return Langfuse(**SETTINGS, base_url=url, timeout=5, **ours)
    from pytest_langfuse.tracing import init_tracing

    return init_tracing(**SETTINGS, base_url=url, timeout=5.0, **ours)


def pipeline() -> Any:
    """Return the pipeline of the client of `init_tracing`."""
    from pytest_langfuse.tracing import singleton as singleton_module

    installed: Any = singleton_module.singleton.installation
    return installed.pipeline


def lines(readings: Readings) -> None:
    """The result, for the benchmark to read."""
    print(json.dumps(readings), flush=True)


def observe(client: Any, payload: str) -> None:
    """An observation as applications make them."""
    with client.start_as_current_observation(name="step", input=payload) as observation:
        observation.update(output=payload)


def cost(client: Any, _way: str, *, spans: int = 12_000, payload: int = 200) -> Readings:
    """Wall and processor time per observation, until the last of them is sent."""
    text = "x" * payload
    for _ in range(500):
        observe(client, text)
    client.flush()
    started, used = time.perf_counter(), time.process_time()
    for _ in range(spans):
        observe(client, text)
    client.flush()
    taken = time.perf_counter() - started
    return {"wall_us": taken / spans * 1e6, "cpu_us": (time.process_time() - used) / spans * 1e6}


def throughput(client: Any, way: str, *, spans: int = 10_000, payload: int = 200) -> Readings:
    """Spans a second from the exporter's `export` until the server has them."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    kept: list[Any] = []

    class Keep(SpanExporter):
        def export(self, batch: Any) -> SpanExportResult:
            kept.extend(batch)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Keep()))
    tracer = provider.get_tracer("benchmark")
    for number in range(spans):
        # Texts differ: repeated ones would flatter the compression.
        text = f"{number:06d}".join("abcdefghijklmnopqrst"[: max(2, payload // 20)]) * 2
        tracer.start_span("span", attributes={"input": (text * 40)[:payload], "output": (text * 40)[:payload]}).end()
    if way == "plain":
        exporter = client._resources.tracer_provider._active_span_processor._span_processors[0].span_exporter
        exporter = getattr(exporter, "_exporter", exporter)
    else:
        exporter = pipeline().exporter
    started, used = time.perf_counter(), time.process_time()
    for start in range(0, spans, 512):
        exporter.export(kept[start : start + 512])
    if way != "plain":
        exporter.force_flush(60_000)
    return {
        "spans_per_s": spans / (time.perf_counter() - started),
        "cpu_us": (time.process_time() - used) / spans * 1e6,
    }


def export(client: Any, way: str, *, spans: int = 20_000, payload: int = 700, in_trace: int = 10) -> Readings:
    """Processor time of a span in the SDK's processors and on its way to its destination, in traces of `in_trace`."""
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    kept: list[tuple[bool, Any]] = []

    class Keep(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:  # noqa: ARG002
            kept.append((True, span))

        def on_end(self, span: Any) -> None:
            kept.append((False, span))

    provider = TracerProvider(resource=client._resources.tracer_provider.resource)
    provider.add_span_processor(Keep())
    tracer = provider.get_tracer("langfuse-sdk", attributes={"public_key": SETTINGS["public_key"]})
    for number in range(spans // in_trace):
        with tracer.start_as_current_span("request"):
            for step in range(in_trace - 1):
                text = (f"{number:06d}{step}".join("abcdefghijklmnopqrst") * 40)[:payload]
                tracer.start_span("step", attributes={"langfuse.observation.input": text, "output": text}).end()
    started, used = time.perf_counter(), time.process_time()
    head = (
        client._resources.tracer_provider._active_span_processor._span_processors[0]
        if way == "plain"
        else pipeline()._head
    )
    for begins, span in kept:
        (head.on_start if begins else head.on_end)(span)
    head.force_flush(120_000)
    if way != "plain":
        pipeline().sender.flush(120.0)
    return {
        "spans_per_s": spans / (time.perf_counter() - started),
        "cpu_us": (time.process_time() - used) / spans * 1e6,
        "exported": spans if way == "plain" else pipeline().health().exported,
    }


def calls(client: Any, _way: str, *, count: int = 3000, pause: float = 0.0005) -> Readings:
    """Measure a call of the application: an observation with a nested one, as a request would make them."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        with client.start_as_current_observation(name="request", input="question"):
            observe(client, "text")
        taken.append((time.perf_counter() - started) * 1e6)
        time.sleep(pause)
    return {"us": [round(value) for value in taken]}


def prompts(client: Any, way: str, *, tries: int = 3, opened: bool = False) -> Readings:
    """Seconds of `get_prompt` with a fallback; `opened`: when Langfuse is known to be down."""
    if opened and way == "ours":
        breaker = pipeline().breaker
        while (permit := breaker.try_acquire()) is not None:
            breaker.failure(permit)
        # The first fetch of a process imports a part of the SDK, whether or not Langfuse is up.
        client.get_prompt("greeting", fallback="Hello")
    taken = []
    for number in range(tries):
        started = time.perf_counter()
        client.get_prompt(f"greeting-{number}", fallback="Hello")
        taken.append(time.perf_counter() - started)
    return {"seconds": taken}


def loop(client: Any, way: str, *, spans: int = 20_000) -> Readings:
    """As many observations as fast as possible, then the end."""
    started = time.perf_counter()
    for _ in range(spans):
        client.start_observation(name="step").end()
    made = time.perf_counter() - started
    return {"made_s": made, **finish(client, way, 60.0)}


def steady(client: Any, way: str, *, seconds: float = 10.0, rate: int = 2000, after: float = 0.0) -> Readings:
    """Observations at a rate; what the process's memory grew by."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    made = 0
    while (elapsed := time.perf_counter() - started) < seconds:
        while made < elapsed * rate:
            client.start_observation(name="step", input="x" * 200).end()
            made += 1
        time.sleep(0.002)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    lines({"made": made, "grown_mb": grown})
    if after:
        time.sleep(after)
    return {"made": made, "grown_mb": grown, **finish(client, way, 120.0)}


def leave(client: Any, _way: str, *, spans: int = 1000) -> Readings:
    """Observations, and the end of the process without a word."""
    for _ in range(spans):
        client.start_observation(name="step").end()
    return {"left_at": time.time()}


def wait(client: Any, _way: str, *, spans: int = 10) -> Readings:
    """Observations, then a long sleep: for a signal to end."""
    for _ in range(spans):
        client.start_observation(name="step").end()
    lines({"pid": os.getpid()})
    time.sleep(60)
    return {}


def fork(client: Any, _way: str, *, spans: int = 10) -> Readings:
    """The observations are a child's, of multiprocessing with the start method fork."""
    import multiprocessing

    def work() -> None:
        for _ in range(spans):
            client.start_observation(name="step").end()

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    return {}


def finish(client: Any, way: str, timeout: float) -> Readings:
    """Send what is left; what is known of the rest."""
    started = time.perf_counter()
    if way == "plain":
        client.shutdown()
        return {"end_s": time.perf_counter() - started}
    from pytest_langfuse.tracing import shutdown_tracing

    report = shutdown_tracing(timeout)
    dropped = dict(report.dropped)
    return {"end_s": time.perf_counter() - started, "exported": report.exported, "dropped": dropped}


SCENARIOS: dict[str, Callable[..., Readings]] = {
    function.__name__: function
    for function in (cost, throughput, export, calls, prompts, loop, steady, leave, wait, fork)
}


def main() -> None:
    """Build the client, run the scenario, print the readings."""
    way, scenario, url = sys.argv[1:4]
    options = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}  # noqa: PLR2004 - the options are optional
    if scenario in {"cost", "export"}:
        # Spans that the plain SDK's queue drops silently would cost nothing.
        os.environ["OTEL_BSP_MAX_QUEUE_SIZE"] = "100000"
    client = build(way, url, **options.pop("tracing", {}))
    lines(SCENARIOS[scenario](client, way, **options))
    if scenario in {"calls", "prompts"}:
        # Another benchmark measures how long a process takes to exit.
        os._exit(0)


if __name__ == "__main__":
    main()
