"""The one of several runs that counts for a test which ran in more than one of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pytest_langfuse.recording.sources.json_lines import FAILED, TestKey, key_of

#: Tests that a sentence names.
_NAMED: Final = 5


class LastRuns:
    """Chooses the run that began last, for each test that several runs have.

    So it is with pytest-rerunfailures, of which the last attempt counts, and so people repeat the jobs of a CI that
    have failed. The files of the runs may be named in any order. Of runs that began at the same moment, or of which
    nobody knows when, the one that was added last counts.
    """

    def __init__(self) -> None:
        #: When the runs began, in seconds since 1970.
        self._started: list[float] = []
        #: The outcomes of tests, by run.
        self._outcomes: dict[TestKey, dict[int, str]] = {}
        self._last: dict[TestKey, int] = {}
        #: Modules that could not be collected, or were skipped: each shard of a run has them.
        self._collections: set[TestKey] = set()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add a run: its own line, and those of its tests; more lines do no harm."""
        run = len(self._started)
        self._started.append(-math.inf)
        for row in rows:
            if row["kind"] == "run":
                self._started[run] = _seconds(row.get("started"))
            elif (key := key_of(row)) is not None:
                outcomes = self._outcomes.setdefault(key, {})
                if row["kind"] == "test" or run not in outcomes:
                    outcomes[run] = str(row.get("outcome", ""))
                if row.get("collection"):
                    self._collections.add(key)

    def counts(self, run: int, row: Mapping[str, Any]) -> bool:
        """Return whether a line of a run counts; `run` is its number, from 0, in the order of `add`."""
        key = key_of(row)
        return key is None or self._last_of(key, run) == run

    def _last_of(self, key: TestKey, run: int) -> int:
        """Return the run that counts for a test: `run` for one of which no run has told."""
        last = self._last.get(key)
        if last is None:
            runs = self._outcomes.get(key, (run,))
            last = self._last[key] = max(runs, key=lambda one: (self._started[one], one))
        return last

    def has_any(self, run: int) -> bool:
        """Return whether any test of a run counts."""
        return any(run in outcomes and self._last_of(key, run) == run for key, outcomes in self._outcomes.items())

    def is_mended(self, run: int) -> bool:
        """Return whether tests of a run have failed, and count with another run, all of them."""
        failed = [key for key, outcomes in self._outcomes.items() if outcomes.get(run) in FAILED]
        return bool(failed) and all(self._last_of(key, run) != run for key in failed)

    @property
    def note(self) -> str:
        """A sentence on the tests that ran in several runs; empty if there are none."""
        names: list[str] = []
        others: list[str] = []
        for (test, fault), outcomes in self._outcomes.items():
            if len(outcomes) > 1 and (test, fault) not in self._collections:
                name = test if fault is None else f"{test} [{fault}]"
                last = outcomes[self._last_of((test, fault), 0)]
                if last not in FAILED and any(outcome in FAILED for outcome in outcomes.values()):
                    # What a reader would miss comes first.
                    names.append(f"{name} (failed in another)")
                else:
                    others.append(name)
        names += others
        if not names:
            return ""
        what = "1 test ran in several runs" if len(names) == 1 else f"{len(names):,} tests ran in several runs"
        if (more := len(names) - _NAMED) > 1:
            names[_NAMED:] = [f"{more:,} more"]
        return f"{what}, and the run that began last counts: {', '.join(names)}"


def _seconds(started: object) -> float:
    try:
        found = datetime.fromisoformat(str(started))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return -math.inf
