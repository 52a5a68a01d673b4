"""Findings of rules in the tests of a run: failures in strict mode, and lines of the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_langfuse.report.run_baseline import FOR_FINDINGS, RunBaseline
from pytest_langfuse.rules.checked import root_of
from pytest_langfuse.rules.ignore_comment import BadComment, ignored_at
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet, UnknownRule, ignored_codes
from pytest_langfuse.rules.written_finding import row_of

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.recording.sources.combined import CombinedSource
    from pytest_langfuse.recording.sources.live import LiveSource
    from pytest_langfuse.rules.finding import Finding

#: The attribute of a report that holds lines for a JSON file.
FINDING_ROWS = "pytest_langfuse_finding_rows"
_MARKER = "langfuse_rules"
_HEADING = "Langfuse rules"


class RuleTotal(NamedTuple):
    """The findings of one rule in a run, in a form that xdist can hand on."""

    code: str
    rule: str
    severity: str
    times: int
    #: The sentence of the first finding.
    text: str


class RuleFindings:
    """Judges tests by a set of rules, and counts. In `strict` mode findings fail the test.

    Findings that `baseline` knows neither count nor fail.
    """

    def __init__(
        self, rules: RuleSet, *, strict: bool, baseline: RunBaseline | None = None, writes_json: bool = False
    ) -> None:
        self._rules, self._strict, self._baseline, self._writes_json = rules, strict, baseline, writes_json
        self._totals: dict[str, RuleTotal] = {}
        #: The findings of the test that runs, from its call on.
        self._of_test: list[Finding] = []
        #: The source that was judged whole, and how many spans and waits it had.
        self._judged: tuple[LiveSource, int, int] | None = None
        #: Whether a comment or a marker of the test is wrong.
        self._is_refused = False

    def judge(self, report: pytest.TestReport, item: pytest.Item, source: CombinedSource, own: LiveSource) -> None:
        """Evaluate the rules after the call of a test, and after its teardown for what has been added.

        `own` is the part of `source` that this process has made.
        """
        if report.when == "setup":
            # A test whose marker is wrong has failed with that.
            self._of_test, self._is_refused = [], report.failed
            return
        so_far = own, len(own.spans), len(own.waits)
        if report.when == "teardown" and self._judged == so_far and not own.late_spans:
            # All of it had ended with the call: nothing can have changed.
            return
        self._judged = so_far if own.is_settled(len(own.spans)) and not source.others else None
        try:
            found = self._new(report, item, source)
        except (BadComment, UnknownRule) as error:
            # Once for a test.
            if not self._is_refused:
                _fail(report, str(error))
            self._is_refused = True
            return
        found = self._new_ones(report, item, found)
        for finding in found:
            self._count(finding)
        serious = [finding for finding in found if self._rules.fails(finding)]
        if self._strict and serious:
            _fail(report, "\n".join(map(str, serious)), for_findings=True)

    def _new(self, report: pytest.TestReport, item: pytest.Item, source: CombinedSource) -> list[Finding]:
        final = report.when == "teardown"
        ignored = ignored_by_markers(item)
        evidence = evidence_of(source, item.nodeid, final=final)
        found = [
            finding
            for finding in self._rules.without(ignored).find(evidence)
            if finding not in self._of_test and finding.code not in ignored_at(finding.place)
        ]
        self._of_test += found
        return found

    def _new_ones(self, report: pytest.TestReport, item: pytest.Item, found: list[Finding]) -> list[Finding]:
        """Return what the baseline does not have. The report carries all findings, as lines for a JSON file."""
        baseline = self._baseline
        new = found if baseline is None else [finding for finding in found if baseline.is_new(finding)]
        if self._writes_json and found:
            root = root_of(item.config.rootpath)
            rows = [row_of(finding, item.nodeid, root, is_known=finding not in new) for finding in found]
            setattr(report, FINDING_ROWS, rows)
        return new

    def _count(self, finding: Finding) -> None:
        total = self._totals.get(finding.code)
        if total is None:
            total = RuleTotal(finding.code, finding.rule, finding.severity, 0, finding.text)
        self._totals[finding.code] = total._replace(times=total.times + 1)

    def totals(self) -> list[RuleTotal]:
        """Return what was found so far, by rule."""
        return [self._totals[code] for code in sorted(self._totals)]


def ignored_by_markers(item: pytest.Item) -> frozenset[str]:
    """Return the codes that the markers `langfuse_rules(ignore=[...])` of a test name.

    Raises:
        UnknownRule: a marker has anything else; the message names the test.
    """
    try:
        return frozenset().union(*map(_ignored_by, item.iter_markers(_MARKER)))
    except (ValueError, TypeError) as error:
        raise UnknownRule(f"{item.nodeid}: {error}") from None


def _ignored_by(marker: pytest.Mark) -> frozenset[str]:
    if marker.args or set(marker.kwargs) != {"ignore"}:
        raise ValueError(f'{_MARKER} takes ignore= alone, such as @pytest.mark.{_MARKER}(ignore=["LF005"])')
    return ignored_codes(_MARKER, marker.kwargs["ignore"])


def check_markers(item: pytest.Item) -> None:
    """Fail a test that has a wrong marker. Without a traceback, which would show no line of it."""
    try:
        ignored_by_markers(item)
    except UnknownRule as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def write_totals(terminal: TerminalReporter, totals: Iterable[RuleTotal], hidden: Callable[[str], str]) -> None:
    """Print a line a rule: `langfuse: LF006 no model (4 times): 'answer' (bot/app.py:12) …`, without secrets."""
    merged: dict[str, RuleTotal] = {}
    for total in totals:
        before = merged.get(total.code)
        merged[total.code] = total if before is None else before._replace(times=before.times + total.times)
    for code in sorted(merged):
        total = merged[code]
        times = "once" if total.times == 1 else f"{total.times} times"
        terminal.write_line(f"langfuse: {code} {total.rule} ({total.severity}, {times}): {hidden(total.text)}")
    if merged:
        terminal.write_line("langfuse: `python -m pytest_langfuse.rules explain CODE` tells why, and how to mend it")


def _fail(report: pytest.TestReport, text: str, *, for_findings: bool = False) -> None:
    if report.outcome == "failed":
        report.sections.append((_HEADING, text))
        return
    report.outcome = "failed"
    report.longrepr = text
    setattr(report, FOR_FINDINGS, for_findings)
    # An expected failure is another one.
    report.__dict__.pop("wasxfail", None)


def totals_from(handed_on: Iterable[Mapping[str, Any]]) -> list[RuleTotal]:
    """Return the counts that a worker of xdist has handed on."""
    return [RuleTotal(**fields) for fields in handed_on]
