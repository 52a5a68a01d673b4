"""The section "Langfuse trace" in the report of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.expect.literal.values import WIDTH
from pytest_langfuse.expect.text.render import render
from pytest_langfuse.report.summary import TRACE_SECTION

if TYPE_CHECKING:
    import pytest

    from pytest_langfuse.options import Show
    from pytest_langfuse.recording.sources.source import Source

#: How many lines of a trace a section shows without -vv.
_LINES = 200


def add_trace_section(report: pytest.TestReport, source: Source, show: Show, *, verbose: int) -> None:
    """Add the trace to the report of a failing test, or of any test with `--langfuse-show=all`."""
    if show == "none" or (show == "failed" and not report.failed) or (report.when != "call" and not report.failed):
        return
    if any(title == TRACE_SECTION for title, _ in report.sections):
        return
    report.sections.append((TRACE_SECTION, _trace_text(source, whole=verbose > 1)))


def _trace_text(source: Source, *, whole: bool) -> str:
    """Return the tree that Langfuse would show and what was recorded but not exported; shortened unless `whole`."""
    tree = render(source.observations(), None if whole else WIDTH) or "(nothing was exported to Langfuse)"
    rows = tree.splitlines()
    if not whole and len(rows) > _LINES:
        rows = [*rows[:_LINES], f"... {len(rows) - _LINES} more lines (-vv shows all)"]
    missing = [f"  `{item.observation.name}`: {item.detail}" for item in source.unexported()]
    if missing:
        rows += ["", "Recorded but not exported:", *missing]
    return "\n".join(rows)
