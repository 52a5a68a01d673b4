"""The summary line at the end of a run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pytest_langfuse.rules.counted import counted

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.options import Show
    from pytest_langfuse.report.run_totals import RunTotals

#: The title of the section with a test's trace.
TRACE_SECTION = "Langfuse trace"


def write_summary(
    terminal: TerminalReporter, counts: Iterable[Mapping[str, int]], show: Show, written: RunTotals | None
) -> None:
    """Print the summary line, after the traces of passed tests if `show` is "all".

    `counts` are those of each process of the run: one, or xdist's workers. What a file says of the run was `written`:
    this line says the same.
    """
    if show == "all":
        _write_passed(terminal)
    totals: Counter[str] = Counter()
    for of_process in counts:
        totals.update(of_process)
    if written is not None:
        of_run = {"observations": written.observations, "tests": written.traced, "never_ended": written.unended}
        totals = Counter({**totals, **of_run})
    terminal.write_line(_line(totals))


def _line(totals: Mapping[str, int]) -> str:
    """Return the summary line, such as `langfuse: 412 observations in 96 tests, 3 never ended`."""
    observations, tests = totals["observations"], totals["tests"]
    text = f"langfuse: {counted(observations, 'observation')} in {counted(tests, 'test')}"
    if never_ended := totals["never_ended"]:
        text += f", {never_ended} never ended"
    if orphan_scores := totals["orphan_scores"]:
        text += f", {counted(orphan_scores, 'score')} of what nothing made"
    if not observations and (switch := _switched_off()):
        text += f" (tracing is switched off by {switch})"
    if observations and (limit := _length_limit()):
        text += f" (values are cut after {limit}, JSON in its middle)"
    return text


def _write_passed(terminal: TerminalReporter) -> None:
    # Pytest itself prints the sections of failed tests only, except with -rP.
    for report in terminal.stats.get("passed", ()):
        for title, text in report.sections:
            if title == TRACE_SECTION and report.when == "call":
                terminal.write_sep("-", f"{TRACE_SECTION}: {report.nodeid}")
                terminal.write_line(text)


def _length_limit() -> str | None:
    """Return how long values of spans can be, and the variable that says so, or `None` if any length is kept.

    The first of the two is the one that counts (OpenTelemetry, "Span Limits").
    """
    for name in ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"):
        if (value := os.environ.get(name, "").strip()).isdecimal():
            return f"{counted(int(value), 'character')} by {name}"
    return None


def _switched_off() -> str | None:
    """Return the variable that switches every client off, the usual reason for an empty capture, or `None`."""
    for name, off in (("LANGFUSE_TRACING_ENABLED", "false"), ("OTEL_SDK_DISABLED", "true")):
        if (value := os.environ.get(name, "")).lower() == off:
            return f"{name}={value}"
    return None
