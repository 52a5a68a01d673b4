"""Hands keys that a worker of xdist has seen in its environment to the controller, which writes the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from pytest_langfuse.report.redaction import Redaction

#: The attribute of a report with the values, each with the name of its variable.
_SEEN: Final = "pytest_langfuse_seen_keys"


def send_seen_keys(redaction: Redaction, report: pytest.TestReport) -> None:
    """Send what a worker has seen since the last report along with this one."""
    if found := redaction.keys.news():
        setattr(report, _SEEN, found)


def take_seen_keys(redaction: Callable[[], Redaction], report: pytest.TestReport) -> None:
    """Take over what a worker has seen, out of the report: other plugins write these into files."""
    if (found := report.__dict__.pop(_SEEN, None)) is not None:
        redaction().keys.take(found)
