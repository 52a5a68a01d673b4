"""The tests of a run, as far as another run is compared with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from pytest_langfuse.arguments import shown
from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.otlp.decompress import decompress
from pytest_langfuse.recording.sources.json_lines import Line, is_run, read_run
from pytest_langfuse.recording.sources.readable_file import content_of
from pytest_langfuse.recording.span_record import SpanRecord
from pytest_langfuse.recording.trace import link
from pytest_langfuse.report.amounts import number_of
from pytest_langfuse.report.figures import counted
from pytest_langfuse.report.line_schema import problem_of
from pytest_langfuse.rules.baseline import folded

#: The fields that are read, by the kinds of lines.
_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "test": ("test", "fault", "outcome", "duration", "tokens", "cost", "models"),
    "observation": ("test", "fault", "trace", "id", "parent", "type", "name", "start", "exported"),
}

#: The id of a test, and the fault of the suite.
TestKey = tuple[str, str | None]


class BadComparison(ValueError):  # noqa: N818 - reads as what happened
    """A file that is not one of a run; the message says why."""


class _Node(NamedTuple):
    trace: str
    id: str
    parent: str | None
    type: str
    name: str
    start: int


@dataclass
class ComparedTest:
    """A test of a run. `duration` is in seconds, `cost` in USD."""

    key: TestKey
    duration: float
    tokens: float | None
    cost: float | None
    cost_estimated: bool
    models: Sequence[str]
    nodes: list[_Node] = field(default_factory=list)

    @cached_property
    def observations(self) -> list[Observation]:
        """The observations, linked. Ids and numbers in their names count as equal."""
        return link(_observation(node) for node in self.nodes)

    @cached_property
    def shape(self) -> Sequence[int]:
        """Numbers that stand for the types and names of the trees, the same whatever the order of siblings."""
        order = [one for one in self.observations if one.parent is None]
        roots = list(order)
        for one in order:
            # The loop goes on with them, so that parents come first.
            order += one.children
        numbers: dict[int, int] = {}
        for one in reversed(order):
            below = tuple(sorted(numbers[id(child)] for child in one.children))
            numbers[id(one)] = hash((one.type, one.name, below))
        return sorted(numbers[id(root)] for root in roots)


def _observation(node: _Node) -> Observation:
    # An earlier file may have a secret in clear, and what is left of one whose digits are folded is not recognised.
    name = folded(hidden(node.name))
    record = SpanRecord(
        trace_id=node.trace, span_id=node.id, parent_span_id=node.parent, name=name, start_ns=node.start * 1_000
    )
    return Observation(
        id=node.id,
        trace_id=node.trace,
        parent_id=node.parent,
        name=name,
        type=node.type,
        is_root=node.parent is None,
        record=record,
    )


class ComparedRun:
    """The tests of a run, by id and fault."""

    def __init__(self) -> None:
        self.tests: dict[TestKey, ComparedTest] = {}

    @classmethod
    def of_file(cls, path: Path) -> ComparedRun:
        """Return the tests in a file of `--langfuse-json`.

        Raises:
            BadComparison: it can't be read, or holds anything else.
        """
        try:
            plain = decompress(content_of(path))
            if not is_run(plain):
                raise BadComparison("is not a file of --langfuse-json")
            lines = read_run(plain)
        except OSError as error:
            raise BadComparison(f"can't be read: {error.strerror or error}") from None
        except DecodeError as error:
            raise BadComparison(f"can't be read: {error}") from None
        if not lines.of("test"):
            raise BadComparison("has no tests: it is of an earlier version, or of a run in which no test began")
        if (runs := len(lines.of("run"))) > 1:
            raise BadComparison(f"holds {runs} runs, from line {lines.of('run')[1].number}; name a file of one run")
        found = cls()
        for kind, fields in _FIELDS.items():
            for line in lines.of(kind):
                if (problem := problem_of(line.row, fields)) is not None:
                    raise BadComparison(f"can't be read: line {line.number}: {problem}")
                found.add(line.row)
        found._check_whole(lines.of("test"))
        return found

    def _check_whole(self, lines: Iterable[Line]) -> None:
        """Raise if the lines of observations are not as many as the lines of their tests say."""
        for line in lines:
            test, told = self.tests[line.row["test"], line.row["fault"]], line.row.get("observations")
            if isinstance(told, int) and told != len(test.nodes):
                counts = f"{counted(told, 'observation')}, and lines of {len(test.nodes)}"
                raise BadComparison(f"is not whole: line {line.number}: the test {shown(test.key[0])} has {counts}")

    @classmethod
    def of(cls, lines: Iterable[str]) -> ComparedRun:
        """Return the tests in the lines of a run."""
        found = cls()
        for line in lines:
            row = json.loads(line)
            if row["kind"] in {"test", "observation"}:
                found.add(row)
        return found

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a test, or an observation of a test that was added."""
        key = row["test"], row["fault"]
        if row["kind"] == "test":
            self.tests[key] = ComparedTest(
                key,
                number_of(row["duration"]) or 0.0,
                number_of(row["tokens"]),
                number_of(row["cost"]),
                bool(row.get("cost_estimated")),
                [str(model) for model in row["models"]],
            )
        elif row["exported"] and (test := self.tests.get(key)) is not None:
            test.nodes.append(_Node(row["trace"], row["id"], row["parent"], row["type"], row["name"], row["start"]))
