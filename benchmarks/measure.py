"""Medians over interleaved rounds, and one table for the terminal and the docs. Used by all benchmarks."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return `median [min-max]`."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


@dataclass
class Table:
    """A benchmark's result."""

    title: str
    #: One or two sentences that say how it was measured.
    note: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    #: One line for each requirement, with the figure that meets or misses it.
    verdicts: list[str] = field(default_factory=list)
    passed: bool = True

    def require(self, what: str, value: float, limit: float, digits: int = 2) -> None:
        """Hold `value` against an upper `limit`."""
        met = value <= limit
        self.passed &= met
        self.verdicts.append(
            f"{what}: {value:.{digits}f}, must be at most {limit:.{digits}f}: {'met' if met else 'MISSED'}"
        )

    def markdown(self) -> str:
        """Return the section for the docs."""
        rows = [self.columns, ["---"] * len(self.columns), *self.rows]
        lines = [f"## {self.title}", "", self.note, "", *(f"| {' | '.join(row)} |" for row in rows), ""]
        lines += [f"- {verdict}" for verdict in self.verdicts]
        return "\n".join(lines).rstrip() + "\n"

    def text(self) -> str:
        """Return the aligned text for the terminal."""
        rows = [self.columns, *self.rows]
        widths = [max(len(row[index]) for row in rows) for index in range(len(self.columns))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self.title, self.note, "", *lines, "", *self.verdicts])

    def finish(self, markdown: Path | None) -> int:
        """Print the table, also write it to `markdown`, and return the exit status: 1 if a requirement is missed."""
        print(self.text())
        if markdown is not None:
            markdown.write_text(self.markdown(), encoding="utf-8")
        return 0 if self.passed else 1


def progress(text: str) -> None:
    """Print a line of progress to stderr; a benchmark may take minutes."""
    print(text, file=sys.stderr, flush=True)


def surroundings() -> str:
    """Return the versions and the machine that the figures depend on."""
    names = ("pytest", "langfuse", "opentelemetry-sdk")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores, {platform.system()}."
