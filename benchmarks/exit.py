"""Measure how long a process takes to exit while Langfuse is down, and how many spans it loses on a signal.

1,000 observations that nothing has sent yet, then the end of the main module, timed from there to the end of the
process. With a spool, what could not be sent is in a file for the next start; without, it is counted. For the signals,
10 observations wait when SIGTERM arrives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from measure import Table, progress, spread, surroundings
from production.processes import REFUSED, WAYS, drive, environment, langfuse, start

DEADLINE = 5.0
SLACK = 0.2
MODES = ("ok", "refused", "503", "hang", "drip")
LABELS = {"plain": "plain SDK", "ours": "init_tracing"}
APP = """
import sys
sys.path.insert(0, {here!r})
from driver import build
client = build({way!r}, {url!r})
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
            if message["type"] == "lifespan.shutdown":
                return
    client.start_observation(name="request").end()
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"ok"}})
"""


def end(way: str, mode: str, **tracing: Any) -> dict[str, Any]:
    """Run a process and time it from the end of its main module to its exit."""
    with langfuse(mode if mode != "refused" else "ok") as server:
        url = REFUSED if mode == "refused" else server.url
        options = {"tracing": {"shutdown_timeout": DEADLINE, **tracing}} if way == "ours" else {}
        readings = drive(way, "leave", url, **options)
        # The interpreter ends after the process has said its last line.
        return {"exit_s": readings["exit_s"], "delivered": server.counts()["distinct"] if mode == "ok" else 0}


def exits(rounds: int) -> Table:
    """Measure the time to exit for each way and mode."""
    table = Table(
        "The end of a process while Langfuse is down",
        f"Seconds from the end of the main module to the end of the process; deadline {DEADLINE:.0f} s. "
        f"{rounds} rounds. {surroundings()}",
        ["Langfuse", *(LABELS[way] for way in WAYS)],
    )
    for mode in MODES:
        taken: dict[str, list[float]] = {}
        for number in range(rounds):
            progress(f"exit, round {number + 1} of {rounds}: {mode}")
            for way in WAYS:
                if way == "plain" and number and mode == "drip":
                    continue  # once is a minute
                taken.setdefault(way, []).append(end(way, mode)["exit_s"])
        table.rows.append([mode, *(spread(taken[way]) for way in WAYS)])
        table.require(f"exit, {mode}, init_tracing, s", max(taken["ours"]), DEADLINE + SLACK)
    return table


def told_to_end() -> Table:
    """Measure what arrives after a signal to the process."""
    table = Table(
        "Told to end",
        "Of 10 observations that wait, how many arrive. The status is the process's.",
        ["how", *(f"{LABELS[way]}, status" for way in WAYS)],
    )
    for label, run in (
        ("SIGTERM to a script", _script),
        ("SIGTERM to uvicorn", lambda way: _uvicorn(way, 1)),
        ("SIGTERM to uvicorn --workers 2", lambda way: _uvicorn(way, 2)),
        ("end of a child of multiprocessing, fork", _fork),
        ("SIGKILL, with a spool, one flush interval later", _kill),
    ):
        progress(label)
        results = {way: run(way) for way in WAYS}
        table.rows.append([label, *(f"{arrived} of 10, {status}" for arrived, status in results.values())])
        table.require(f"missing after {label}, init_tracing", 10 - results["ours"][0], 0, 0)
    return table


def _script(way: str) -> tuple[int, int]:
    with langfuse() as server:
        process = start(way, "wait", server.url)
        assert process.stdout is not None  # noqa: S101 - it is piped
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate()
        return server.counts()["distinct"], process.returncode


def _fork(way: str) -> tuple[int, int]:
    with langfuse() as server:
        status = drive(way, "fork", server.url)["status"]
        return server.counts()["distinct"], status


def _kill(way: str) -> tuple[int, int]:
    with langfuse("503") as server, tempfile.TemporaryDirectory() as folder:
        tracing = {"spool_path": f"{folder}/spool"}
        options = {"tracing": tracing} if way == "ours" else {}
        process = start(way, "wait", server.url, **options)
        assert process.stdout is not None  # noqa: S101 - it is piped
        process.stdout.readline()
        time.sleep(5.5)  # the flush interval of both is 5 s
        process.kill()
        process.communicate()
        server.mode("ok")
        drive(way, "leave", server.url, spans=0, **options)
        return server.counts()["distinct"], process.returncode


def _uvicorn(way: str, workers: int) -> tuple[int, int]:
    folder = tempfile.mkdtemp()
    with langfuse() as server, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        here = str(Path(__file__).parent / "production")
        Path(folder, "benchmark_app.py").write_text(APP.format(here=here, way=way, url=server.url), encoding="utf-8")
        command = [sys.executable, "-m", "uvicorn", "benchmark_app:app", "--port", str(port)]
        command += ["--workers", str(workers), "--log-level", "critical"]
        process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.DEVNULL)
        _request(port, wait=60)
        for _ in range(9):
            _request(port)
        process.terminate()
        status = process.wait(60)
        counts = server.counts()
    shutil.rmtree(folder, ignore_errors=True)
    return counts["distinct"], status


def _request(port: int, *, wait: float = 0.0) -> None:
    until = time.monotonic() + wait
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).read()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def main() -> int:
    """Run the benchmark; exit status 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="number of rounds; default: 2")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file, as Markdown")
    options = parser.parse_args()
    if os.name != "posix":
        parser.error("signals and fork: POSIX only")
    tables = [exits(options.rounds), told_to_end()]
    statuses = [table.finish(None) for table in tables]
    if options.markdown is not None:
        options.markdown.write_text("\n".join(table.markdown() for table in tables), encoding="utf-8")
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
