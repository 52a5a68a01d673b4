"""A run compared with an earlier one: by test, in outcome, shape, levels, tokens, cost, duration and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from pytest_langfuse.expect.comparison import compare
from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.expect.text.render import skeleton
from pytest_langfuse.expect.text.side_by_side import SideBySide, side_by_side
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording.sources.json_lines import TestKey
from pytest_langfuse.recording.sources.redacted_ids import same_tests
from pytest_langfuse.report.changed_figures import changes_of, is_worse, percent, use_change
from pytest_langfuse.report.compared_run import ComparedRun
from pytest_langfuse.report.compared_test import ComparedTest
from pytest_langfuse.report.compared_totals import totals_of
from pytest_langfuse.report.figures import counted
from pytest_langfuse.report.use_limits import UseLimit, limits_of

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
    #: Whether it fails that did not, has more errors, or loses more.
    is_worse: bool = False


@dataclass(slots=True)
class RunComparison:
    """Compares `after`, this run, with `before`. Limits are ratios: 0.1 allows a tenth more; `None` allows any.

    What fixtures of a wider scope than one test have made is compared by fixture, and told of the test in which they
    are set up now: which test that is depends on the tests that run.
    """

    before: ComparedRun
    after: ComparedRun
    max_cost_increase: float | None = None
    max_token_increase: float | None = None
    #: Those that are worse than before first.
    changes: list[TestChange] = field(default_factory=list)
    #: Tests that are in this run only.
    added: list[TestKey] = field(default_factory=list)
    #: Tests of the earlier run that are not in this one.
    missing: list[TestKey] = field(default_factory=list)
    renamed: int = 0
    pairs: list[tuple[ComparedTest, ComparedTest]] = field(default_factory=list)
    #: Fixtures that both runs have set up.
    fixtures: list[tuple[ComparedTest, ComparedTest]] = field(default_factory=list)
    #: In the order of their tests.
    exceeded: list[ExceededLimit] = field(default_factory=list)
    #: Sentences on limits that do not judge all tests.
    not_judged: list[str] = field(default_factory=list)
    _added_tests: list[ComparedTest] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Compare."""
        limits = limits_of(self.max_cost_increase, self.max_token_increase)
        # A file of an earlier version does not tell what fixtures made: then it is their tests', in both runs.
        tells_fixtures = self.before.tells_fixtures and self.after.tells_fixtures
        if tells_fixtures:
            self._pair(self.before.tests_alone(), self.after.tests_alone())
        else:
            self._pair(self.before.tests, self.after.tests)
        changes = {test.key: self._change(before, test, limits) for before, test in self.pairs}
        if tells_fixtures:
            self._compare_fixtures(changes, limits)
        order = {key: number for number, key in enumerate(self.after.tests)}
        self.exceeded.sort(key=lambda one: order[one.test])
        changed = sorted((one for one in changes.values() if one is not None), key=lambda one: order[one.after.key])
        self.changes = sorted(changed, key=lambda change: not change.is_worse)
        told = (limit.told(self.pairs, self.fixtures) for limit in limits)
        self.not_judged = [sentence for sentence in told if sentence is not None]

    def _change(
        self, before: ComparedTest, after: ComparedTest, limits: Sequence[UseLimit], test: TestKey | None = None
    ) -> TestChange | None:
        """Return what has changed, if anything has. `test` is the one of a fixture."""
        exceeded = [
            ExceededLimit(test or after.key, _named(after, test, use_change(limit.use, before, after)), limit.ratio)
            for limit in limits
            if limit.is_exceeded(before, after)
        ]
        self.exceeded += exceeded
        # A limit may be narrower than what counts as a change.
        found = [_named(after, test, value) for value in changes_of(before, after)]
        values = list(dict.fromkeys((*found, *(one.change for one in exceeded))))
        is_same = before.is_missing or after.is_missing or _is_same(before, after)
        trees = None if is_same else _trees(before, after)
        sentences = [] if trees is None else [_named(after, test, sentence) for sentence in trees.sentences]
        if not values and not sentences and before.key == after.key:
            return None
        return TestChange(before, after, values, sentences, trees, is_worse(before, after))

    def _compare_fixtures(self, changes: dict[TestKey, TestChange | None], limits: Sequence[UseLimit]) -> None:
        earlier, now = self.before.fixtures(), self.after.fixtures()
        pairs = {test.key: (before, test) for before, test in self.pairs}
        added = {test.key: test for test in self._added_tests}
        for name, fixture in now.items():
            if name not in earlier:
                continue
            self.fixtures.append((earlier[name].made, fixture.made))
            if (own := self._change(*self.fixtures[-1], limits, fixture.test)) is None:
                continue
            before, after = pairs.get(fixture.test) or (added[fixture.test], added[fixture.test])
            change = changes.get(fixture.test) or TestChange(before, after, (), ())
            changes[fixture.test] = replace(
                change,
                values=[*change.values, *own.values],
                sentences=[*change.sentences, *own.sentences],
                trees=change.trees or own.trees,
                is_worse=change.is_worse or own.is_worse,
            )

    def _pair(self, before: Mapping[TestKey, ComparedTest], after: Mapping[TestKey, ComparedTest]) -> None:
        """Pair tests by their ids, and those that are left by their trees, if only one of each run has a tree."""
        before = _as_called_now(before, after)
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
        self._added_tests = [test for shape, tests in new.items() if shape not in renamed for test in tests]
        self.added = [test.key for test in self._added_tests]

    def counts(self) -> str:
        """Return a sentence: `2 of 96 tests changed, 1 of them renamed, 3 new, 4 did not run; tokens ...`."""
        text = f"{len(self.changes) or 'none'} of {counted(len(self.pairs), 'test')} changed"
        if worse := sum(change.is_worse for change in self.changes):
            text += f", {worse:,} of them for the worse"
        if self.renamed:
            text += f", {self.renamed:,} of them renamed"
        if self.added:
            text += f", {len(self.added):,} new"
        if self.missing:
            text += f", {len(self.missing):,} did not run"
        return "; ".join([text, *totals_of([*self.pairs, *self.fixtures], self._added_tests)])


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


def _by_shape(tests: Iterable[ComparedTest]) -> dict[_Tree, list[ComparedTest]]:
    found: dict[_Tree, list[ComparedTest]] = {}
    for test in tests:
        found.setdefault((tuple(test.shape), test.key[1]), []).append(test)
    return found


def _named(after: ComparedTest, test: TestKey | None, text: str) -> str:
    """Return a text; of a fixture, with its name before it."""
    return text if test is None else f"{after.key[0]}: {text}"


def _is_same(before: ComparedTest, after: ComparedTest) -> bool:
    return before.shape == after.shape and before.levels == after.levels


def _trees(before: ComparedTest, after: ComparedTest) -> SideBySide | None:
    """Return both trees and what differs in them, as an assertion on the earlier one would say it."""
    if not before.nodes or not after.nodes:
        return SideBySide([], [f"{counted(len(after.nodes), 'observation')}, {len(before.nodes)} before"])
    differing = (before.levels - after.levels) + (after.levels - before.levels)
    root = parse(skeleton(before.observations, with_level={(type_, name) for type_, name, _ in differing}))
    diff = compare(root, after.observations, Style(verbose=2), order="any")
    return None if diff is None else side_by_side(diff)


def shown_key(key: TestKey) -> str:
    """Return the id of a test, with the fault of the suite behind it."""
    test, fault = key
    return test if fault is None else f"{test} [{fault}]"
