"""Tests that passed and are degraded all the same, in the file of `--junit-xml`."""

from __future__ import annotations

import pytest


def add_failure(config: pytest.Config, report: pytest.TestReport, message: str) -> None:
    """Record a failure of a test that passed. Without `--junit-xml`, this does nothing.

    As of pytest's own failures, the first line of `message` is the summary, and the whole of it the text.

    Call it before pytest itself has seen the last report of the test, with that report.
    """
    # pytest has no public way to change the verdict of one test in this file alone (read from 8.2 and 9.2).
    from _pytest.junitxml import xml_key

    xml = config.stash.get(xml_key, None)
    if xml is not None:
        xml.node_reporter(report)._add_simple("failure", message.partition("\n")[0], message)  # noqa: SLF001
        xml.stats["passed"] -= 1
