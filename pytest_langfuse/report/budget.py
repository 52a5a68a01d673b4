"""Budgets: how much a test may make of what costs money or time, though its trace is right."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from pytest_langfuse import arguments
from pytest_langfuse.arguments import LARGEST, shown
from pytest_langfuse.expect.literal.name_pattern import name_in_sentence
from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.options import number_in
from pytest_langfuse.report.amounts import summed, total
from pytest_langfuse.report.figures import money, told_apart
from pytest_langfuse.report.prices import EXTRA, cost_of, installed
from pytest_langfuse.suggest import did_you_mean

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.sources.source import Source

MARKER: Final = "langfuse_budget"
_EXAMPLE: Final = f"@pytest.mark.{MARKER}(tokens=500)"
#: Each limit, and whether it is a whole number.
LIMITS: Final[Mapping[str, bool]] = {
    "tokens": True,
    "cost": False,
    "generations": True,
    "observations": True,
    "duration": False,
    "errors": True,
}
#: Types that Langfuse counts as calls of a model.
_MODEL_CALLS: Final = ("generation", "embedding")
#: How many observations a failure lists for a limit.
_LISTED: Final = 5
#: Sums of floating-point numbers are off by less.
_ROUNDING: Final = 1 + 1e-9


class BadBudget(ValueError):  # noqa: N818 - reads as what happened
    """A limit that does not exist, or a value that it can't have."""


class Amount(NamedTuple):
    """An amount of what a test has made, and a sentence for each observation that it comes from, the largest first."""

    value: float
    parts: Sequence[str]
    #: Whether a part of it is an estimate.
    estimated: bool = False


