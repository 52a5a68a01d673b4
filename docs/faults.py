"""Measures what the plain Langfuse SDK does under each fault, and writes docs/faults.md.

Each cell of the tables is measured in a new process: a client of the SDK, and the stand-in Langfuse that fails. The
processes run side by side and mostly wait, so everything takes some minutes; that is also why seconds are rounded.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import platform
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from langfuse import Langfuse
from langfuse.media import LangfuseMedia
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytest_langfuse import Outage
from pytest_langfuse.outage.faults import FAULTS, ClientFault
from pytest_langfuse.outage.faults.connection import UNKNOWN_HOST
from pytest_langfuse.outage.server import LangfuseServer

PAGE = Path(__file__).with_name("faults.md")
CATALOGUE = Path(__file__).with_name("outages.md")
#: Timeouts of the client in seconds; `None` is the SDK's own.
TIMEOUTS: tuple[int | None, ...] = (None, 1)
#: What a cell of spans or scores sends, in two batches.
SENT, BATCHES = 10, 2
PROMPT, FALLBACK = "Hello from Langfuse", "Hello from the fallback"
_PNG: Any = "image/png"  # the SDK's type of it differs between versions
#: Frames of which the name says what the application waits for.
_LANGFUSE = ("langfuse", "opentelemetry", "httpx", "requests")


@dataclass(frozen=True)
class Operation:
    """Something that an application does. `act` returns what the application sees."""

    title: str
    note: str
    act: Callable[[Langfuse], str]
    kept: Callable[[LangfuseServer], str] | None = None
    own_exporter: bool = False


class Cell(NamedTuple):
    """One experiment."""

    operation: str
    fault: str
    timeout: int | None


class Result(NamedTuple):
    """The measurements of a cell."""

    seen: str
    requests: int
    kept: str


# -- what an application does ------------------------------------------------------------------------------------------


def _spans(client: Langfuse) -> str:
    for _ in range(BATCHES):
        for number in range(SENT // BATCHES):
            client.start_observation(name=f"observation {number}").end()
        client.flush()
    return "returns"


def _scores(client: Langfuse) -> str:
    for _ in range(BATCHES):
        for number in range(SENT // BATCHES):
            client.create_score(name=f"score {number}", value=1.0, trace_id="0af7651916cd43dd8448eb211c80319c")
        client.flush()
    return "returns"


def _prompt(client: Langfuse) -> str:
    return _told(client.get_prompt("greeting").prompt)


def _prompt_with_fallback(client: Langfuse) -> str:
    return _told(client.get_prompt("greeting", fallback=FALLBACK).prompt)


def _told(prompt: object) -> str:
    return "the prompt" if prompt == PROMPT else "the fallback"


def _media(client: Langfuse) -> str:
    picture = LangfuseMedia(content_bytes=b"\x89PNG" * 100, content_type=_PNG)
    client.start_observation(name="look", input={"picture": picture}).end()
    client.flush()
    return "returns"


def _spans_kept(server: LangfuseServer) -> str:
    spans = {(record.trace_id, record.span_id) for export in server.stand_in.exports for record in export.records}
    return f"{len(spans)} of {SENT}"


def _scores_kept(server: LangfuseServer) -> str:
    return f"{len(server.stand_in.scores)} of {SENT}"


def _media_kept(server: LangfuseServer) -> str:
    return "yes" if any(media.content for media in server.stand_in.media) else "no"


OPERATIONS = {
    "spans": Operation(
        "Span export",
        f"{SENT} observations in {BATCHES} batches, each followed by `flush()`.",
        _spans,
        _spans_kept,
    ),
    "scores": Operation(
        "Scores",
        f"{SENT} scores in {BATCHES} batches, each followed by `flush()`.",
        _scores,
        _scores_kept,
    ),
    "prompt": Operation(
        "Prompt without a fallback", '`get_prompt("greeting")`, not in the cache; Langfuse has the prompt.', _prompt
    ),
    "fallback": Operation(
        "Prompt with a fallback", '`get_prompt("greeting", fallback="…")`, not in the cache.', _prompt_with_fallback
    ),
    "media": Operation(
        "Media upload",
        "An observation with a picture, then `flush()`. Observations go elsewhere, so that only the upload fails.",
        _media,
        _media_kept,
        own_exporter=True,
    ),
}


# -- one cell, in a new process ----------------------------------------------------------------------------------------


class _Log(logging.Handler):
    """Counts what the SDK says of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += not record.name.startswith("pytest_langfuse")


