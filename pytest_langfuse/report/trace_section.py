"""The section "Langfuse trace" in the report of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.expect.text.not_exported import by_reason
from pytest_langfuse.expect.text.overview import overview
from pytest_langfuse.expect.text.style import Style, current
from pytest_langfuse.report.summary import TRACE_SECTION

if TYPE_CHECKING:
    import pytest

    from pytest_langfuse.options import Show
    from pytest_langfuse.recording.sources.source import Source

#: How many lines of a trace a section shows without -vv.
_LINES = 200


def add_trace_section(report: pytest.TestReport, source: Source, show: Show) -> None:
    """Add the trace to the report of a failing test, or of any test with `--langfuse-show=all`."""
    if show == "none" or (show == "failed" and not report.failed) or (report.when != "call" and not report.failed):
        return
    if any(title == TRACE_SECTION for title, _ in report.sections):
        return
    report.sections.append((TRACE_SECTION, _trace_text(source, current())))


def _trace_text(source: Source, style: Style) -> str:
    """Return the traces that Langfuse would show and what was recorded but not exported."""
    rows = overview(source.observations(), source.scores(), style) or ["(nothing was exported to Langfuse)"]
    if not style.whole and len(rows) > _LINES:
        rows = [*rows[:_LINES], f"... {len(rows) - _LINES} more lines (-vv shows all)"]
    if missing := by_reason(source.unexported()):
        rows += ["", "Recorded but not exported:", *(line for sentence in missing for line in style.wrapped(sentence))]
    return "\n".join(rows)