class Budget:
    """Limits of a test; a limit that is not given is none."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self.limits = limits

    def check(self, source: Source) -> None:
        """Fail the test for each limit that it has exceeded. Without a traceback, which would show no line of it."""
        lines: list[str] = []
        observations = source.observations()
        for name, limit in self.limits.items():
            amount = _AMOUNTS[name](observations)
            if math.isnan(amount.value):
                lines += [f"over budget? The cost is not known, {_shown(name, limit)} allowed", *_listed(amount.parts)]
            elif amount.value > limit * _ROUNDING:
                value, allowed = told_apart(partial(_shown, name), amount.value, limit)
                lines += [f"over budget: {value}{_mark(amount.estimated)}, {allowed} allowed", *_listed(amount.parts)]
        if lines:
            pytest.fail(hidden("\n".join(lines)), pytrace=False)


def budget_of(item: pytest.Item, ini: Iterable[str]) -> Budget:
    """Return the limits of a test: those of the nearest marker, of the ones around it, of the ini option.

    Fails the test if a marker is wrong.

    Raises:
        BadBudget: the ini option is wrong.
    """
    limits: dict[str, float | None] = {**limits_of_ini(ini)}
    for marker in reversed(list(item.iter_markers(MARKER))):
        try:
            limits |= _limits_of(marker)
        except (BadBudget, TypeError, ValueError) as error:
            raise pytest.fail.Exception(f"{item.nodeid}: {error}", pytrace=False) from None
    return Budget({name: limit for name in LIMITS if (limit := limits.get(name)) is not None})


def limits_of_ini(words: Iterable[str]) -> dict[str, float]:
    """Return the limits in words such as `tokens=500`.

    Raises:
        BadBudget: a word is something else.
    """
    found: dict[str, float] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator:
            raise BadBudget(f"{shown(word)} is not LIMIT=number, such as tokens=500")
        _need_name(name)
        value = number_in(text)
        if LIMITS[name]:
            value = int(text) if text.isascii() and text.isdecimal() and value < LARGEST else -1
        if not 0 <= value <= LARGEST:
            what = "a whole number" if LIMITS[name] else "a number"
            raise BadBudget(f"{shown(word)}: {shown(text)} is not {what} from 0 up")
        found[name] = value
    return found


def _limits_of(marker: pytest.Mark) -> Mapping[str, float | None]:
    if marker.args or not marker.kwargs:
        raise BadBudget(f"{MARKER} takes limits by name, such as {_EXAMPLE}")
    for name, value in marker.kwargs.items():
        _need_name(name)
        # `None` lifts the limit of a class or of the ini option.
        if value is not None:
            whole = LIMITS[name]
            what = "a whole number" if whole else "a number"
            arguments.number(MARKER, name, value, most=LARGEST, whole=whole, what=what)
    return marker.kwargs


def _need_name(name: str) -> None:
    if name not in LIMITS:
        raise BadBudget(f"{MARKER} has no limit {shown(name)}{did_you_mean(name, LIMITS, what='limits')}")


# -- what a test has made ----------------------------------------------------------------------------------------


def _tokens(observations: Sequence[Observation]) -> Amount:
    return _sum("tokens", ((one, total(one.usage)) for one in observations))


def _cost(observations: Sequence[Observation]) -> Amount:
    amounts = [(one, *cost_of(one)) for one in observations]
    unknown = [one for one, cost, _ in amounts if (total(one.usage) if cost is None else math.isnan(cost))]
    if unknown:
        how = "has usage but no cost that the application reports (Langfuse computes it later): pass cost_details="
        why = "" if installed() else f", or install {EXTRA} for an estimate"
        return Amount(math.nan, [f"{name_in_sentence(one.name)}: {how}{why}" for one in unknown])
    known = sorted(((cost or 0.0, one.name, estimated) for one, cost, estimated in amounts), key=lambda item: -item[0])
    parts = [
        f"{name_in_sentence(name)}: {_shown('cost', cost)}{_mark(estimated)}" for cost, name, estimated in known if cost
    ]
    return Amount(summed(cost for cost, _, _ in known) or 0.0, parts, any(estimated for _, _, estimated in known))


def _generations(observations: Sequence[Observation]) -> Amount:
    return _number_of(one for one in observations if one.type in _MODEL_CALLS)


def _observations(observations: Sequence[Observation]) -> Amount:
    return _number_of(observations)


def _duration(observations: Sequence[Observation]) -> Amount:
    """The longest trace, from its first start to its last end."""
    traces: dict[str, list[Observation]] = {}
    for one in observations:
        traces.setdefault(one.trace_id, []).append(one)
    return max(map(_duration_of, traces.values()), default=Amount(0.0, ()), key=lambda amount: amount.value)


def _duration_of(members: Sequence[Observation]) -> Amount:
    ends = [one.record.end_ns or one.record.start_ns for one in members]
    seconds = (max(ends) - min(one.record.start_ns for one in members)) / 1e9
    own = ((one, ((one.record.end_ns or one.record.start_ns) - one.record.start_ns) / 1e9) for one in members)
    return Amount(seconds, _sum("duration", own).parts)


def _errors(observations: Sequence[Observation]) -> Amount:
    found = [one for one in observations if one.level == "ERROR"]
    parts = [f"{name_in_sentence(one.name)}: {one.status_message or 'ERROR'}" for one in found]
    return Amount(len(found), parts)


_AMOUNTS: Final = {
    "tokens": _tokens,
    "cost": _cost,
    "generations": _generations,
    "observations": _observations,
    "duration": _duration,
    "errors": _errors,
}


def _sum(name: str, amounts: Iterable[tuple[Observation, float]]) -> Amount:
    found = sorted(((value, one.name) for one, value in amounts if value), key=lambda item: -item[0])
    parts = [f"{name_in_sentence(observation)}: {_shown(name, value)}" for value, observation in found]
    return Amount(summed(value for value, _ in found) or 0.0, parts)


def _mark(estimated: bool) -> str:  # noqa: FBT001 - a part of an amount
    return " (estimated)" if estimated else ""


def _number_of(observations: Iterable[Observation]) -> Amount:
    counts = Counter((one.type, one.name) for one in observations)
    parts = [f"{count} x {kind} {name_in_sentence(name)}" for (kind, name), count in counts.most_common()]
    return Amount(counts.total(), parts)


def _shown(name: str, value: float) -> str:
    if name == "cost":
        return money(value)
    if name == "duration":
        return f"{value:.3f} s"
    return f"{value:,.0f} {name if value != 1 else name.removesuffix('s')}"


def _listed(parts: Sequence[str]) -> Iterator[str]:
    yield from (f"  {part}" for part in parts[:_LISTED])
    if len(parts) > _LISTED:
        yield f"  and {len(parts) - _LISTED} more"
