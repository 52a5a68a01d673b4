"""Sums of a test and of a run, the same in the terminal, in summaries, in lines and on the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_langfuse.report.amounts import number_of, summed, total
from pytest_langfuse.report.prices import cost_of

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation


class TraceTotals(NamedTuple):
    """Tokens, and US dollars, of observations; `None` where none has any."""

    tokens: float | None
    cost: float | None
    cost_estimated: bool

    @classmethod
    def of(cls, observations: Iterable[Observation]) -> TraceTotals:
        """Add up what Langfuse shows of observations, or estimates of it."""
        tokens: list[float] = []
        costs: list[float | None] = []
        is_estimated = False
        for one in observations:
            if one.usage:
                tokens.append(total(one.usage))
            cost, estimated = cost_of(one)
            costs.append(cost)
            is_estimated = is_estimated or estimated
        used = summed(tokens)
        return cls(int(used) if used is not None and used.is_integer() else used, summed(costs), is_estimated)


@dataclass(slots=True)
class RunTotals:
    """Counts and sums over the tests of a run, of their lines: what every report says of the whole of it."""

    tests: int = 0
    #: Tests that have made any of the observations.
    traced: int = 0
    #: What the tests have sent: what Langfuse shows, and what was lost on the way.
    observations: int = 0
    #: Those of them that Langfuse has not got.
    lost: int = 0
    unended: int = 0
    tokens: float | None = None
    #: USD; `None` where no test has any.
    cost: float | None = None
    cost_estimated: bool = False

    def add(self, test: Mapping[str, Any]) -> None:
        """Add the line of a test."""
        self.tests += 1
        shown, lost = (int(number_of(test.get(key)) or 0) for key in ("observations", "lost"))
        self.observations += shown + lost
        self.traced += shown + lost > 0
        self.lost += lost
        self.unended += int(number_of(test.get("unended")) or 0)
        self.tokens = summed((self.tokens, test.get("tokens")))
        self.cost = summed((self.cost, test.get("cost")))
        self.cost_estimated = self.cost_estimated or test.get("cost_estimated") is True
