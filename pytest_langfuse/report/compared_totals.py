"""The sums of what the tests of two runs use, and what is not in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_langfuse.report.amounts import summed
from pytest_langfuse.report.changed_figures import change_of, shown_use
from pytest_langfuse.report.compared_test import ComparedTest
from pytest_langfuse.report.figures import counted
from pytest_langfuse.report.use_limits import Pairs, Use

_USES: Sequence[Use] = ("tokens", "cost")


def totals_of(pairs: Pairs, new: Sequence[ComparedTest]) -> Iterator[str]:
    """Yield clauses: `errors 0 -> 1`, `tokens 40 -> 50 (+25%) and 10 in new tests`, and so on."""
    errors = [sum(test.with_level("ERROR") for test in tests) for tests in zip(*pairs, strict=True)]
    if errors and errors[0] != errors[1]:
        yield change_of("errors", *errors)
    for use in _USES:
        if text := _total(use, pairs, new):
            yield text


def _total(use: Use, pairs: Pairs, new: Sequence[ComparedTest]) -> str:
    sides = list(zip(*pairs, strict=True)) or [(), ()]
    old, now = (summed(getattr(test, use) for test in tests) for tests in sides)
    in_new = summed(getattr(test, use) for test in new)
    # Where both runs lack the same, their sums are of the same calls.
    differing = [(before, after) for before, after in pairs if before.unknown(use) != after.unknown(use)]
    gaps = [sum(test.unknown(use) > 0 for test in tests) for tests in zip(*differing, strict=True)] or [0, 0]
    text = ""
    if gaps != [0, 0] and (old is not None or now is not None):
        text = f"{use} {_side(use, old, gaps[0])} -> {_side(use, now, gaps[1])}"
        where = [
            f"{counted(count, 'test')} {when}" for count, when in zip(gaps, ("before", "now"), strict=True) if count
        ]
        text += f" (unknown, at least in part, in {' and '.join(where)})"
    elif old or now:
        text = change_of(use, old or 0, now or 0)
    if in_new:
        text += f"{' and ' if text else f'{use} '}{shown_use(use, in_new)} in new tests"
    is_estimated = use == "cost" and any(
        test.cost_estimated for test in (*new, *(one for pair in pairs for one in pair))
    )
    return f"{text} (cost estimated)" if text and is_estimated else text


def _side(use: Use, value: float | None, gaps: int) -> str:
    return shown_use(use, value if gaps else value or 0)
