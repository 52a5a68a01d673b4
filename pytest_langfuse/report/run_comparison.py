"""A run compared with an earlier one: by test, in shape, tokens, cost, duration and models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, NamedTuple

from pytest_langfuse.expect.comparison import compare
from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.expect.text.render import skeleton
from pytest_langfuse.expect.text.side_by_side import SideBySide, side_by_side
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording.sources.redacted_ids import same_tests
from pytest_langfuse.report.amounts import summed
from pytest_langfuse.report.compared_run import ComparedRun, ComparedTest, TestKey
from pytest_langfuse.report.figures import amount, counted, duration, money, told_apart

#: Tokens and costs that differ by less are the same.
_TOLERANCE: Final = 0.01
#: A duration differs if it is half as long again and by half a second longer, or the other way round.
_SLOWER: Final = 1.5
_SECONDS: Final = 0.5
#: A tree of fewer observations is like many others.
_RECOGNISABLE: Final = 2


class ExceededLimit(NamedTuple):
    """A test that uses more than it may; `change` is like `tokens 300 -> 900 (+200%)`, `limit` a ratio."""

    test: TestKey
    change: str
    limit: float

    def __str__(self) -> str:
        return f"{self.change}, {percent(self.limit)} allowed"


@dataclass(frozen=True, slots=True)
class TestChange:
    """A test that is not what it was; `sentences` are what differs in its trees, and `trees` these, aligned."""

    before: ComparedTest
    after: ComparedTest
    #: `tokens 21 -> 42 (+100%)`, and so on.
    values: Sequence[str]
    sentences: Sequence[str]
    trees: SideBySide | None = None


@dataclass(slots=True)
class RunComparison:
    """Compares `after`, this run, with `before`. Limits are ratios: 0.1 allows a tenth more; `None` allows any."""

    before: ComparedRun
    after: ComparedRun
    max_cost_increase: float | None = None
    max_token_increase: float | None = None
    changes: list[TestChange] = field(default_factory=list)
    #: Tests that are in this run only.
    added: list[TestKey] = field(default_factory=list)
    #: Tests of the earlier run that are not in this one.
    missing: list[TestKey] = field(default_factory=list)
    renamed: int = 0
    pairs: list[tuple[ComparedTest, ComparedTest]] = field(default_factory=list)
    exceeded: list[ExceededLimit] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Compare."""
        self._pair()
        for before, after in self.pairs:
            exceeded = list(self._exceeded(before, after))
            self.exceeded += exceeded
            # A limit may be narrower than what counts as a change.
            values = list(dict.fromkeys((*_values(before, after), *(one.change for one in exceeded))))
            trees = None if before.shape == after.shape else _trees(before, after)
            sentences = () if trees is None else trees.sentences
            if values or sentences or before.key != after.key:
                self.changes.append(TestChange(before, after, values, sentences, trees))

    def _exceeded(self, before: ComparedTest, after: ComparedTest) -> Iterator[ExceededLimit]:
        estimated = before.cost_estimated or after.cost_estimated
        for name, old, new, limit in (
            ("cost", before.cost, after.cost, self.max_cost_increase),
            ("tokens", before.tokens, after.tokens, self.max_token_increase),
        ):
            if limit is not None and old is not None and new is not None and new > old * (1 + limit) * (1 + 1e-9):
                yield ExceededLimit(after.key, _change(name, old, new, estimated=estimated), limit)

    def _pair(self) -> None:
        """Pair tests by their ids, and those that are left by their trees, if only one of each run has a tree."""
        before, after = _as_called_now(self.before.tests, self.after.tests), self.after.tests
        self.pairs = [(before[key], test) for key, test in after.items() if key in before]
        left = _by_shape(test for key, test in before.items() if key not in after)
        new = _by_shape(test for key, test in after.items() if key not in before)
        renamed = {
            shape: (left[shape][0], tests[0])
            for shape, tests in new.items()
            if len(tests) == 1 and len(left.get(shape, ())) == 1 and len(tests[0].nodes) >= _RECOGNISABLE
        }
        self.renamed = len(renamed)
        self.pairs += renamed.values()
        self.missing = [test.key for shape, tests in left.items() if shape not in renamed for test in tests]
        self.added = [test.key for shape, tests in new.items() if shape not in renamed for test in tests]

    def sums(self, name: str) -> tuple[float, float] | None:
        """Return the tokens, or the cost, of all tests that both runs have; `None` where none has any."""
        values = [(getattr(before, name), getattr(after, name)) for before, after in self.pairs]
        known = [(old, new) for old, new in values if old is not None and new is not None]
        old, new = summed(old for old, _ in known), summed(new for _, new in known)
        return None if old is None or new is None else (old, new)

    @property
    def is_estimated(self) -> bool:
        """True if a part of a cost is an estimate."""
        return any(before.cost_estimated or after.cost_estimated for before, after in self.pairs)

    def counts(self) -> str:
        """Return a sentence: `2 of 96 tests changed, 1 of them renamed, 3 new, 4 did not run; tokens ...`."""
        tests = f"{len(self.pairs):,} test{'s' * (len(self.pairs) != 1)}"
        text = f"{len(self.changes) or 'none'} of {tests} changed"
        if self.renamed:
            text += f", {self.renamed:,} of them renamed"
        if self.added:
            text += f", {len(self.added):,} new"
        if self.missing:
            text += f", {len(self.missing):,} did not run"
        for name in ("tokens", "cost"):
            if (found := self.sums(name)) is not None and found != (0, 0):
                text += f"; {_change(name, *found)}"
        return f"{text} (cost estimated)" if self.is_estimated else text


