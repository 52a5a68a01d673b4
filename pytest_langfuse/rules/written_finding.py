"""Findings of a run of pytest as lines of JSON, written by `--langfuse-json` and read by `check`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from pytest_langfuse.arguments import shown
from pytest_langfuse.recording.sources.json_lines import Line
from pytest_langfuse.rules.baseline import relative
from pytest_langfuse.rules.finding import Finding
from pytest_langfuse.rules.rule import all_rules

#: The value of "kind" in such a line.
FINDING: Final = "finding"
_FIELDS: Final[Mapping[str, type]] = {
    "code": str,
    "text": str,
    "fix": str,
    "observation": str,
    "file": str,
    "line": int,
    "function": str,
    "known": bool,
}


class BadLine(ValueError):  # noqa: N818 - reads as what happened
    """A line that is not one of these; the message says which."""


@dataclass(frozen=True, slots=True)
class WrittenPlace:
    """A place in the application that was read from a file."""

    file: str
    line: int
    qualname: str

    @property
    def lines(self) -> tuple[int, int]:
        """The line, as the first and the last one."""
        return self.line, self.line

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class WrittenFinding(NamedTuple):
    """A finding, and whether the baseline of its run had it."""

    finding: Finding
    is_known: bool


def row_of(finding: Finding, test: str, root: Path, *, is_known: bool) -> dict[str, Any]:
    """Return a finding as what JSON can hold; paths are relative to `root`."""
    place = finding.place
    return {
        "kind": FINDING,
        "test": test,
        "code": finding.code,
        "rule": finding.rule,
        "severity": finding.severity,
        "text": finding.text,
        "fix": finding.fix,
        "observation": finding.observation,
        "trace": finding.trace_id,
        "id": finding.observation_id,
        "file": "" if place is None else relative(place.file, root),
        "line": 0 if place is None else place.line,
        "function": "" if place is None else place.qualname,
        "known": is_known,
    }


def findings_in(lines: Iterable[Line], root: Path) -> list[WrittenFinding]:
    """Return the findings in lines of a file of `--langfuse-json`; `root` is the folder to which paths are relative.

    Raises:
        BadLine: a line is damaged.
    """
    return [_finding(line.row, line.number, root) for line in lines]


def _finding(row: Mapping[str, Any], number: int, root: Path) -> WrittenFinding:
    for key, kind in _FIELDS.items():
        if not isinstance(row.get(key), kind):
            raise BadLine(f"line {number}: {key!r} of the finding is {shown(row.get(key))}")
    rule = all_rules().get(row["code"])
    if rule is None:
        raise BadLine(f"line {number}: {shown(row['code'])} is not the code of a rule")
    place = WrittenPlace(str(root / row["file"]), row["line"], row["function"]) if row["file"] else None
    finding = Finding(rule.code, rule.name, rule.severity, row["text"], row["fix"], row["observation"], place)
    return WrittenFinding(finding, row["known"])
