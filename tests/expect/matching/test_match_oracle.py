"""The matcher against a slow one that tries everything."""

from __future__ import annotations

from itertools import combinations, permutations, takewhile

import pytest
from dirty_equals import IsPartialDict
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

from pytest_langfuse.expect.comparison import compare
from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.expect.matching.matcher import Matcher, anywhere, direct
from pytest_langfuse.expect.matching.rival_lines import RivalLines
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording import link
from tests.helpers.forest import observation

# Slow: tries every assignment.
pytestmark = pytest.mark.slow

NAMES = ("a", "b")
PATTERNS = ("a", "b", "*")
CONDITIONS = ("", " model=x", " model=y", " model?", " !model")
COUNTS = ("", "", "", "1x ", "2x ", "1+x ", "0+x ", "0x ", "1-2x ", "0-1x ", "2-3x ")

captured_trees = st.recursive(
    st.builds(lambda name, model: (name, model, ()), st.sampled_from(NAMES), st.sampled_from((None, "x", "y"))),
    lambda below: st.builds(
        lambda name, model, children: (name, model, tuple(children)),
        st.sampled_from(NAMES),
        st.sampled_from((None, "x", "y")),
        st.lists(below, max_size=4),
    ),
    max_leaves=5,
)
lines = st.builds(
    lambda depth, count, name, condition: f"{depth}{count}any {name}{condition}",
    st.sampled_from(("", "", "", ">> ")),
    st.sampled_from(COUNTS),
    st.sampled_from(PATTERNS),
    st.sampled_from(CONDITIONS),
)
expected_trees = st.recursive(
    lines.map(lambda line: (line, ())),
    lambda below: st.tuples(lines, st.lists(st.one_of(below, st.just(("...", ()))), max_size=4).map(tuple)),
    max_leaves=5,
)
levels = st.lists(st.one_of(expected_trees, st.just(("...", ()))), max_size=4)


@st.composite
def likely_levels(draw, trees):
    """Lines that may well match: those of the captured siblings, said in other ways, or left to `...`."""
    level = []
    for name, model, below in trees:
        count = draw(st.sampled_from(COUNTS))
        pattern = draw(st.sampled_from((name, name, name, "*")))
        condition = draw(st.sampled_from(("", "", f" model={model}" if model else " !model")))
        line = draw(
            st.sampled_from(
                (
                    "...",
                    f"{count}any {pattern}{condition}",
                    f"any {pattern}{condition}",
                    f">> any {pattern}{condition}",
                )
            )
        )
        level.append((line, draw(likely_levels(below)) if line != "..." else ()))
    return draw(st.permutations(level)) if draw(st.booleans()) else level


@st.composite
def pairs(draw):
    trees = draw(st.lists(captured_trees, max_size=3))
    return (draw(levels) if draw(st.booleans()) else draw(likely_levels(trees))), trees


def written(level, depth=0):
    text = ""
    for line, below in level:
        text += f"{'  ' * depth}{line}\n{written(below, depth + 1)}"
    return text


def observations(trees, parent=None, made=None):
    made = [] if made is None else made
    for name, model, below in trees:
        own = observation("span", name, id=len(made) + 1, parent=parent, model=model)
        made.append(own)
        observations(below, own, made)
    return made


#: About a second of them.
MOST_TRIES = 200_000


class Slow:
    """Tries every way in which captured siblings can be given to lines."""

    def __init__(self, order, *, contained):
        self.ordered = order == "start" and not contained
        self.contained = contained
        self.tries = 0

    def _try(self):
        """Give up an example with more ways than anybody can wait for; there are always enough others."""
        self.tries += 1
        return self.tries < MOST_TRIES or reject()

    def forest(self, parent, children, above=None):
        rivals = RivalLines(parent, 100)
        lines = [*rivals.lines, *parent.descendants]
        if parent.descendants and not self._anywhere_below(parent, above, rivals, lines, everything_below(children)):
            return False
        if not self.ordered:
            return self._any_order(parent, 0, children)
        passing = [one for one in children if passes(parent.reaching, one) and not exactly(parent, one)]
        return any(
            self._in_order(parent, 0, without(children, gone))
            for number in range(len(passing) + 1)
            for gone in combinations(passing, number)
        )

    def _in_order(self, parent, index, children):
        starts = [0]
        if index in parent.gaps:
            free = list(takewhile(lambda child: not exactly(parent, child), children))
            starts = range(len(free) + 1)
        if index == len(parent.children):
            return any(start == len(children) for start in starts)
        line = parent.children[index]
        if line.deep:
            return any(
                all(leads(line, child) and not exactly(parent, child) for child in children[start:end])
                and self._in_order(parent, index + 1, children[end:])
                for start in starts
                for end in range(start, len(children) + 1)
            )
        return any(
            self._all_fit(line, children[start:end]) and self._in_order(parent, index + 1, children[end:])
            for start in starts
            for end in range(start, len(children) + 1)
            if enough(line, end - start)
        )

    def _any_order(self, parent, index, rest):
        if index == len(parent.children):
            return all(
                (self.contained or parent.gaps or passes(parent.passing, one)) and not exactly(parent, one)
                for one in rest
            )
        line = parent.children[index]
        if line.deep:
            return self._any_order(parent, index + 1, rest)
        return any(
            self._all_fit(line, chosen) and self._any_order(parent, index + 1, without(rest, chosen))
            for taken in range(len(rest) + 1)
            if enough(line, taken)
            for chosen in combinations(rest, taken)
        )

    def _anywhere_below(self, parent, above, rivals, lines, rest):
        """Whether the `>>` lines and those that compete with them, each, have different observations of those below.

        And none is left that needs one.
        """
        if not lines:
            return not any(
                line.fits(one) and (not (self.contained or parent.gaps) or (line.count_text and line.high is not None))
                for line in parent.descendants
                for one in rest
            )
        line = lines[0]
        return any(
            self._try()
            and all(rivals.stands(line, one, above) for one in chosen)
            and self._all_fit(line, chosen)
            and self._anywhere_below(parent, above, rivals, lines[1:], without(rest, chosen))
            for taken in range(len(rest) + 1)
            if enough(line, taken)
            for chosen in combinations(rest, taken)
        )

    def _all_fit(self, line, chosen):
        return self._try() and all(line.fits(child) and self.forest(line, child.children, child) for child in chosen)


