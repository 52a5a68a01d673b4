"""Measure how long a process takes to exit while Langfuse is down, and how many spans it loses when it is told to end.

1,000 observations that nothing has sent yet, then the end of the main module, timed from there to the end of the
process. With a spool, what could not be sent is in a file for the next start; without, it is counted. For the signals,
10 observations wait in a script, in a child process, or in a worker of a web server (`production/endings.py`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import Table, progress, spread, surroundings
from production.endings import ENDINGS, Ended, run
from production.processes import REFUSED, WAYS, drive, langfuse, start

DEADLINE = 5.0
SLACK = 0.2
#: So many observations wait.
WAITING = 10
MODES = ("ok", "refused", "503", "hang", "drip")
LABELS = {"plain": "plain SDK", "ours": "init_tracing"}


def interpreter(text: str) -> str:
    """Return the absolute path of an interpreter: the processes that use it run in other folders."""
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a program")
    # Not resolved: an environment is found by the link in it.
    return str(Path(found).absolute())


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


def told_to_end(pythons: Sequence[str], runs: int, only: str) -> Table:
    """Measure what arrives after the end of a process that was told to end, for each server and signal."""
    table = Table(
        "Told to end",
        "Of 10 observations that wait, how many arrive, and the process's status. One run for the plain SDK, "
        f"{runs} for init_tracing, of which the worst is shown. A server that is not installed is left out.",
        ["how", "plain SDK", *(f"init_tracing, Python {version(python)}" for python in pythons)],
    )
    lost = done = 0
    for ending in ENDINGS:
        if only not in ending.label or ending.missing(pythons[0]):
            continue
        progress(f"told to end: {ending.label}")
        row = [ending.label, _shown([run(ending, "plain", pythons[0])])]
        for python in pythons:
            ended = [] if ending.missing(python) else [run(ending, "ours", python) for _ in range(runs)]
            row.append(_shown(ended) if ended else "not installed")
            lost += sum(result.arrived < WAITING for result in ended)
            done += len(ended)
        table.rows.append(row)
    arrived, status = _kill("ours")
    killed = f"{arrived} of {WAITING}, {status}"
    table.rows.append(["SIGKILL, with a spool, one flush interval later", "-", killed, *["-"] * (len(pythons) - 1)])
    table.require(f"runs with init_tracing that lose any, of {done + 1}", lost + (arrived < WAITING), 0, 0)
    return table


def _shown(ended: Sequence[Ended]) -> str:
    worst = min(ended, key=lambda result: result.arrived)
    return f"{worst.arrived} of {WAITING}, {worst.status}"


def version(python: str) -> str:
    """Return the version of an interpreter, as "3.12"."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _kill(way: str) -> tuple[int, int]:
    with langfuse("503") as server, tempfile.TemporaryDirectory() as folder:
        options = {"tracing": {"spool_path": f"{folder}/spool"}}
        process = start(way, "wait", server.url, **options)
        assert process.stdout is not None  # noqa: S101 - it is piped
        process.stdout.readline()
        time.sleep(5.5)  # the flush interval is 5 s
        process.kill()
        process.communicate()
        server.mode("ok")
        drive(way, "leave", server.url, spans=0, **options)
        return server.counts()["distinct"], process.returncode


def main() -> int:
    """Run the benchmark; exit status 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="number of rounds; default: 2")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file, as Markdown")
    parser.add_argument("--runs", type=int, default=3, help="runs of each server and signal; default: 3")
    parser.add_argument("--only", default="", help="only servers and signals with this text in their name")
    parser.add_argument(
        "--python",
        action="append",
        type=interpreter,
        help="an interpreter with langfuse and the servers; repeat it for more columns; default: this one",
    )
    options = parser.parse_args()
    if os.name != "posix":
        parser.error("signals and fork: POSIX only")
    tables = [told_to_end(options.python or [sys.executable], options.runs, options.only)]
    if not options.only:
        tables.insert(0, exits(options.rounds))
    statuses = [table.finish(None) for table in tables]
    if options.markdown is not None:
        options.markdown.write_text("\n".join(table.markdown() for table in tables), encoding="utf-8")
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
