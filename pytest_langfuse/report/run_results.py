"""The results of all that pytest counts in a run: tests, and modules that it could not collect."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

import pytest

from pytest_langfuse.outage.suite import without_fault
from pytest_langfuse.report.degradation import fault_of
from pytest_langfuse.report.kept_test import KeptKey
from pytest_langfuse.report.repeated_tests import run_key
from pytest_langfuse.report.test_result import TestResult


class RunResults:
    """Sorts reports by what they are about. `faults` are those of the suite."""

    def __init__(self, faults: Sequence[str]) -> None:
        self._faults = faults
        self._by_key: dict[Hashable, TestResult] = {}
        self._by_id: dict[str, list[TestResult]] = {}

    def __iter__(self) -> Iterator[TestResult]:
        """Iterate in the order of first reports."""
        return iter(self._by_key.values())

    def items(self) -> Iterable[tuple[Hashable, TestResult]]:
        """Return the results with the keys of their reports."""
        return self._by_key.items()

    def add(self, report: pytest.TestReport) -> TestResult:
        """Take the report of a phase of a test. Return its result."""
        key = run_key(report)
        result = self._by_key.get(key)
        if result is None and report.when not in {"setup", "call", "teardown"}:
            result = self._crashed(report)
        if result is None:
            fault = fault_of(report, self._faults)
            test = report.nodeid if fault is None else without_fault(report.nodeid, [fault])[0]
            result = self._new(key, TestResult(report.nodeid, test, fault))
        result.worker = getattr(report, "worker_id", result.worker)
        result.add(report)
        return result

    def _crashed(self, report: pytest.TestReport) -> TestResult | None:
        """Return the test that a worker of xdist has not finished, since it has crashed."""
        gateway = getattr(getattr(report, "node", None), "gateway", None)
        worker = getattr(gateway, "id", "")
        unfinished = (one for one in self._by_id.get(report.nodeid, ()) if not one.finished and one.worker == worker)
        return next(unfinished, None)

    def add_collection(self, report: pytest.CollectReport) -> None:
        """Take the report of a module, class or folder that pytest could not collect, or has skipped as a whole."""
        result = self._new(("collection", len(self._by_key)), TestResult(report.nodeid, report.nodeid or ".", None))
        result.add_collection(report)

    def _new(self, key: Hashable, result: TestResult) -> TestResult:
        same = self._by_id.setdefault(result.id, [])
        same.append(result)
        if len(same) > 1:
            result.number = len(same)
        self._by_key[key] = result
        return result

    def find(self, key: KeptKey) -> TestResult | None:
        """Return the result of a test that this process has run."""
        id_, _ = key
        return self._by_key.get(key) or next(iter(self._by_id.get(id_, ())), None)
