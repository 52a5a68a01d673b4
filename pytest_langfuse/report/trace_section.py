"""The section "Langfuse trace" in the report of a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytest_langfuse.expect.shown_secrets import with_note
from pytest_langfuse.expect.text.not_exported import by_reason
from pytest_langfuse.expect.text.overview import OverviewLine, overview_lines
from pytest_langfuse.expect.text.render import Word
from pytest_langfuse.expect.text.shortened import shortened
from pytest_langfuse.expect.text.style import Style, current
from pytest_langfuse.report.summary import TRACE_SECTION
from pytest_langfuse.report.trace_columns import TraceColumns

if TYPE_CHECKING:
    import pytest

    from pytest_langfuse.options import Show
    from pytest_langfuse.recording.sources.source import Source

#: How many lines of a trace, and sentences on what was not exported, a section shows without -vv.
_LINES: Final = 200
_SENTENCES: Final = 50


def add_trace_section(report: pytest.TestReport, source: Source, show: Show) -> None:
    """Add the trace to the report of a failing test, or of any test with `--langfuse-show=all`."""
    if show == "none" or (show == "failed" and not report.failed) or (report.when != "call" and not report.failed):
        return
    if any(title == TRACE_SECTION for title, _ in report.sections):
        return
    report.sections.append((TRACE_SECTION, trace_text(source, current())))


def trace_text(source: Source, style: Style) -> str:
    """Return the traces that Langfuse would show and what was recorded but not exported."""
    rows = _trace_lines(source, style) or ["(nothing was exported to Langfuse)"]
    if missing := by_reason(source.unexported()):
        rows += ["", "Recorded but not exported:", *_wrapped(missing, style)]
    return with_note("\n".join(rows), mark="# ")


def _trace_lines(source: Source, style: Style) -> list[str]:
    observations = source.observations()
    columns = TraceColumns(observations, style)
    lines = shortened(overview_lines(observations, source.scores()), None if style.whole else _LINES)
    # Several traces have titles, which say it.
    if len({one.trace_id for one in observations}) == 1 and columns.needs_total(observations):
        lines.append(OverviewLine(0, lambda _width, _without: (Word("# total"),), members=observations))
    return columns.beside(lines)


def _wrapped(sentences: Sequence[str], style: Style) -> list[str]:
    shown = sentences if style.whole else sentences[:_SENTENCES]
    more = [f"  {len(sentences) - len(shown):,} more (-vv shows all)"] if len(shown) < len(sentences) else []
    return [*(line for sentence in shown for line in style.wrapped(sentence)), *more]
