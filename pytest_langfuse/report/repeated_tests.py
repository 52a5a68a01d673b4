"""Tests that run more than once in a run under one id: duplicates that are kept, or `--dist each` of xdist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Hashable
from typing import Final

import pytest

_NAME: Final = "langfuse_repeated_tests"
#: The attribute of a report that says which of the tests with its id it is about, if that is not the first one.
_REPEAT: Final = "pytest_langfuse_repeat"


class RepeatedTests:
    """Counts how often tests begin under one id; attempts of a plugin that runs failed tests again are one test.

    A plugin of its run, registered where tests run.
    """

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()
        self.running: int = 1

    @classmethod
    def watch(cls, config: pytest.Config) -> None:
        """Count from now on."""
        config.pluginmanager.register(cls(), _NAME)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Count a test. Plugins that run it again do so inside of this."""
        self._begun[item.nodeid] += 1
        self.running = self._begun[item.nodeid]
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Say which test a report is about."""
        report = yield
        if self.running > 1:
            setattr(report, _REPEAT, self.running)
        return report


def repeat_of_running(config: pytest.Config) -> int:
    """Return which of the tests with its id the one is that runs, from 1."""
    repeated: RepeatedTests | None = config.pluginmanager.get_plugin(_NAME)
    return 1 if repeated is None else repeated.running


def is_rerun(report: pytest.TestReport) -> bool:
    """Return whether it is about an attempt that has failed, after which pytest-rerunfailures runs the test again."""
    outcome: str = report.outcome
    return outcome == "rerun"


def run_key(report: pytest.TestReport) -> Hashable:
    """Return what the reports of one test have in common, and no others of its id."""
    if (index := getattr(report, "item_index", None)) is not None:
        # As xdist tells apart what its workers run.
        return report.nodeid, getattr(report, "worker_id", ""), index
    return report.nodeid, getattr(report, _REPEAT, 1)
