"""The summary line at the end of a run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.options import Options

#: Title of the section that a test's report carries.
SECTION = "Langfuse trace"


class Summary:
    """Counts of one run, merged over xdist's workers."""

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()

    def add(self, totals: Mapping[str, int]) -> None:
        """Add the counts of one process."""
        self._totals.update(totals)

    def line(self) -> str:
        """E.g. `langfuse: 412 observations in 96 tests, 3 never ended`."""
        observations, tests = self._totals["observations"], self._totals["tests"]
        text = f"langfuse: {_count(observations, 'observation')} in {_count(tests, 'test')}"
        if never := self._totals["never_ended"]:
            text += f", {never} never ended"
        if not observations and (switch := _switched_off()):
            text += f" (tracing is switched off by {switch})"
        return text

    def write(self, terminal: TerminalReporter, options: Options) -> None:
        """Print the line, behind the traces of passed tests if `--langfuse-show=all` asks for them."""
        if options.show == "all":
            _write_passed(terminal)
        terminal.write_line(self.line())


def _write_passed(terminal: TerminalReporter) -> None:
    """Pytest prints sections of failed tests only (`-rP` aside)."""
    for report in terminal.stats.get("passed", ()):
        for title, text in report.sections:
            if title == SECTION and report.when == "call":
                terminal.write_sep("-", f"{SECTION}: {report.nodeid}")
                terminal.write_line(text)


def _switched_off() -> str | None:
    """The variable that makes every client do nothing, if there is one: the usual reason for an empty capture."""
    for name, off in (("LANGFUSE_TRACING_ENABLED", "false"), ("OTEL_SDK_DISABLED", "true")):
        if (value := os.environ.get(name, "")).lower() == off:
            return f"{name}={value}"
    return None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