@dataclass
class _Tries:
    """Counts attempts that reach no server: connections, and names that are looked up."""

    count: int = 0
    before: list[Any] = field(default_factory=list)

    def start(self) -> None:
        connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo

        def counting_connect(sock: socket.socket, address: Any) -> None:
            self.count += 1
            connect(sock, address)

        def counting_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            self.count += host in {UNKNOWN_HOST, UNKNOWN_HOST.encode()}
            return getaddrinfo(host, *args, **kwargs)

        socket.socket.connect = counting_connect  # type: ignore[method-assign, assignment]
        socket.getaddrinfo = counting_getaddrinfo


def run_cell(cell: Cell, bound: float, answer: Connection) -> None:
    """Run one experiment and send its `Result`; ends the process, whatever threads still wait."""
    for name in [name for name in os.environ if name.startswith(("LANGFUSE_", "OTEL_"))]:
        del os.environ[name]
    operation, fault, tries, log = OPERATIONS[cell.operation], FAULTS[cell.fault], _Tries(), _Log()
    logging.getLogger().handlers[:] = [log]
    options: dict[str, Any] = {"timeout": cell.timeout} if cell.timeout is not None else {}
    if operation.own_exporter:
        options["span_exporter"] = InMemorySpanExporter()
    with LangfuseServer() as server:
        server.stand_in.prompt("greeting", PROMPT)
        by_client = isinstance(fault, ClientFault)
        with Outage.of(cell.fault, required=False).activate(server):
            url = fault.base_url(server) if isinstance(fault, ClientFault) else server.url
            if cell.fault == "flapping":
                httpx.get(f"{server.url}/api/public/health", timeout=20)
            before = len(server.arrivals)
            keys: dict[str, Any] = {"public_key": "pk-lf-x", "secret_key": "sk-lf-x"}
            client = Langfuse(**keys, base_url=url, tracer_provider=TracerProvider(), **options)
            tries.start()
            seen = _watched(operation.act, client, bound, log)
            requests = tries.count if by_client else len(server.arrivals) - before
            kept = operation.kept(server) if operation.kept is not None else ""
            answer.send(Result(seen, requests, kept))
            os._exit(0)


def _watched(act: Callable[[Langfuse], str], client: Langfuse, bound: float, log: _Log) -> str:
    """Return what the application sees, after at most `bound` seconds."""
    outcome: list[str] = []

    def call() -> None:
        try:
            outcome.append(act(client))
        except Exception as error:  # noqa: BLE001 - whatever the application would see
            outcome.append(f"`{type(error).__name__}`")

    thread = threading.Thread(target=call, daemon=True)
    began = time.monotonic()
    thread.start()
    thread.join(bound)
    if not outcome:
        return f"> {bound:.0f} s, waits in `{_waits_in(thread)}`"
    seen = f"{outcome[0]} after {time.monotonic() - began:.1f} s"
    if outcome[0] == "returns":
        seen += f", {log.lines} log line{'s' if log.lines != 1 else ''}" if log.lines else ", nothing logged"
    return seen


