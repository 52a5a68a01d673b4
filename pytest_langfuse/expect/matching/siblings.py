"""Aligning one level of a tree: which captured sibling is which line, when not all of them match."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.matching.likeness import NEVER, Likeness
from pytest_langfuse.expect.matching.matcher import SiblingSlot, counted, slots_of
from pytest_langfuse.recording.observation import Observation

#: A slot and the captured sibling in it, by their places.
Pair = tuple[int, int]

#: A place for at most one observation.
_MAYBE: Final = 1
#: What it costs to leave a line without an observation, or an observation without a line.
_ALONE: Final = 20.0
#: Siblings, on the side that has fewer, that are compared with all on the other; more are aligned by name.
_FEW: Final = 32


@dataclass(slots=True)
class SiblingAlignment:
    """An alignment of one level. Numbers are places among the slots and among the captured siblings."""

    slots: list[SiblingSlot]
    captured: Sequence[Observation]
    #: In the order of the captured siblings, where order counts.
    pairs: list[Pair] = field(default_factory=list)
    #: Pairs whose sibling started at another place than the literal says.
    reordered: list[Pair] = field(default_factory=list)
    #: Slots that must be filled and are not.
    missing: list[int] = field(default_factory=list)
    #: Captured siblings without a line, and whether a `...` line allows each.
    extra: dict[int, bool] = field(default_factory=dict)


def align_siblings(
    parent: ExpectedLine,
    captured: Sequence[Observation],
    likeness: Likeness,
    leads: Callable[[ExpectedLine, Observation], bool],
    *,
    ordered: bool,
    open_: bool,
) -> SiblingAlignment:
    """Align `captured` with the lines below `parent`. `open_` allows further siblings everywhere.

    `leads` tells whether a `>>` line takes a sibling, for what is below it.
    """
    open_ = open_ or bool(parent.gaps)
    level = _SiblingAligner(parent, captured, likeness, leads, open_=open_)
    if ordered:
        level.align_in_order()
    else:
        level.align_in_any_order(open_=open_)
    return level.result


class _SiblingAligner:
    """The work on one level."""

    def __init__(
        self,
        parent: ExpectedLine,
        captured: Sequence[Observation],
        likeness: Likeness,
        leads: Callable[[ExpectedLine, Observation], bool],
        *,
        open_: bool,
    ) -> None:
        self._leads = leads
        self._open = open_
        self._descendants = parent.descendants
        self._slots = _single(slots_of(parent), len(captured))
        self._captured = captured
        self._likeness = likeness
        self._exact = counted(parent)
        self.result = SiblingAlignment(self._slots, captured)

    def align_in_order(self) -> None:
        """Siblings that started in another order are reordered."""
        slots, captured = self._slots, self._captured
        first, slot_end, place_end = 0, len(slots), len(captured)
        while first < min(slot_end, place_end) and self._same(first, first):
            first += 1
        while min(slot_end, place_end) > first and self._same(slot_end - 1, place_end - 1):
            slot_end, place_end = slot_end - 1, place_end - 1
        pairs = [(place, place) for place in range(first)]
        pairs += zip(range(slot_end, len(slots)), range(place_end, len(captured)), strict=True)
        if min(slot_end - first, place_end - first) <= _FEW:
            pairs += self._cheapest(first, slot_end, place_end)
        else:
            pairs += self._by_name(range(first, slot_end), range(first, place_end))
        in_place = _longest_rising(sorted(pairs))
        self._settle(*self._in_order(in_place, set(pairs).difference(in_place)))
        self._allow_in_gaps()
        result = self.result
        found = self._most_alike(result.missing, list(result.extra))
        taken = {place for _, place in found}
        left = [place for place, allowed in result.extra.items() if not allowed and place not in taken]
        found += self._repeated(left, found)
        # What a `...` line had taken may stand where its own line does.
        self._settle(*self._in_order(result.pairs, {*result.reordered, *found}))
        self._allow_in_gaps()

    def align_in_any_order(self, *, open_: bool) -> None:
        """The order in which siblings started does not count."""
        pairs = self._by_name(range(len(self._slots)), range(len(self._captured)))
        taken = {place for _, place in pairs}
        left = [place for place in range(len(self._captured)) if place not in taken]
        if open_:
            # What a count speaks of needs a line all the same, as long as there is room below its limit.
            left = [place for place in left if self._is_counted(place)]
        pairs += self._repeated(left, pairs, limited=open_)
        self._settle(sorted(pairs), ())
        for place in self.result.extra:
            allowed = open_ or any(self._leads(line, self._captured[place]) for line in self._descendants)
            self.result.extra[place] = allowed and not self._is_counted(place)

    def _in_order(self, in_place: Iterable[Pair], others: Iterable[Pair]) -> tuple[list[Pair], list[Pair]]:
        """Add to `in_place` those of `others` that keep the order of the lines; returns both, and what is left over."""
        kept = sorted((place, self._line_of(slot), slot) for slot, place in in_place)
        rest: list[Pair] = []
        for slot, place in sorted(others):
            entry = place, self._line_of(slot), slot
            index = bisect_left(kept, entry)
            # Slots of one line may change places.
            if (not index or kept[index - 1][1] <= entry[1]) and (index == len(kept) or entry[1] <= kept[index][1]):
                kept.insert(index, entry)
            else:
                rest.append((slot, place))
        return [(slot, place) for place, _, slot in kept], rest

    def _line_of(self, slot: int) -> int:
        line = self._slots[slot].expected
        return line.place if line is not None else -1

    def _settle(self, pairs: list[Pair], reordered: Iterable[Pair]) -> None:
        result = self.result
        result.pairs, result.reordered = pairs, sorted(reordered)
        filled = {slot for slot, _ in (*pairs, *result.reordered)}
        taken = {place for _, place in (*pairs, *result.reordered)}
        result.missing = [index for index, slot in enumerate(self._slots) if slot.kind == "one" and index not in filled]
        result.extra = dict.fromkeys((place for place in range(len(self._captured)) if place not in taken), False)

    def _allow_in_gaps(self) -> None:
        """Extra siblings are allowed where a `...` line stands between the lines of their neighbours."""
        gaps = [index for index, slot in enumerate(self._slots) if slot.expected is None]
        if not gaps:
            return
        by_place = sorted((place, slot) for slot, place in self.result.pairs)
        before, index = -1, 0
        for place in self.result.extra:
            while index < len(by_place) and by_place[index][0] < place:
                before = by_place[index][1]
                index += 1
            after = by_place[index][1] if index < len(by_place) else len(self._slots)
            between = range(bisect_left(gaps, before + 1), bisect_left(gaps, after))
            allowed = any(self._opens(self._slots[gaps[gap]], place) for gap in between)
            self.result.extra[place] = allowed and not self._is_counted(place)

    def _opens(self, slot: SiblingSlot, place: int) -> bool:
        return slot.through is None or self._leads(slot.through, self._captured[place])

    def _cost(self, line: ExpectedLine, captured: Observation) -> float:
        """Return what it costs to say that a line is a sibling.

        Where further siblings are allowed, one that a line for any name does not fit is not a changed one of it.
        """
        if self._open and line.name.any and not line.fits(captured):
            return NEVER
        return self._likeness.cost(line, captured)

    def _is_counted(self, place: int) -> bool:
        return any(line.fits(self._captured[place]) for line in self._exact)

    def _same(self, slot: int, place: int) -> bool:
        line = self._slots[slot].expected
        return line is not None and line.once and self._likeness.whole(line, self._captured[place])

    # -- the cheapest alignment that keeps the order -----------------------------------------------------------

    def _cheapest(self, first: int, slot_end: int, place_end: int) -> list[Pair]:
        """Dynamic programming over slots and captured siblings from `first` on."""
        width = place_end - first
        # row[j]: least cost of the slots so far with the first j siblings; how[i][j]: the last step to it, `=` for a
        # pair, `-` for a slot alone (a line that is missing, or a place that may stay empty), `+` for a sibling alone.
        row = [_ALONE * place for place in range(width + 1)]
        how = [["+"] * (width + 1)]
        for slot in self._slots[first:slot_end]:
            above, row = row, [0.0] * (width + 1)
            steps = ["-"] * (width + 1)
            empty = _ALONE if slot.kind == "one" else 0.0
            once = slot.kind == "one" or slot.most == _MAYBE
            for place in range(width + 1):
                best = above[place] + empty
                if place:
                    via = above[place - 1] if once else row[place - 1]
                    paired = via + self._take(slot, first + place - 1)
                    # At the same cost a pair says more than two that are alone.
                    if paired <= best and paired < NEVER:
                        best, steps[place] = paired, "="
                    if row[place - 1] + _ALONE < best:
                        best, steps[place] = row[place - 1] + _ALONE, "+"
                row[place] = best
            how.append(steps)
        return self._traced(how, first, width)

    def _take(self, slot: SiblingSlot, place: int) -> float:
        if slot.expected is not None:
            return self._cost(slot.expected, self._captured[place])
        return NEVER if self._is_counted(place) or not self._opens(slot, place) else 0.0

    def _traced(self, how: list[list[str]], first: int, width: int) -> list[Pair]:
        pairs: list[Pair] = []
        index, place = len(how) - 1, width
        while index and place:
            step = how[index][place]
            if step == "+":
                place -= 1
            elif step == "-":
                index -= 1
            else:
                slot = self._slots[first + index - 1]
                if slot.expected is not None:
                    pairs.append((first + index - 1, first + place - 1))
                index -= slot.kind == "one" or slot.most == _MAYBE
                place -= 1
        return pairs

    # -- without regard to order -------------------------------------------------------------------------------

    def _by_name(self, slots: Sequence[int], places: Sequence[int]) -> list[Pair]:
        """Whole matches first, then what is most alike."""
        pairs = self._whole_matches(slots, places)
        filled, taken = {slot for slot, _ in pairs}, {place for _, place in pairs}
        rest = [slot for slot in slots if slot not in filled and self._slots[slot].kind == "one"]
        return pairs + self._most_alike(rest, [place for place in places if place not in taken])

    def _whole_matches(self, slots: Sequence[int], places: Sequence[int]) -> list[Pair]:
        # By the places that they have in the assignment: lines that must be there, then those that may.
        order = [[slot] for slot in slots if self._slots[slot].kind == "one"]
        required = len(order)
        many: dict[int, list[int]] = {}
        for slot in slots:
            if self._slots[slot].kind == "many" and (line := self._slots[slot].expected) is not None:
                many.setdefault(id(line), []).append(slot)
        order += many.values()
        lines = [line for alike in order if (line := self._slots[alike[0]].expected) is not None]
        usable = [place for place in places if id(self._captured[place]) not in self._likeness.broken]
        siblings = [self._captured[place] for place in usable]
        owner = self._likeness.whole_matches(lines[:required], lines[required:], siblings).owner
        return [(self._free_one(order[index]), usable[place]) for place, index in enumerate(owner) if index >= 0]

    def _free_one(self, alike: list[int]) -> int:
        """Return one of slots of one line: each for one observation is returned once."""
        return alike.pop() if len(alike) > 1 else alike[0]

    def _most_alike(self, slots: Sequence[int], places: Sequence[int]) -> list[Pair]:
        """Pairs of what is left, the cheapest first; of one name where that would be too many to compare."""
        if min(len(slots), len(places)) <= _FEW:
            return self._greedy(slots, places)
        by_name: defaultdict[str | None, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for slot in slots:
            line = self._slots[slot].expected
            by_name[line.name.exact if line is not None else None][0].append(slot)
        for place in places:
            by_name[self._captured[place].name][1].append(place)
        pairs: list[Pair] = []
        for alike_slots, alike_places in by_name.values():
            if min(len(alike_slots), len(alike_places)) <= _FEW:
                pairs += self._greedy(alike_slots, alike_places)
            else:
                pairs += zip(alike_slots, alike_places, strict=False)
        return pairs

    def _repeated(self, places: Iterable[int], pairs: Iterable[Pair], *, limited: bool = False) -> list[Pair]:
        """Pairs of what is left with the most alike of the lines that take more siblings than they must have.

        `limited`: only of those with a limit.
        """
        filled = {slot for slot, _ in (*self.result.pairs, *self.result.reordered, *pairs)}
        many: dict[tuple[int, bool], list[int]] = {}
        for index, slot in enumerate(self._slots):
            if slot.kind == "one" or slot.expected is None or (limited and slot.expected.high is None):
                continue
            if not (slot.most == _MAYBE and index in filled):
                many.setdefault((id(slot.expected), slot.most == _MAYBE), []).append(index)
        found: list[Pair] = []
        for place in places if many else ():
            for pair in self._greedy([alike[0] for alike in many.values() if alike], [place])[:1]:
                found.append(pair)
                taken = self._slots[pair[0]]
                if taken.most == _MAYBE:
                    del many[id(taken.expected), True][0]
        return found

    def _greedy(self, slots: Sequence[int], places: Sequence[int]) -> list[Pair]:
        costs = [
            (cost, abs(slot - place), slot, place)
            for slot in slots
            if (line := self._slots[slot].expected) is not None
            for place in places
            if (cost := self._cost(line, self._captured[place])) < NEVER
        ]
        pairs: dict[int, int] = {}
        taken: set[int] = set()
        for _, _, slot, place in sorted(costs):
            if slot not in pairs and place not in taken:
                pairs[slot] = place
                taken.add(place)
        return list(pairs.items())


def _single(slots: Sequence[SiblingSlot], siblings: int) -> list[SiblingSlot]:
    """Return `slots`, those with a limit as places for one observation each: no more than there are siblings."""
    single: list[SiblingSlot] = []
    for slot in slots:
        if slot.most is None or slot.most >= siblings:
            single.append(SiblingSlot(slot.expected, slot.kind, through=slot.through))
        else:
            single += [SiblingSlot(slot.expected, slot.kind, _MAYBE)] * slot.most
    return single


def _longest_rising(pairs: list[Pair]) -> list[Pair]:
    """The longest part of `pairs`, which are in the order of the slots, that is in the order of siblings, too."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        length = bisect_left(ends, place)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [place]
        last[length : length + 1] = [index]
    rising: list[Pair] = []
    index = last[-1] if last else -1
    while index >= 0:
        rising.append(pairs[index])
        index = before[index]
    return rising[::-1]
