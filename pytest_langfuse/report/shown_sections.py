"""Secrets in what the plugin itself adds to the report of a test: the terminal is the log of a CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pytest

    from pytest_langfuse.report.redaction import Redaction

#: Titles of our sections begin so.
_OURS: Final = "Langfuse "


def hide_secrets(report: pytest.TestReport, redaction: Redaction) -> None:
    """Take secrets out of our sections, and of failures without a traceback, as ours are."""
    report.sections = [
        (redaction.text(title), redaction.text(text)) if title.startswith(_OURS) else (title, text)
        for title, text in report.sections
    ]
    if report.failed and isinstance(report.longrepr, str):
        report.longrepr = redaction.text(report.longrepr)