def _waits_in(thread: threading.Thread) -> str:
    """The innermost function of the SDK and its libraries in which the application waits."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way to see other threads
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_LANGFUSE):
            return frame.f_code.co_qualname
        frame = frame.f_back
    return "?"


# -- all of them -------------------------------------------------------------------------------------------------------


def run(cells: Sequence[Cell], bound: float, jobs: int) -> dict[Cell, Result]:
    """Run `cells`, `jobs` at a time."""
    # Forked: what this process has imported is there, which would cost each cell half a second of processor time.
    context = multiprocessing.get_context("fork")
    waiting = list(cells)
    running: dict[Connection, tuple[Cell, Any]] = {}
    results: dict[Cell, Result] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            cell = waiting.pop(0)
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=run_cell, args=(cell, bound, sender))
            process.start()
            sender.close()
            running[receiver] = (cell, process)
        for ready in wait(list(running)):
            assert isinstance(ready, Connection)  # noqa: S101 - only such are waited for
            cell, process = running.pop(ready)
            try:
                results[cell] = ready.recv()
            except EOFError:
                sys.exit(f"{cell}: the process ended without a result")
            process.join()
            print(f"{len(results)}/{len(cells)} {cell}: {results[cell]}", file=sys.stderr, flush=True)
    return results


def page(results: dict[Cell, Result], bound: float) -> str:
    """docs/faults.md."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("langfuse", "opentelemetry-sdk"))
    lines = [
        "# What the SDK does under each fault",
        "",
        f"Measured by `python docs/faults.py` with {versions}, Python {platform.python_version()}: the plain SDK,",
        "without `init_tracing`, against the stand-in Langfuse. [Outages](outages.md#the-faults) describes the faults.",
        "",
        '- "default" is a client with the SDK\'s own timeout (5 s), "1 s" one with `timeout=1`.',
        '- "seen" is what the application sees: what the call returns or raises, and when. Log lines are warnings and',
        '  errors; "nothing logged" means that there were none, even if spans were lost.',
        f"- A call that takes longer than {bound:.0f} s is abandoned; the table says where it waits.",
        "- Under `drip` it reads the answer byte by byte, which no timeout ends; Langfuse keeps what arrived.",
        "- Seconds are from one run, in which many calls waited side by side: read them as approximate.",
        "- Requests are those that arrived; where none can (`refused`, `tls_error`, `dns_error`), those tried.",
        "- `partial_success` exists for spans and scores only. `flapping` is down for the first request here.",
        "",
    ]
    for key, operation in OPERATIONS.items():
        heads = ["seen", "requests"] + (["kept"] if operation.kept else [])
        columns = ["fault", *(f"{name}: {head}" for name in ("default", "1 s") for head in heads)]
        lines += [f"## {operation.title}", "", operation.note, ""]
        lines += [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        for fault in FAULTS:
            row = [f"`{fault}`"]
            for timeout in TIMEOUTS:
                found = results[Cell(key, fault, timeout)]
                row += [found.seen, str(found.requests)] + ([found.kept] if operation.kept else [])
            lines.append(f"| {' | '.join(row)} |")
        lines.append("")
    return "\n".join(lines)


def with_catalogue(text: str) -> str:
    """docs/outages.md with its list of faults as their docstrings have it."""
    head, begin, rest = text.partition("<!-- written by `make docs` -->\n")
    _, end, tail = rest.partition("<!-- end -->\n")
    if not (begin and end):
        sys.exit(f"{CATALOGUE.name}: the comments are missing between which the faults are listed")
    rows = ["| fault | what happens | incidents that look like it |", "| --- | --- | --- |"]
    for fault in FAULTS.values():
        details = " ".join(fault.description.partition("\n")[2].split())
        rows.append(f"| `{fault.name}` | {fault.summary} | {details} |")
    return "\n".join([head + begin, *rows, "", end + tail])


def main() -> int:
    """Run all cells and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PAGE, help="the page to write; default: docs/faults.md")
    parser.add_argument("--bound", type=float, default=40.0, metavar="SECONDS", help="for one call; default: 40")
    parser.add_argument("--jobs", type=int, default=24, metavar="N", help="cells at a time; default: 24")
    parser.add_argument(
        "--only", action="append", metavar="FAULT", choices=list(FAULTS), help="print these, write nothing"
    )
    options = parser.parse_args()
    faults = options.only or list(FAULTS)
    # The long ones first, so that none is left alone at the end.
    order = sorted(faults, key=lambda fault: fault not in {"drip", "hang"})
    cells = [Cell(key, fault, timeout) for fault in order for timeout in TIMEOUTS for key in OPERATIONS]
    results = run(cells, options.bound, options.jobs)
    if not options.only:
        options.output.write_text(page(results, options.bound), encoding="utf-8")
        print(f"wrote {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
