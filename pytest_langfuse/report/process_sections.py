"""The output of a failing test's processes: one section of its report for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_langfuse.process.app import App
from pytest_langfuse.process.output import last_lines

if TYPE_CHECKING:
    import pytest

#: How many lines a section shows without -vv.
_LINES = 100


def add_process_sections(report: pytest.TestReport, apps: Iterable[App], *, whole: bool) -> None:
    """Add a section for each process with its output and how it ended; only the last lines unless `whole`."""
    for app in apps:
        text = app.output if whole else last_lines(app.output, _LINES)
        report.sections.append((f"Langfuse process `{app.label}` {app.how_it_ended}", text or "(it printed nothing)"))
