"""The file of `--junit-xml`: properties of captured tests, tests that passed and fail all the same, and no secrets.

pytest has no public way to change what it writes of one test in this file alone (read from 8.2 and 9.2).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pytest

from pytest_langfuse.report.captured_lines import fields_of
from pytest_langfuse.report.kept_test import KeptTest
from pytest_langfuse.report.redaction import Redaction
from pytest_langfuse.report.repeated_tests import is_rerun, run_key

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

_RERUNS: Final = "langfuse_reruns"
_TRACE_IDS: Final = "langfuse_trace_ids"


def properties(kept: KeptTest) -> list[tuple[str, str]]:
    """Return the properties of a test: of its traces, as far as it has any, and the codes of what rules have found."""
    fields = fields_of(kept)
    found = {
        _TRACE_IDS: " ".join(fields["traces"]),
        "langfuse_tokens": "" if fields["tokens"] is None else f"{fields['tokens']}",
        "langfuse_cost": "" if fields["cost"] is None else f"{fields['cost']:.10g}",
        "langfuse_cost_estimated": "true" if fields["cost_estimated"] else "",
        "langfuse_findings": " ".join(kept.findings),
    }
    return [(name, value) for name, value in found.items() if value]


class JunitFile:
    """Changes what pytest will write to the file. A plugin of its run, registered where the file is written."""

    def __init__(self, config: pytest.Config) -> None:
        from _pytest.junitxml import xml_key

        # Registered after pytest has made it, and taken again in time by `_pytest.junitxml` itself.
        self._xml: Any = config.stash.get(xml_key, None)
        #: The writer of the element of each test.
        self._writers: dict[Hashable, Any] = {}
        #: How often tests were run again.
        self._reruns: Counter[Hashable] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what writes the element of a test, as long as it can be asked for; count attempts that failed."""
        if self._xml is None:
            return
        key = run_key(report)
        if is_rerun(report):
            self._reruns[key] += 1
        if report.when in {"call", "teardown"}:
            self._writers[key] = self._xml.node_reporter(report)

    def finish(self, redaction: Redaction, failures: Iterable[tuple[Hashable, str]], error: str | None) -> None:
        """Fail tests, given as keys of reports and messages, and the run for an `error` outside of tests.

        It takes out secrets, too. Call it before pytest writes the file.
        """
        if self._xml is None:
            return
        if error is not None:
            writer = self._xml.node_reporter("pytest_langfuse")
            writer.attrs.update(classname="pytest_langfuse", name="outside of tests")
            writer._add_simple("error", error, error)  # noqa: SLF001 - as pytest does for an internal error
        for test, reruns in self._reruns.items():
            if (writer := self._writers.get(test)) is not None:
                _add_property(_finished(writer), _RERUNS, str(reruns))
        for test, message in failures:
            self._fail(test, message)
        for writer in self._xml.node_reporters_ordered:
            for element in _finished(writer).iter():
                _redact(element, redaction)

    def _fail(self, test: Hashable, message: str) -> None:
        writer = self._writers.get(test)
        if writer is None:
            return
        case = _finished(writer)
        _add_property(case, "langfuse_exceeded", message)
        if case.find("failure") is None and case.find("error") is None:
            ET.SubElement(case, "failure", message=message.partition("\n")[0]).text = message
            self._xml.stats["passed"] -= 1
            self._xml.stats["failure"] += 1


def _finished(writer: Any) -> ET.Element:
    if "to_xml" not in vars(writer):
        # A test that was cut short: otherwise each call would make another element.
        writer.finalize()
    element: ET.Element = writer.to_xml()
    return element


def _add_property(case: ET.Element, name: str, value: str) -> None:
    properties = case.find("properties")
    if properties is None:
        properties = ET.Element("properties")
        case.insert(0, properties)
    ET.SubElement(properties, "property", name=name, value=value)


def _redact(element: ET.Element, redaction: Redaction) -> None:
    # Trace ids look like keys.
    if element.get("name") != _TRACE_IDS:
        for name, value in element.attrib.items():
            element.set(name, redaction.text(value))
    if element.text:
        element.text = redaction.text(element.text)


def add_failure(config: pytest.Config, report: pytest.TestReport, message: str) -> None:
    """Record a failure of a test that passed. Without `--junit-xml`, this does nothing.

    As of pytest's own failures, the first line of `message` is the summary, and the whole of it the text.

    Call it before pytest itself has seen the last report of the test, with that report.
    """
    from _pytest.junitxml import xml_key

    xml = config.stash.get(xml_key, None)
    if xml is not None:
        xml.node_reporter(report)._add_simple("failure", message.partition("\n")[0], message)  # noqa: SLF001
        xml.stats["passed"] -= 1