def enough(line, number):
    return line.low <= number and (line.high is None or number <= line.high)


def exactly(parent, child):
    """Whether a line says exactly how many there are of a child, so that `...` takes none."""
    return any(line.count_text and line.high is not None and line.fits(child) for line in direct(parent))


def everything_below(children):
    return [one for child in children for one in (child, *everything_below(child.children))]


def leads(line, child):
    """Whether a `>>` line fits a child or anything below it."""
    return any(line.fits(one) for one in everything_below([child]))


def passes(lines, child):
    return any(leads(line, child) for line in lines)


def without(rest, chosen):
    return [child for child in rest if not any(child is one for one in chosen)]


@settings(max_examples=400, deadline=None)
@example(([("...", ()), ("1-2x any a", ())], [("a", None, (("a", None, ()),)), ("a", None, ())]), "any")
# What is in another order below a `>>` line is shown below the line that has its parent, too.
@example(
    (
        [("any a", ()), (">> any a", (("any a", ()), ("any a", ()), ("any a", ()), ("any b", ())))],
        [("a", None, (("b", None, ()), ("a", None, ())))],
    ),
    "start",
)
# `...` takes none of what a line says how many there are of, at any depth.
@example(([("...", ()), (">> 0x any b", ())], [("b", None, ())]), "start")
@example(([("...", ()), (">> 1x any b", ())], [("b", None, (("b", None, ()),))]), "any")
# An observation is what one line says, also after lines have changed theirs.
@example(([("any a", ()), ("any *", ()), (">> any a", ())], [("a", None, ()), ("a", None, ())]), "start")
# Literals that match line by line as far as they go.
@example(([("any a", ())], [("a", None, (("b", None, ()),))]), "start")
@example(([("any a", ())], [("a", None, ()), ("b", None, ())]), "start")
@example(([("any a", (("any b", ()),))], [("a", None, ())]), "start")
@example(([("2x any a", ())], [("a", None, ())]), "start")
@example(([("any a", (("any a", ()), ("any b", ())))], [("a", None, (("b", None, ()), ("a", None, ())))]), "start")
@given(pairs(), st.sampled_from(("start", "any", "contained")))
def test_same_answer_as_trying_everything(pair, mode):
    level, trees = pair
    literal = written(level)
    root, captured = parse(literal), link(observations(trees))
    contained, order = mode == "contained", "start" if mode == "start" else "any"
    roots = [one for one in captured if one.parent is None]
    if contained:
        root = anywhere(root)
    expected = Slow(order, contained=contained).forest(root, captured if contained else roots)
    diff = compare(root, captured, Style(), order=order, contained=contained)
    assert (diff is None) == expected, literal
    assert Matcher(order, contained=contained).forest(root, captured if contained else roots) == expected, literal
    assert diff is None or diff.sentences


def test_siblings_in_any_order_are_told_apart_by_matchers_and_raw_attributes():
    top = observation("span", "a")
    below = [
        observation("span", "b", id=2 + number, parent=top, input=number, attributes={"raw": f'{{"n": [{number}]}}'})
        for number in range(4)
    ]
    link([top, *below])
    lines = "".join(f'  span b input=$n{number} "raw"={{"n":[{number}]}}\n' for number in (3, 1, 2, 0))
    values = {f"n{number}": IsPartialDict() | number for number in range(4)}
    root = parse(f"span a\n{lines}", values)
    assert Matcher("any").forest(root, [top])
    assert not Matcher("start").forest(root, [top])


def test_permutations_of_siblings_match_in_any_order_only():
    root = parse("span a\n  span b model=x\n  span b model=y\n  span b")
    for models in permutations(("x", "y", "z")):
        top = observation("span", "a")
        below = [observation("span", "b", id=2 + i, parent=top, model=model) for i, model in enumerate(models)]
        captured = link([top, *below])
        assert compare(root, captured, Style(), order="any") is None
        assert (compare(root, captured, Style()) is None) == (models == ("x", "y", "z"))
