"""Measure all rules beside the time to make and build the observations that they look at.

    python benchmarks/rules.py [--observations N] [--tests N] [--rounds N]

The observations are those of an assistant (`suites/assistant.py`): agents, model calls with usage and cost, tools and
retrievers with texts of a few hundred bytes, in one trace of 10,000 and many of 5 to 150, each with a score. None has a
finding. A test makes them, `langfuse_spans` builds them, and the rules look at them: `make` is the work of the SDK and
of the recorder, `build` that of `langfuse_spans` alone, which is the stricter measure. Fields of an observation are
decoded when they are first read: the first row of all rules is over observations of which nothing has been read, so
that it holds what the rules decode; the second is over the same ones again. A row with a code is that rule alone.

The same for tests of five observations, of the assistant or with names alone. The last rows are whole runs of pytest on
the latter, with all rules and with none.

Processor time; each figure is the fastest round, because what else the machine does only ever adds time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import Table, progress, surroundings
from per_test import Way, run

#: Times the time to make and build the observations, and to build them alone.
LIMIT = 1.0
#: Milliseconds in a test of five observations.
TEST_LIMIT = 0.1
_PLUGIN = ("-p", "pytest_langfuse.plugin", "--langfuse-capture")
JUDGED = Way("all rules", "judged", _PLUGIN)
RUNS = (
    Way("no rule selected", "captured", (*_PLUGIN, "-o", "langfuse_rules_select=")),
    Way("all rules", "captured", _PLUGIN),
)


@dataclass(frozen=True)
class Readings:
    """Seconds of the parts: of many observations at once, and of a test of five by the kind of these."""

    large: Mapping[str, float]
    small: Mapping[str, Mapping[str, float]]


def judged(observations: int, tests: int) -> Readings:
    """Run the suite once."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.json"
        run(JUDGED, tests, {"BENCHMARK_OBSERVATIONS": str(observations), "BENCHMARK_RULES": str(file)})
        found = json.loads(file.read_text(encoding="utf-8"))
    small = {
        kind: {part: statistics.median(one[part] for one in of_tests) for part in of_tests[0]}
        for kind, of_tests in found["small"].items()
    }
    return Readings(found["large"], small)


def fastest(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the fastest round of each part."""
    return {part: min(one[part] for one in rounds) for part in rounds[0]}


def measure(observations: int, tests: int, rounds: int) -> Table:
    """Run all in interleaved rounds."""
    readings: list[Readings] = []
    runs: dict[str, list[float]] = {way.label: [] for way in RUNS}
    for number in range(1, rounds + 1):
        progress(f"round {number} of {rounds}")
        readings.append(judged(observations, tests))
        for way in RUNS:
            found = run(way, tests)
            runs[way.label].append(found["cpu_seconds"] / found["tests"])
    table = Table(
        "Rules",
        f"Microseconds of processor time, the fastest of {rounds} rounds. An assistant makes the observations: agents, "
        "model calls with usage, tools and retrievers, 5 to 10,000 in a trace, with texts of some hundred bytes. No "
        "rule finds anything. *Make* is the work of the SDK and of the recorder, *build* that of `langfuse_spans`, in "
        f"which fields are decoded when they are first read. {surroundings()}",
        ("", f"one of {observations:,}, us", "test of 5, us", "test of 5 with names alone, us"),
    )
    large = fastest([one.large for one in readings])
    texts, names = (fastest([one.small[kind] for one in readings]) for kind in ("texts", "names"))
    _add_parts(table, observations, large, texts, names)
    codes = [part for part in large if part.startswith("LF")]
    for code in sorted(codes, key=lambda code: -large[code]):
        table.rows.append((code, _us((large[code] - large["none"]) / observations, 2), "", ""))
    for label, seconds in runs.items():
        table.rows.append((f"pytest --langfuse-capture, {label}", "", "", _us(min(seconds), 0)))
    build = large["build"] + large["decode"]
    table.require("all rules with what they decode / make and build", large["rules"] / (large["make"] + build), LIMIT)
    table.require("all rules with what they decode / build alone", large["rules"] / build, LIMIT)
    table.require("ms of all rules in a test of five, decoded before", texts["again"] * 1000, TEST_LIMIT, 3)
    table.require(
        "ms of all rules in a test of five with names alone, decoded before", names["again"] * 1000, TEST_LIMIT, 3
    )
    return table


def _add_parts(
    table: Table,
    observations: int,
    large: Mapping[str, float],
    texts: Mapping[str, float],
    names: Mapping[str, float],
) -> None:
    for label, part in (
        ("make: the SDK, and the recorder that captures", "make"),
        ("build: link", "build"),
        ("build: decode all fields", "decode"),
        ("all rules, with what they decode", "rules"),
        ("all rules, decoded before", "again"),
    ):
        table.rows.append((label, _us(large[part] / observations, 1), *(_us(of[part], 0) for of in (texts, names))))


def _us(seconds: float, digits: int) -> str:
    return f"{max(seconds, 0.0) * 1e6:.{digits}f}"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observations", type=int, default=100_000, metavar="N", help="default: 100000")
    parser.add_argument(
        "--tests", type=int, default=1_000, metavar="N", help="tests of five observations; default: 1000"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="interleaved rounds; default: 3")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file, as Markdown")
    options = parser.parse_args()
    return measure(options.observations, options.tests, options.rounds).finish(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
