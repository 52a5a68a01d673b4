"""The limits on how much more a test may use than in an earlier run, and why one judges a test or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from pytest_langfuse.report.changed_figures import percent
from pytest_langfuse.report.compared_test import ComparedTest
from pytest_langfuse.report.figures import counted
from pytest_langfuse.report.prices import EXTRA

Use = Literal["cost", "tokens"]
#: Tests, before and now.
Pairs = Sequence[tuple[ComparedTest, ComparedTest]]


class UseLimit(NamedTuple):
    """A limit: `ratio` 0.1 allows a tenth more."""

    use: Use
    ratio: float

    def is_exceeded(self, before: ComparedTest, after: ComparedTest) -> bool:
        """Return whether a test uses more than it may, as far as that can be judged."""
        return self.why_not_judged(before, after) is None and self._is_more(before, after)

    def _is_more(self, before: ComparedTest, after: ComparedTest) -> bool:
        old, new = getattr(before, self.use), getattr(after, self.use)
        return old is not None and new is not None and new > old * (1 + self.ratio) * (1 + 1e-9)

    def why_not_judged(self, before: ComparedTest, after: ComparedTest) -> str | None:
        """Return why it says nothing of a test, or `None` if it does."""
        if before.is_missing or after.is_missing:
            return "whose record is missing"
        old, new = getattr(before, self.use), getattr(after, self.use)
        gaps, now = before.unknown(self.use), after.unknown(self.use)
        if new is None and not now:
            # It uses nothing.
            return None
        if old is not None and new is not None and (gaps == now or (not gaps and self._is_more(before, after))):
            failed = before.outcome != "passed" and self._is_more(before, after)
            return "that did not pass in the earlier run" if failed else None
        if old is None and not gaps:
            return f"that had no {self.use} in the earlier run"
        what = f"{self.use} {'is' if self.use == 'cost' else 'are'}{' in part' if None not in (old, new) else ''}"
        where = "both runs" if gaps and now else "the earlier run" if gaps else "this run"
        return f"whose {what} unknown in {where}"

    def told(self, tests: Pairs, fixtures: Pairs) -> str | None:
        """Return a sentence on the tests, and fixtures, that it does not judge, or `None` if it judges all."""
        name = f"the limit of {percent(self.ratio)} more {self.use} judges"
        if not tests:
            return f"{name} nothing: the runs have no test in common"
        pairs = [*tests, *fixtures]
        reasons = Counter(why for before, after in pairs if (why := self.why_not_judged(before, after)) is not None)
        if not reasons:
            return None
        judged = len(pairs) - reasons.total()
        all_of_them = counted(len(tests), "test")
        if fixtures:
            all_of_them += f" and {counted(len(fixtures), 'fixture')}"
        whys = ", ".join(f"{number:,} {why}" for why, number in reasons.most_common())
        hint = f" (estimates need {EXTRA} in both runs)" if self.use == "cost" and "unknown" in whys else ""
        return f"{name} {judged or 'none'} of {all_of_them}, not {whys}{hint}"


def limits_of(max_cost_increase: float | None, max_token_increase: float | None) -> list[UseLimit]:
    """Return the limits that are set."""
    given: list[tuple[Use, float | None]] = [("cost", max_cost_increase), ("tokens", max_token_increase)]
    return [UseLimit(use, ratio) for use, ratio in given if ratio is not None]
