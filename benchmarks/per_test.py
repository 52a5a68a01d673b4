"""Measure what capturing adds to a test that makes five observations, and compare it with other ways of testing traces.

Each way is one of the suites in `suites/`, run by its own pytest, in interleaved rounds. The time runs from the first
test to the last, measured inside that pytest. The cost is the difference to a reference suite: one that makes the same
observations and exports them to nowhere, or, for assertions, one that also flushes them. The table shows it round by
round; the limits hold for the fastest rounds of both, because what else the machine does only ever adds time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from measure import Table, progress, spread, surroundings

SUITES = Path(__file__).parent / "suites"

#: Milliseconds per test that capturing may add to the observations themselves.
LIMIT = 0.05
#: Milliseconds per test that `len`, `one` and `assert_tree` may add to the SDK's flush, which must come before them.
READING_LIMIT = 0.15
#: Megabytes that a captured run may grow between test 100 and the last, above what pytest does with tests that do
#: nothing. The allocator's own ups and downs are 2 MB; one leaked span a test would be 10 MB and more.
GROWTH_LIMIT = 4.0


@dataclass(frozen=True)
class Way:
    """One way of testing traces, or one of the suites that it is compared with."""

    label: str
    suite: str
    arguments: tuple[str, ...] = ()
    #: The suite without what this way costs: the same spans alone, or flushed.
    reference: str | None = None
    #: Some ways are so slow that they get fewer tests.
    share: float = 1.0


_OURS = ("-p", "pytest_langfuse.plugin")
WAYS = (
    Way("empty test", "empty"),
    Way("observations alone", "observations"),
    Way("pytest --langfuse-capture", "captured", (*_OURS, "--langfuse-capture"), "observations"),
    Way("langfuse_spans, read", "read", _OURS, "observations"),
    Way("langfuse_spans, flushed and not read", "flushed", _OURS, "observations"),
    Way("langfuse_spans: len, one and assert_tree", "asserted", _OURS, "flushed"),
    Way("fixture: a client per test, shut down", "client_per_test", (), "observations", 0.1),
    Way("fixture: a client per test, left behind", "client_leaked", (), "observations", 0.1),
    Way("OpenTelemetry spans alone", "otel_spans"),
    Way("OpenTelemetry TestBase", "testbase", (), "otel_spans"),
    Way("logfire spans alone", "logfire_spans"),
    Way("logfire capfire", "capfire", ("-p", "logfire.testing"), "logfire_spans", 0.5),
)
_LABELS = {way.suite: way.label for way in WAYS}


def run(way: Way, tests: int, further: Mapping[str, str] = MappingProxyType({})) -> dict[str, float]:
    """Run one suite, with `further` variables in its environment, and return the readings of its meter."""
    tests = max(200, int(tests * way.share)) if tests >= 200 else tests  # noqa: PLR2004 - the meter is warm at 100
    with tempfile.TemporaryDirectory() as folder:
        readings = Path(folder) / "readings.json"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LANGFUSE_", "OTEL_"))}
        variables = {
            "BENCHMARK_READINGS": str(readings),
            "BENCHMARK_TESTS": str(tests),
            "PYTHONPATH": str(SUITES),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "LOGFIRE_IGNORE_NO_CONFIG": "1",
            # A made-up project at a closed port of this machine.
            "LANGFUSE_PUBLIC_KEY": "pk-lf-benchmark",
            "LANGFUSE_SECRET_KEY": "sk-lf-benchmark",
            "LANGFUSE_BASE_URL": "http://127.0.0.1:9",
            **further,
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "meter", *way.arguments]
        command += ["-c", os.devnull, "--rootdir", folder, str(SUITES / f"{way.suite}.py")]
        done = subprocess.run(
            command, cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{way.label} failed:\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
        found: dict[str, float] = json.loads(readings.read_text(encoding="utf-8"))
    found["ms"] = found["seconds"] * 1000 / tests
    return found


def compare(tests: int, rounds: int) -> Table:
    """Run all suites in interleaved rounds."""
    results: dict[str, list[dict[str, float]]] = {way.suite: [] for way in WAYS}
    for number in range(1, rounds + 1):
        for way in WAYS:
            progress(f"round {number} of {rounds}: {way.label}")
            results[way.suite].append(run(way, tests))
    table = Table(
        "Cost of a captured test",
        f"5 nested observations per test, {tests} tests, medians of {rounds} interleaved rounds [min-max]. "
        + surroundings(),
        ("suite", "tests", "ms per test", "above its reference", "x ours", "threads", "memory growth"),
    )
    above = {way.suite: _above(results, way) for way in WAYS if way.reference}
    ours = _least(results, "captured")
    for way in WAYS:
        found = results[way.suite]
        last = found[-1]
        extra = above.get(way.suite)
        table.rows.append(
            (
                way.label,
                f"{last['tests']:.0f}",
                spread([one["ms"] for one in found]),
                f"{spread(extra, 3)} ms above {_LABELS[way.reference]}" if extra and way.reference else "",
                f"{_least(results, way.suite) / ours:.1f}" if extra and ours > 0 else "",
                f"{last['threads_warm']:.0f} to {last['threads_end']:.0f}",
                f"{statistics.median(one['memory_end'] - one['memory_warm'] for one in found):.1f} MB",
            )
        )
    table.require("ms per test with --langfuse-capture, above the observations themselves", ours, LIMIT, digits=3)
    reading = _least(results, "asserted")
    table.require(
        "ms per test for len, one and assert_tree, above the SDK's own flush", reading, READING_LIMIT, digits=3
    )
    return table


def _least(results: dict[str, list[dict[str, float]]], suite: str) -> float:
    """Milliseconds per test that the fastest round of a suite took above the fastest one of its reference."""
    reference = next(way.reference for way in WAYS if way.suite == suite)
    assert reference is not None  # noqa: S101 - the caller asks for those that have one
    return min(one["ms"] for one in results[suite]) - min(one["ms"] for one in results[reference])


def _above(results: dict[str, list[dict[str, float]]], way: Way) -> list[float]:
    assert way.reference is not None  # noqa: S101 - the caller asks for those that have one
    pairs = zip(results[way.suite], results[way.reference], strict=True)
    return [one["ms"] - reference["ms"] for one, reference in pairs]


#: For the long run: each way after tests of the same form that do nothing, because pytest keeps a report of each test.
LONG = (
    (Way("empty test", "empty"), Way("pytest --langfuse-capture", "captured", (*_OURS, "--langfuse-capture"))),
    (Way("empty test with a fixture", "fixture"), Way("langfuse_spans, read", "read", _OURS)),
)


def growth(tests: int) -> Table:
    """Run the captured suites for long and check that they do not grow."""
    table = Table(
        "Growth over a long run",
        f"From test 100 to test {tests}. pytest itself keeps a report of each test, as the rows of tests that do "
        f"nothing show. {surroundings()}",
        ("suite", "ms per test", "threads", "memory growth"),
    )
    for nothing, way in LONG:
        before, after = _long_run(table, nothing, tests), _long_run(table, way, tests)
        table.require(f"threads that {way.label} gained", after["threads"], 0, digits=0)
        grown = after["memory"] - before["memory"]
        table.require(f"MB that {way.label} grew above tests that do nothing", grown, GROWTH_LIMIT, digits=1)
    return table


def _long_run(table: Table, way: Way, tests: int) -> dict[str, float]:
    """Add a row for `way`; returns how many threads and megabytes it gained."""
    progress(f"{tests} tests: {way.label}")
    found = run(way, tests)
    gained = {name: found[f"{name}_end"] - found[f"{name}_warm"] for name in ("threads", "memory")}
    threads = f"{found['threads_warm']:.0f} to {found['threads_end']:.0f}"
    table.rows.append((way.label, f"{found['ms']:.2f}", threads, f"{gained['memory']:.1f} MB"))
    return gained


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=1_000, help="tests in each suite; default: 1000")
    parser.add_argument("--rounds", type=int, default=5, help="number of interleaved rounds; default: 5")
    parser.add_argument(
        "--long", action="store_true", help="measure growth of threads and memory over 10,000 tests instead of time"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file, as Markdown")
    options = parser.parse_args()
    table = growth(10_000) if options.long else compare(options.tests, options.rounds)
    return table.finish(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
