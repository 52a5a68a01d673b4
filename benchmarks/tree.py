"""Measure how the time to build, match and render a tree grows from 10,000 to 100,000 observations.

    python benchmarks/tree.py [--small N] [--large N] [--repeat N]

Prints milliseconds of processor time, and how many times more the large tree takes; linear growth is 10 at the default
sizes. Each figure is the fastest of several runs. Exit status 1 if a step takes more than `--limit` times as long.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

from measure import Table, surroundings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse import Observation, Observations, TreeMismatch
from pytest_langfuse.recording import SpanRecord
from pytest_langfuse.recording.sources.static import StaticSource

#: Observations of one trace: a request with three steps, of which each has two calls.
_TRACE = 10


def records(count: int) -> list[Observation]:
    """Return `count` observations in traces of ten, all alike but for their input."""
    return [_observation(index) for index in range(count)]


def _observation(index: int) -> Observation:
    trace, place = divmod(index, _TRACE)
    # 0 is the root, 1 to 3 are steps below it, 4 to 9 calls below the steps.
    parent = None if place == 0 else 0 if place <= 3 else (place - 4) // 2 + 1  # noqa: PLR2004
    record = SpanRecord(
        trace_id=f"{trace + 1:032x}",
        span_id=f"{index + 1:016x}",
        parent_span_id=None if parent is None else f"{trace * _TRACE + parent + 1:016x}",
        name="",
        start_ns=index + 1,
        end_ns=index + 2,
    )
    return Observation(
        id=record.span_id,
        trace_id=record.trace_id,
        parent_id=record.parent_span_id,
        name=("request", "step", "llm")[(place > 0) + (place > 3)],  # noqa: PLR2004
        type=("span", "chain", "generation")[(place > 0) + (place > 3)],  # noqa: PLR2004
        model="gpt-4o" if place > 3 else None,  # noqa: PLR2004
        input={"question": index},
        user_id="u-1",
        usage={"input": index % 7, "total": index % 7},
        record=record,
    )


def export_body(count: int) -> bytes:
    """Return an export body (OTLP) of the same traces."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    scope.scope.name = "langfuse-sdk"
    for observation in records(count):
        record = observation.record
        span = scope.spans.add(name=observation.name, start_time_unix_nano=record.start_ns)
        span.end_time_unix_nano = record.start_ns + 1
        span.trace_id, span.span_id = bytes.fromhex(record.trace_id), bytes.fromhex(record.span_id)
        span.parent_span_id = bytes.fromhex(record.parent_span_id or "")
        for key, value in (("observation.type", observation.type), ("observation.input", '{"question":1}')):
            span.attributes.add(key=f"langfuse.{key}").value.string_value = value
    return bytes(request.SerializeToString())


def wide(count: int) -> list[Observation]:
    """Return `count` observations of which all but one are children of that one."""
    made = records(count)
    for observation in made[1:]:
        observation.trace_id, observation.parent_id = made[0].trace_id, made[0].id
        observation.name = "llm"
    return made


def deep(count: int) -> list[Observation]:
    """Return a chain of `count` observations."""
    made = records(count)
    for above, observation in pairwise(made):
        observation.trace_id, observation.parent_id = above.trace_id, above.id
    return made


def steps(count: int) -> dict[str, Callable[[], float]]:
    """Return the steps to measure, by name. Each returns seconds."""
    forest, flat = records(count), wide(count)
    observations, siblings = Observations(StaticSource(forest)), Observations(StaticSource(flat))
    chain = Observations(StaticSource(deep(count)))
    body = export_body(count)
    literal, flat_literal = str(observations), str(siblings)
    changed = _with_changes(literal, 3)
    reversed_lines = _reversed(flat_literal)
    return {
        "build": lambda: _time(lambda: Observations.from_otlp(body)),
        "build and render": lambda: _time(lambda: str(Observations.from_otlp(body))),
        "render": lambda: _time(lambda: str(observations)),
        "match": lambda: _time(lambda: observations.assert_tree(literal)),
        "match, any order": lambda: _time(lambda: observations.assert_tree(literal, order="any")),
        "match siblings in any order": lambda: _time(lambda: siblings.assert_tree(reversed_lines, order="any")),
        "match with ...": lambda: _time(lambda: siblings.assert_tree("span request\n  ...\n  any llm\n  ...")),
        "contain": lambda: _time(lambda: observations.assert_contains("span request\n  chain step\n    2x any llm")),
        "fail: three values": lambda: _failing(observations, changed),
        "fail: siblings out of order": lambda: _failing(siblings, reversed_lines),
        "fail: all unexpected": lambda: _failing(observations, "span other"),
        "fail: a chain": lambda: _failing(chain, "span request\n  chain step\n    generation other"),
    }


def _with_changes(literal: str, number: int) -> str:
    lines = literal.split("\n")
    for index in range(number):
        place = (index + 1) * len(lines) // (number + 1)
        lines[place] = lines[place].replace('"question":', '"other":')
    return "\n".join(lines)


def _reversed(literal: str) -> str:
    lines = literal.split("\n")
    top = next(index for index, line in enumerate(lines) if not line.startswith("*")) + 1
    return "\n".join([*lines[:top], *reversed(lines[top:])])


def _time(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def _failing(observations: Observations, literal: str) -> float:
    def work() -> None:
        try:
            observations.assert_tree(literal)
        except TreeMismatch:
            return
        raise AssertionError("it must not match")

    return _time(work)


def measure(small: int, large: int, repeat: int, only: Iterable[str] = ()) -> list[tuple[str, float, float]]:
    """Return the seconds of each step at both sizes."""
    few, many = steps(small), steps(large)
    names = [name for name in few if not only or name in only]
    # In turns: a machine that is slower for a while must not be slower for one of the sizes only.
    pairs = {name: [(few[name](), many[name]()) for _ in range(repeat)] for name in names}
    return [(name, min(one for one, _ in taken), min(other for _, other in taken)) for name, taken in pairs.items()]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10_000, metavar="N", help="observations in the small tree")
    parser.add_argument("--large", type=int, default=100_000, metavar="N", help="observations in the large tree")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="number of runs; the fastest counts")
    parser.add_argument(
        "--limit", type=float, default=12.0, metavar="X", help="how many times as long the large tree may take"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="STEP", help="measure only this step; can be repeated"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file, as Markdown")
    arguments = parser.parse_args()
    table = Table(
        "Large trees",
        f"Milliseconds of processor time, the fastest of {arguments.repeat} runs; linear growth is "
        f"{arguments.large / arguments.small:.0f} x. {surroundings()}",
        ("step", f"{arguments.small:,} observations", f"{arguments.large:,} observations", "x"),
    )
    for name, few, many in measure(arguments.small, arguments.large, arguments.repeat, arguments.only):
        table.rows.append((name, f"{few * 1000:.0f} ms", f"{many * 1000:.0f} ms", f"{many / few:.1f}"))
        table.require(f"{name}, x", many / few, arguments.limit, 1)
    return table.finish(arguments.markdown)


if __name__ == "__main__":
    sys.exit(main())
