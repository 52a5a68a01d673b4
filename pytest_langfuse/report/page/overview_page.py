"""The overview: what is wrong in the run, what it cost, what was slow. It needs no script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_langfuse.recording.sources.json_lines import EXCEEDED, FAILED
from pytest_langfuse.report.amounts import number_of
from pytest_langfuse.report.page.page_contents import PageContents, texts_of
from pytest_langfuse.report.page.tree_columns import text_of
from pytest_langfuse.report.run_totals import RunTotals
from pytest_langfuse.rules.rule import all_rules
from pytest_langfuse.rules.rule_page import page_of

#: Failed tests with what pytest shows, and rows of the table of outages.
_SHOWN: Final = 100
_TOP: Final = 8
_COUNTS: Final = ("tests", "degraded", "not_compared", "lost")
_OUTCOMES: Final = ("failed", "error", EXCEEDED, "passed", "skipped", "xfailed", "xpassed")

Test = Mapping[str, Any]


def overview_of(contents: PageContents) -> dict[str, Any]:
    """Return what the template shows of a run."""
    tests, run = contents.tests, contents.run
    totals = Totals(contents)
    faults = _faults(tests)
    return {
        "title": text_of(run.get("name")) or "Langfuse traces",
        "noun": contents.noun,
        "command": text_of(run.get("command")),
        "runs": contents.runs,
        "redacted": number_of(run.get("redacted")),
        "incomplete": contents.incomplete,
        "errors": _errors(contents),
        "exit_statuses": sorted(set(contents.exit_statuses)),
        "totals": totals,
        "failures": contents.failures[:_SHOWN],
        "failures_left_out": max(0, len(contents.failures) - _SHOWN),
        "faults": faults,
        "outages": OutageTable.of(tests) if faults else None,
        "told": [*contents.told["degraded"], *contents.told["other"]],
        "rules": _rules(contents),
        "compared": _compared(contents),
        "tops": {
            f"Slowest {contents.noun}s": _top(tests, "duration"),
            f"Most expensive {contents.noun}s": _top(tests, "cost"),
        },
    }


class Totals:
    """The figures at the top of the page."""

    def __init__(self, contents: PageContents) -> None:
        tests = contents.tests
        outcomes = Counter(test["outcome"] for test in tests)
        #: Red ones first.
        self.outcomes: Final = {name: outcomes[name] for name in (*_OUTCOMES, *outcomes) if outcomes[name]}
        self.run: Final = RunTotals()
        for test in tests:
            self.run.add(test)
        self.reruns: Final = sum(test.get("reruns", 0) for test in tests)
        self.findings: Final = contents.findings.total()
        self.is_well = not (contents.failures or self.findings or any(map(_is_bad, tests)))
        self.is_well &= not (contents.exit_statuses or contents.errors or contents.incomplete)
        self.is_well &= all(_is_compared(test) for test in tests if _in_outage(test))


@dataclass(frozen=True)
class OutageTable:
    """Tests by faults. `well` counts the tests that did as well under each fault as without it.

    `not_compared` counts those of which nobody knows how they do without it.
    """

    bad: Mapping[str, Mapping[str, Test]]
    left_out: int
    well: int
    not_compared: int

    @classmethod
    def of(cls, tests: Sequence[Test]) -> OutageTable:
        """Sort the tests that ran in an outage."""
        runs: dict[str, dict[str, Test]] = {}
        for test in tests:
            if _in_outage(test):
                runs.setdefault(test["test"], {})[test["fault"] or ""] = {
                    **test,
                    "is_bad": _is_bad(test),
                    "is_compared": _is_compared(test),
                }
        bad = {name: by_fault for name, by_fault in runs.items() if any(run["is_bad"] for run in by_fault.values())}
        shown = dict(list(bad.items())[:_SHOWN])
        others = [by_fault.values() for name, by_fault in runs.items() if name not in bad]
        well = sum(all(run["is_compared"] for run in by_fault) for by_fault in others)
        return cls(shown, len(bad) - len(shown), well, len(others) - well)


def _errors(contents: PageContents) -> list[str]:
    """Return why runs fail besides their tests; of a file of an earlier version, no more than that one does."""
    is_explained = contents.errors or contents.incomplete or contents.failures
    if contents.exit_statuses and not is_explained:
        return [f"pytest has ended with exit status {contents.exit_statuses[0]}, and no test has failed"]
    return contents.errors


def _faults(tests: Sequence[Test]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for test in tests:
        if _in_outage(test):
            name = test["fault"] or ""
            fault = found.setdefault(name, {"name": name or "outage", **dict.fromkeys(_COUNTS, 0)})
            fault["tests"] += 1
            fault["degraded"] += bool(test.get("degraded"))
            fault["not_compared"] += not _is_compared(test)
            fault["lost"] += number_of(test.get("lost")) or 0
    return found


def _in_outage(test: Test) -> bool:
    return test["fault"] is not None or bool(test.get("degraded"))


def _is_compared(test: Test) -> bool:
    """Return whether it is known how a test does without an outage."""
    return test.get("healthy_outcome") is not None


def _is_bad(test: Test) -> bool:
    return bool(test.get("degraded") or test.get("exceeded")) or test["outcome"] in FAILED


def _compared(contents: PageContents) -> dict[str, Any] | None:
    """Return what has changed since an earlier run: first what exceeds a limit, then what is worse."""
    compared = contents.run.get("compared")
    if not isinstance(compared, dict):
        return None
    changed = sorted(contents.changed, key=lambda test: (not test["exceeded"], not test["worse"]))
    missing = texts_of(compared.get("missing"))
    return {
        "name": text_of(compared.get("with")),
        "sentence": text_of(compared.get("sentence")),
        "not_judged": texts_of(compared.get("not_judged")),
        "changed": changed[:_SHOWN],
        "left_out": max(0, len(changed) - _SHOWN),
        "missing": missing[:_SHOWN],
        "missing_count": len(missing),
    }


def _rules(contents: PageContents) -> list[dict[str, Any]]:
    """Return the rules that have found something, the most frequent ones first."""
    known = all_rules()
    return [
        {
            "code": code,
            "name": known[code].name if code in known else "",
            "page": page_of(code) if code in known else "",
            "findings": findings,
            "tests": sum(code in test["findings"] for test in contents.tests),
        }
        for code, findings in contents.findings.most_common()
    ]


def _top(tests: Sequence[Test], key: str) -> list[Test]:
    those = [test for test in tests if (number_of(test.get(key)) or 0) > 0]
    return sorted(those, key=lambda test: -test[key])[:_TOP]
