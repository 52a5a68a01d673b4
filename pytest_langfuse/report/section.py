"""The section "Langfuse trace" of a test's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.expect.literal.values import WIDTH
from pytest_langfuse.expect.text.render import render
from pytest_langfuse.report.summary import SECTION

if TYPE_CHECKING:
    import pytest

    from pytest_langfuse.options import Show
    from pytest_langfuse.recording.sources.source import Source

#: Lines of a trace that a section shows without -vv.
_LINES = 200


def add_section(report: pytest.TestReport, source: Source, show: Show, *, verbose: int) -> None:
    """Show the trace under a failing test, or under each with `--langfuse-show=all`."""
    if show == "none" or (show == "failed" and not report.failed) or (report.when != "call" and not report.failed):
        return
    if any(title == SECTION for title, _ in report.sections):
        return
    report.sections.append((SECTION, trace_text(source, whole=verbose > 1)))


def trace_text(source: Source, *, whole: bool) -> str:
    """The tree that Langfuse would show, then what was recorded but not exported; long values cut unless `whole`."""
    tree = render(source.observations(), None if whole else WIDTH) or "(nothing was exported to Langfuse)"
    rows = tree.splitlines()
    if not whole and len(rows) > _LINES:
        rows = [*rows[:_LINES], f"... {len(rows) - _LINES} more lines (-vv shows all)"]
    missing = [f"  `{item.observation.name}`: {item.detail}" for item in source.unexported()]
    if missing:
        rows += ["", "Recorded but not exported:", *missing]
    return "\n".join(rows)
