"""The matcher against a slow one that tries everything."""

from __future__ import annotations

from itertools import combinations, permutations

from forest import observation
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_langfuse.expect.comparison import compare
from pytest_langfuse.expect.literal import parse
from pytest_langfuse.expect.style import Style
from pytest_langfuse.recording import link

NAMES = ("a", "b")
PATTERNS = ("a", "b", "*")
CONDITIONS = ("", " model=x", " model=y", " model?", " !model")
COUNTS = ("", "", "", "1x ", "2x ", "1+x ", "0+x ", "0x ")

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
    lambda count, name, condition: f"{count}any {name}{condition}",
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


def slow_forest(parent, captured, *, order, contained, anywhere=None):
    """Try every way in which the captured children can be given to the lines."""
    children = captured if anywhere is None else anywhere

    def fits(line, child):
        return line.fits(child) and slow_forest(line, child.children, order=order, contained=contained)

    def exactly(child):
        return any(line.count_text and line.high is not None and line.fits(child) for line in parent.children)

    def in_order(index, start):
        if index == len(parent.children):
            gap = index in parent.gaps
            return start == len(children) or (gap and not any(map(exactly, children[start:])))
        line = parent.children[index]
        starts = [start]
        if index in parent.gaps:
            for end in range(start, len(children)):
                if exactly(children[end]):
                    break
                starts.append(end + 1)
        for begin in starts:
            for end in range(begin, len(children) + 1):
                taken = end - begin
                if line.low <= taken and (line.high is None or taken <= line.high):
                    if all(fits(line, child) for child in children[begin:end]) and in_order(index + 1, end):
                        return True
        return False

    def any_order(index, rest):
        if index == len(parent.children):
            return not rest or ((contained or bool(parent.gaps)) and not any(map(exactly, rest)))
        line = parent.children[index]
        for taken in range(len(rest) + 1):
            if line.low <= taken and (line.high is None or taken <= line.high):
                for chosen in combinations(rest, taken):
                    if all(fits(line, child) for child in chosen):
                        left = [child for child in rest if not any(child is one for one in chosen)]
                        if any_order(index + 1, left):
                            return True
        return False

    return in_order(0, 0) if order == "start" and not contained else any_order(0, list(children))


@settings(max_examples=600, deadline=None)
@given(levels, st.lists(captured_trees, max_size=3), st.sampled_from(("start", "any", "contained")))
def test_same_answer_as_trying_everything(level, trees, mode):
    literal = written(level)
    root, captured = parse(literal), link(observations(trees))
    contained, order = mode == "contained", "start" if mode == "start" else "any"
    roots = [one for one in captured if one.parent is None]
    expected = slow_forest(root, roots, order=order, contained=contained, anywhere=captured if contained else None)
    diff = compare(root, captured, Style(), order=order, contained=contained)
    assert (diff is None) == expected, literal
    assert diff is None or diff.sentences


def test_permutations_of_siblings_match_in_any_order_only():
    root = parse("span a\n  span b model=x\n  span b model=y\n  span b")
    for models in permutations(("x", "y", "z")):
        top = observation("span", "a")
        below = [observation("span", "b", id=2 + i, parent=top, model=model) for i, model in enumerate(models)]
        captured = link([top, *below])
        assert compare(root, captured, Style(), order="any") is None
        assert (compare(root, captured, Style()) is None) == (models == ("x", "y", "z"))
