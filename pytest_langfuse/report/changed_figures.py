"""Sentences on what a test uses, and how it ended, in two runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Final

from pytest_langfuse.report.compared_test import ComparedTest
from pytest_langfuse.report.figures import amount, duration, money, told_apart

#: Tokens and costs that differ by less are the same.
_TOLERANCE: Final = 0.01
#: A duration differs if it is half as long again and by half a second longer, or the other way round.
_SLOWER: Final = 1.5
_SECONDS: Final = 0.5
_BAD: Final = ("failed", "error")
#: Levels other than the usual one, and how they are counted.
_LEVELS: Final = {"ERROR": "errors", "WARNING": "warnings", "DEBUG": "observations of level DEBUG"}
#: Why Langfuse does not show an observation that it should, as lines call it.
_LACKING: Final = {"lost": "lost", "never ended": "never ended"}


def changes_of(before: ComparedTest, after: ComparedTest) -> Iterator[str]:
    """Yield what differs in the outcome and the figures of a test: `tokens 21 -> 42 (+100%)`, and so on."""
    if before.outcome != after.outcome:
        yield f"outcome {before.outcome} -> {after.outcome}"
    if before.is_missing or after.is_missing:
        yield f"not compared: what it has recorded is missing in {'this' if after.is_missing else 'the earlier'} run"
        return
    for name, old, new in _counts(before, after):
        if old != new:
            yield change_of(name, old, new)
    for name in ("tokens", "cost"):
        old_use, new_use = getattr(before, name), getattr(after, name)
        if old_use is None and new_use is None:
            continue
        if old_use is None or new_use is None or abs(new_use - old_use) > _TOLERANCE * abs(old_use):
            yield use_change(name, before, after)
    if before.models != after.models:
        yield f"models {', '.join(before.models) or 'none'} -> {', '.join(after.models) or 'none'}"
    slow, quick = max(before.duration, after.duration), min(before.duration, after.duration)
    if slow > quick * _SLOWER and slow - quick > _SECONDS:
        yield change_of("duration", before.duration, after.duration)


def is_worse(before: ComparedTest, after: ComparedTest) -> bool:
    """Return whether a test fails that did not, or has more errors, or loses more."""
    if before.outcome != after.outcome and after.outcome in _BAD and before.outcome not in _BAD:
        return True
    return any(
        new > old for name, old, new in _counts(before, after) if name not in _LEVELS.values() or name == "errors"
    )


def _counts(before: ComparedTest, after: ComparedTest) -> Iterator[tuple[str, int, int]]:
    for level, name in _LEVELS.items():
        yield name, before.with_level(level), after.with_level(level)
    for reason, name in _LACKING.items():
        yield name, before.lacking(reason), after.lacking(reason)


def use_change(name: str, before: ComparedTest, after: ComparedTest) -> str:
    """Return how the tokens, or the cost, of a test have changed; one of both may not be known."""
    old, new = getattr(before, name), getattr(after, name)
    if old is not None and new is not None:
        return change_of(name, old, new, is_estimated=before.cost_estimated or after.cost_estimated)
    sides = []
    for test, value in ((before, old), (after, new)):
        is_estimated = name == "cost" and test.cost_estimated and value is not None
        none = "unknown" if test.unknown(name) else "none"
        sides.append(f"{none if value is None else _shown(name, value)}{' (estimated)' if is_estimated else ''}")
    return f"{name} {sides[0]} -> {sides[1]}"


def change_of(name: str, old: float, new: float, *, is_estimated: bool = False) -> str:
    """Return how a figure has changed, in tokens, US dollars (`cost`), seconds (`duration`) or a number."""
    if old == new:
        return f"{name} {_shown(name, new)} as before"
    ratio = (new - old) / abs(old) if old else math.inf
    more = f" ({percent(ratio, signed=True)})" if math.isfinite(ratio * 100) else ""
    note = " (estimated)" if name == "cost" and is_estimated else ""
    both = told_apart(partial(_shown, name), old, new)
    return f"{name} {both[0]} -> {both[1]}{more}{note}"


def _shown(name: str, value: float) -> str:
    if name == "cost":
        return money(value)
    return duration(value) if name == "duration" else amount(value)


def shown_use(name: str, value: float | None) -> str:
    """Return tokens, or US dollars, as they are written; `None` is not known."""
    return "unknown" if value is None else _shown(name, value)


def percent(ratio: float, *, signed: bool = False) -> str:
    """Return a ratio as a percentage: `10%`, `+0.5%`."""
    text = f"{ratio * 100:.3g}" if abs(ratio) < 1 else amount(round(ratio * 100))
    return f"{'+' if signed and ratio >= 0 else ''}{text}%"