def _as_called_now(
    before: Mapping[TestKey, ComparedTest], after: Mapping[TestKey, ComparedTest]
) -> Mapping[TestKey, ComparedTest]:
    """Return the tests of the earlier run by what this one calls them, where a part of an id is redacted in one."""
    called: dict[TestKey, TestKey] = {}
    for fault in {fault for _, fault in before}:
        old, new = ({test for test, of in one if of == fault} for one in (before, after))
        called |= {(one, fault): (other, fault) for one, other in same_tests(old - new, new - old)}
    if not called:
        return before
    return {
        called.get(key, key): replace(test, key=called[key]) if key in called else test for key, test in before.items()
    }


#: Numbers that stand for trees, and the fault of the suite.
_Tree = tuple[tuple[int, ...], str | None]


def _by_shape(tests: Iterator[ComparedTest]) -> dict[_Tree, list[ComparedTest]]:
    found: dict[_Tree, list[ComparedTest]] = {}
    for test in tests:
        found.setdefault((tuple(test.shape), test.key[1]), []).append(test)
    return found


def _values(before: ComparedTest, after: ComparedTest) -> Iterator[str]:
    estimated = before.cost_estimated or after.cost_estimated
    for name, old, new in (("tokens", before.tokens, after.tokens), ("cost", before.cost, after.cost)):
        if old is None and new is None:
            continue
        if old is None or new is None or abs(new - old) > _TOLERANCE * abs(old):
            yield _change(name, old, new, estimated=estimated)
    if before.models != after.models:
        yield f"models {', '.join(before.models) or 'none'} -> {', '.join(after.models) or 'none'}"
    slow, quick = max(before.duration, after.duration), min(before.duration, after.duration)
    if slow > quick * _SLOWER and slow - quick > _SECONDS:
        yield _change("duration", before.duration, after.duration)


def _trees(before: ComparedTest, after: ComparedTest) -> SideBySide | None:
    """Return both trees and what differs in them, as an assertion on the earlier one would say it."""
    if not before.nodes or not after.nodes:
        return SideBySide([], [f"{counted(len(after.nodes), 'observation')}, {len(before.nodes)} before"])
    root = parse(skeleton(before.observations))
    diff = compare(root, after.observations, Style(verbose=2), order="any")
    return None if diff is None else side_by_side(diff)


def _change(name: str, old: float | None, new: float | None, *, estimated: bool = False) -> str:
    if old == new:
        return f"{name} {_shown(name, new)} as before"
    ratio = math.inf if not old or new is None else (new - old) / abs(old)
    more = f" ({percent(ratio, signed=True)})" if math.isfinite(ratio * 100) else ""
    note = " (estimated)" if name == "cost" and estimated else ""
    both = _shown(name, old), _shown(name, new)
    if old is not None and new is not None:
        both = told_apart(partial(_shown, name), old, new)
    return f"{name} {both[0]} -> {both[1]}{more}{note}"


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "unknown"
    if name == "cost":
        return money(value)
    return duration(value) if name == "duration" else amount(value)


def percent(ratio: float, *, signed: bool = False) -> str:
    """Return a ratio as a percentage: `10%`, `+0.5%`."""
    text = f"{ratio * 100:.3g}" if abs(ratio) < 1 else amount(round(ratio * 100))
    return f"{'+' if signed and ratio >= 0 else ''}{text}%"


def shown_key(key: TestKey) -> str:
    """Return the id of a test, with the fault of the suite behind it."""
    test, fault = key
    return test if fault is None else f"{test} [{fault}]"
