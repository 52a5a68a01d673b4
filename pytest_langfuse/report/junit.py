"""The file of `--junit-xml`: properties of captured tests, and tests that passed and are degraded all the same."""

from __future__ import annotations

import pytest

from pytest_langfuse.report.captured_lines import fields_of
from pytest_langfuse.report.kept_test import KeptTest


def properties(kept: KeptTest) -> list[tuple[str, str]]:
    """Return the properties of a test: of its traces, as far as it has any, and the codes of what rules have found."""
    fields = fields_of(kept)
    found = {
        "langfuse_trace_ids": " ".join(fields["traces"]),
        "langfuse_tokens": "" if fields["tokens"] is None else f"{fields['tokens']}",
        "langfuse_cost": "" if fields["cost"] is None else f"{fields['cost']:.10g}",
        "langfuse_cost_estimated": "true" if fields["cost_estimated"] else "",
        "langfuse_findings": " ".join(kept.findings),
    }
    return [(name, value) for name, value in found.items() if value]


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
