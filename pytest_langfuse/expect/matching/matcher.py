"""Matching captured observations with what a literal expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.matching.assignment import Assignment, Questions
from pytest_langfuse.expect.matching.descendants import Descendants, number_within, within
from pytest_langfuse.expect.matching.rival_lines import RivalLines
from pytest_langfuse.expect.matching.score_index import ScoreIndex, pair
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.trace import roots

#: `start`: siblings in the order in which they started; `any`: in any order.
Order = Literal["start", "any"]


@dataclass(frozen=True, slots=True)
class SiblingSlot:
    """A place among siblings for exactly `one` observation, or for `many`: up to `most`, also none.

    `expected` is `None` for a `...` line. `most` is `None` where there is no limit.
    """

    expected: ExpectedLine | None
    kind: Literal["one", "many"]
    most: int | None = None
    #: A `>>` line takes the siblings that lead to what it fits.
    through: ExpectedLine | None = None


def slots_of(parent: ExpectedLine) -> list[SiblingSlot]:
    """The places that the lines below `parent` make, in their order."""
    slots: list[SiblingSlot] = []
    for index, child in enumerate(parent.children):
        if index in parent.gaps:
            slots.append(SiblingSlot(None, "many"))
        if child.deep:
            slots.append(SiblingSlot(None, "many", through=child))
            continue
        slots.extend([SiblingSlot(child, "one")] * child.low)
        if child.high is None:
            slots.append(SiblingSlot(child, "many"))
        elif child.high > child.low:
            slots.append(SiblingSlot(child, "many", child.high - child.low))
    if len(parent.children) in parent.gaps:
        slots.append(SiblingSlot(None, "many"))
    return slots


def direct(parent: ExpectedLine) -> Sequence[ExpectedLine]:
    """The lines below `parent` that are children, at no other depth."""
    return [line for line in parent.children if not line.deep] if parent.descendants else parent.children


def required(lines: Sequence[ExpectedLine]) -> list[ExpectedLine]:
    """The lines, each as often as it must appear."""
    return [line for line in lines for _ in range(line.low)]


def optional(lines: Sequence[ExpectedLine]) -> list[ExpectedLine]:
    """The lines that may appear more often than they must."""
    return [line for line in lines if line.high is None or line.high > line.low]


def counted(parent: ExpectedLine) -> list[ExpectedLine]:
    """The lines below `parent` that say how many there are at most (`2x`, `1-3x`), so that `...` takes none of them."""
    return [line for line in direct(parent) if line.count_text and line.high is not None]


def anywhere(root: ExpectedLine) -> ExpectedLine:
    """The root of a literal whose lines may be anywhere in a forest: at any depth, all of them."""
    if not root.descendants:
        return root
    return replace(root, children=[replace(line, deep=False) for line in root.children], descendants=())


class Matcher:
    """Answers whether observations match, and remembers the answers.

    With `contained`, observations may have more children than the literal says, in any order. Takes no recursion, so
    that the depth of a tree is limited by memory only, and linear time unless siblings are many and ambiguous.
    """

    def __init__(self, order: Order, *, contained: bool = False, scores: ScoreIndex | None = None) -> None:
        self.ordered: Final = order == "start" and not contained
        self.contained: Final = contained
        self.scores: Final = scores if scores is not None else ScoreIndex()
        #: Whether a search took too long: that it found no match proves nothing.
        self.gave_up = False
        self._captured: Sequence[Observation] = ()
        self._descendants: Descendants | None = None
        self._whole_places: dict[int, list[int]] = {}
        self._answers: dict[tuple[int, int], bool] = {}
        self._rivals: dict[int, RivalLines] = {}

    def forest(self, root: ExpectedLine, captured: Sequence[Observation]) -> bool:
        """Return whether `captured`, which have no parent, match the lines below the root of a literal."""
        self._captured, self._descendants = captured, None
        if None in pair(root.trace_scores, self.scores.of_traces):
            return False
        return self._answer(self._siblings(root, captured, None))

    def whole(self, expected: ExpectedLine, captured: Observation) -> bool:
        """Return whether `captured` and all below it match a line and all below it."""
        return self._answer(_ask(expected, captured))

    def assignment(
        self,
        lines: Sequence[ExpectedLine],
        optional: Sequence[ExpectedLine],
        captured: Sequence[Observation],
    ) -> Assignment:
        """Return the assignment of `captured` with the most whole matches, in any order."""
        assignment = Assignment(lines, optional, captured)
        self._answer(assignment.most())
        return assignment

    def _needs_line(self, parent: ExpectedLine) -> Callable[[Observation], bool]:
        """Return the test for children that need a line: all, or with `...` those that match a counted line."""
        passing = parent.passing
        if not (self.contained or parent.gaps or passing):
            return lambda _observation: True
        lines = counted(parent)
        if self.contained or parent.gaps:
            return lambda observation: any(line.fits(observation) for line in lines)
        return lambda observation: (
            any(line.fits(observation) for line in lines) or not self.leads_any(passing, observation)
        )

    def leads_any(self, lines: Sequence[ExpectedLine], observation: Observation) -> bool:
        """Return whether one of some `>>` lines fits an observation or any below it."""
        return any(self.descendants.leads(line, observation) for line in lines)

    # -- at any depth --------------------------------------------------------------------------------------------

    @property
    def descendants(self) -> Descendants:
        """The forest that was matched last."""
        if self._descendants is None:
            self._descendants = Descendants(roots(self._captured))
        return self._descendants

    def needs_deep_line(self, parent: ExpectedLine) -> Callable[[Observation], bool]:
        """Return the test for observations that need one of the `>>` lines, of those that any of them fits."""
        if not (self.contained or parent.gaps):
            return lambda observation: any(line.fits(observation) for line in parent.descendants)
        lines = [line for line in parent.descendants if line.count_text and line.high is not None]
        return lambda observation: any(line.fits(observation) for line in lines)

    def deep_assignment(self, parent: ExpectedLine, above: Observation | None) -> Assignment:
        """Return the best assignment of the observations below `above` to the `>>` lines below `parent`."""
        assignment = self._deep_assignment(parent, self.descendants.below(above))
        rivals = self.rivals(parent)
        first = len(required(rivals.lines))
        self._answer(rivals.ask(assignment.settle(self.needs_deep_line(parent), first=first), above))
        return assignment

    def _deep_assignment(self, parent: ExpectedLine, below: range) -> Assignment:
        """Return an assignment to the `>>` lines below `parent`, and first to those that compete with them."""
        index, rivals = self.descendants, self.rivals(parent)
        places = {place for line in parent.descendants for place in within(index.fitting(line), below)}
        for name in rivals.names:
            places.update(within(index.named(name), below))
        lines = [*rivals.lines, *parent.descendants]
        return Assignment(required(lines), optional(lines), [index.order[place] for place in sorted(places)])

    def rivals(self, parent: ExpectedLine) -> RivalLines:
        """Return the lines below `parent` that compete with its `>>` lines."""
        rivals = self._rivals.get(id(parent))
        if rivals is None:
            rivals = self._rivals[id(parent)] = RivalLines(parent, len(self.descendants.order))
        return rivals

    def _anywhere_below(self, parent: ExpectedLine, above: Observation | None) -> Questions:
        """Answer whether each `>>` line below `parent` has the observations below `above` that it needs."""
        index, lines = self.descendants, parent.descendants
        below = index.below(above)
        if any(number_within(index.fitting(line), below) < line.low for line in lines):
            return False
        rivals = self.rivals(parent)
        if rivals.lines or index.overlap(lines):
            assignment = self._deep_assignment(parent, below)
            return self._noted(
                assignment, (yield from rivals.ask(assignment.complete(self.needs_deep_line(parent)), above))
            )
        # Lines that fit different observations need no assignment: counting takes no time, however deep they are.
        for line in lines:
            yield from self._find_whole(line)
        return all(self._are_enough(line, below, open_=self.contained or bool(parent.gaps)) for line in lines)

    def _find_whole(self, line: ExpectedLine) -> Questions:
        if id(line) not in self._whole_places:
            whole: list[int] = []
            for place in self.descendants.fitting(line):
                if (yield line, self.descendants.order[place]):
                    whole += [place]
            self._whole_places[id(line)] = whole
        return True

    def _are_enough(self, line: ExpectedLine, below: range, *, open_: bool) -> bool:
        found = number_within(self._whole_places[id(line)], below)
        if open_ and not (line.count_text and line.high is not None):
            return found >= line.low
        most = found if line.high is None else line.high
        return line.low <= found <= most and found == number_within(self.descendants.fitting(line), below)

    def _noted(self, assignment: Assignment, answer: bool) -> bool:  # noqa: FBT001 - the answer itself
        self.gave_up = self.gave_up or assignment.gave_up
        return answer

    def _answer(self, first: Questions) -> bool:
        """Run `first`, and a generator for each question that it or another one asks."""
        answers = self._answers
        stack: list[tuple[Questions, tuple[int, int] | None]] = [(first, None)]
        reply: bool | None = None
        while True:
            asking, key = stack[-1]
            try:
                expected, captured = asking.send(reply)  # type: ignore[arg-type] # the first reply is None, by protocol
            except StopIteration as end:
                reply = bool(end.value)
                stack.pop()
                if key is not None:
                    answers[key] = reply
                if not stack:
                    return reply
                continue
            key = (id(expected), id(captured))
            reply = answers.get(key)
            if reply is None:
                if not (expected.fits(captured) and self.scores.hold(expected, captured)):
                    reply = answers[key] = False
                else:
                    stack.append((self._siblings(expected, captured.children, captured), key))

    def _siblings(self, parent: ExpectedLine, captured: Sequence[Observation], above: Observation | None) -> Questions:
        if parent.descendants and not (yield from self._anywhere_below(parent, above)):
            return False
        lines = direct(parent)
        if not self.ordered:
            assignment = Assignment(required(lines), optional(lines), captured)
            if len(assignment.lines) > len(captured):
                return False
            return self._noted(assignment, (yield from assignment.complete(self._needs_line(parent))))
        if not (parent.gaps or parent.descendants) and all(line.once for line in lines):
            if len(lines) == len(captured) and (yield from _one_by_one(lines, captured)):
                return True
            if not parent.reaching or len(lines) > len(captured):
                return False
        return (yield from _in_order(parent, captured, self))


def is_plain_match(root: ExpectedLine, captured: Sequence[Observation]) -> bool:
    """Return whether a forest matches line by line, of a literal in which no line repeats or skips, or has scores.

    It is what most literals are, and most assertions hold: this takes a third of the time of a `Matcher`, which is to
    decide where it returns `False`.
    """
    levels: list[tuple[ExpectedLine, Sequence[Observation]]] = [(root, captured)]
    for parent, siblings in levels:
        lines = parent.children
        if len(lines) != len(siblings) or parent.gaps or parent.descendants or parent.reaching:
            return False
        for line, observation in zip(lines, siblings, strict=True):
            if line.high != 1 or not line.fits(observation):
                return False
            if line.children or line.gaps or observation.children:
                levels.append((line, observation.children))
    return not root.names_scores


def _ask(expected: ExpectedLine, captured: Observation) -> Questions:
    return (yield expected, captured)


def _one_by_one(lines: Sequence[ExpectedLine], captured: Sequence[Observation]) -> Questions:
    for question in zip(lines, captured, strict=True):
        if not (yield question):
            return False
    return True


def _in_order(parent: ExpectedLine, captured: Sequence[Observation], matcher: Matcher) -> Questions:
    """Walk `captured` with all places where an attempt to fill the slots in order may stand.

    Of attempts at one place, the one that has taken the fewest observations there can do all that the others can.
    """
    slots = slots_of(parent)
    exact = counted(parent)
    reached = _with_skips({0: 0}, slots)
    for observation in captured:
        following: dict[int, int] = {}
        is_counted = any(line.fits(observation) for line in exact)
        if not is_counted and matcher.leads_any(parent.reaching, observation):
            following.update(reached)
        for place, used in sorted(reached.items()):
            if place == len(slots):
                break
            slot = slots[place]
            if slot.most is not None and used == slot.most:
                continue
            if slot.expected is None:
                leads = slot.through is None or matcher.descendants.leads(slot.through, observation)
                taken = leads and not is_counted
            else:
                taken = yield slot.expected, observation
            if taken:
                _reach(following, *((place, used + 1) if slot.kind == "many" else (place + 1, 0)))
        if not following:
            return False
        reached = _with_skips(following, slots)
    return len(slots) in reached


def _with_skips(places: dict[int, int], slots: Sequence[SiblingSlot]) -> dict[int, int]:
    """Add the places after slots that may stay empty."""
    for start in tuple(places):
        place = start
        while place < len(slots) and slots[place].kind == "many":
            place += 1
            _reach(places, place, 0)
    return places


def _reach(places: dict[int, int], place: int, used: int) -> None:
    places[place] = min(used, places.get(place, used))
