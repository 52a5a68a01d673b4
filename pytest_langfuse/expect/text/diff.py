"""Both trees as one text, aligned, and a sentence for each difference."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from pytest_langfuse.expect.literal.expected_line import ANY_TYPE, ExpectedLine
from pytest_langfuse.expect.literal.name_pattern import name_in_sentence, name_text
from pytest_langfuse.expect.matching.alignment import Alignment
from pytest_langfuse.expect.matching.level import (
    CountedLine,
    ExtraObservation,
    Level,
    LevelEntry,
    MatchedLine,
    MissingLine,
    Placement,
    VerbatimLine,
)
from pytest_langfuse.expect.text.render import summary_line
from pytest_langfuse.recording.observation import Observation

Mark = Literal[" ", "-", "+"]


class Row(NamedTuple):
    """A line of the aligned trees: in both (` `), expected (`-`) or captured (`+`)."""

    mark: Mark
    depth: int
    text: str


class Diff:
    """The rows and the sentences of an alignment. Values longer than `width` are cut; `None` shows all."""

    def __init__(self, alignment: Alignment, width: int | None) -> None:
        self.rows: Final[list[Row]] = []
        self.sentences: Final[list[str]] = []
        self._width = width
        self._alignment = alignment
        self._shown: set[int] = set()
        self._alike: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self._position = {id(observation): index for index, observation in enumerate(alignment.everything)}
        self._walk(alignment.level)
        for match in alignment.match_of.values():
            if match.place is Placement.MOVED and id(match) not in self._shown:
                self._show_apart(match)

    def _walk(self, level: Iterable[LevelEntry], depth: int = 0) -> None:
        """Show a level and all below it; a stack of iterators, so that deep trees need no recursion."""
        stack: list[tuple[Iterator[LevelEntry], int, list[MatchedLine]]] = [(iter(level), depth, _in_place(level))]
        while stack:
            entries, depth, in_place = stack[-1]
            entry = next(entries, None)
            if entry is None:
                stack.pop()
                continue
            below = self._show(entry, depth, in_place)
            if below:
                # What a line with a count stands for is on the level of that line.
                depth += not isinstance(entry, CountedLine)
                stack.append((iter(below), depth, _in_place(below)))

    def _show(self, entry: LevelEntry, depth: int, siblings: list[MatchedLine]) -> Level:
        """Show one entry; returns what is to be shown below it."""
        match entry:
            case VerbatimLine():
                self._row(" ", depth, entry.text)
            case MissingLine():
                return self._show_missing(entry, depth)
            case ExtraObservation():
                return self._show_extra(entry, depth, siblings)
            case CountedLine():
                return self._show_repeated(entry, depth)
            case MatchedLine():
                return self._show_match(entry, depth, siblings)
        return []

    def _row(self, mark: Mark, depth: int, text: str) -> None:
        self.rows.append(Row(mark, depth, text))

    # -- entries -----------------------------------------------------------------------------------------------

    def _show_missing(self, missing: MissingLine, depth: int) -> Level:
        self._row("-", depth, missing.expected.text(self._width))
        if missing.match is None:
            self.sentences.append(f"{missing.expected.label} is missing")
        return [*missing.below]

    def _show_extra(self, extra: ExtraObservation, depth: int, siblings: list[MatchedLine]) -> Level:
        captured = extra.captured
        match = self._alignment.match_of.get(id(captured))
        if match is not None:
            return self._show_match(match, depth, siblings)
        if extra.allowed:
            if id(captured) not in self._alignment.likeness.broken:
                return []
            self._row(" ", depth, summary_line(captured, self._width))
        else:
            self._row("+", depth, summary_line(captured, self._width))
            self.sentences.append(f"{captured.type} {name_in_sentence(captured.name)} is unexpected")
        return [ExtraObservation(child, extra.allowed) for child in captured.children]

    def _show_match(self, match: MatchedLine, depth: int, siblings: list[MatchedLine]) -> Level:
        self._shown.add(id(match))
        line, captured = match.expected, match.captured
        differences = list(self._differences(match, siblings))
        self.sentences.extend(differences)
        name = line.name.written if line.name.exact == captured.name else name_text(captured.name)
        if match.place is Placement.IN_PLACE and not differences:
            # A line with a count stands for one observation here.
            text = line.captured_line(captured, name, self._width) if line.count_text else line.text(self._width)
            self._row(" ", depth, text)
        else:
            if match.place is Placement.IN_PLACE:
                self._row("-", depth, line.expected_line(captured, self._width))
            self._row("+", depth, line.captured_line(captured, name, self._width))
        if match.whole:
            self._show_as_written(line, depth + 1)
        return match.level

    def _show_repeated(self, repeated: CountedLine, depth: int) -> Level:
        line, match_of = repeated.expected, self._alignment.match_of
        moved = [missing for missing in repeated.missing if missing.match is not None]
        # Where the line misses some, what is left over is not above its count, but something else.
        lacks = len(moved) < len(repeated.missing)
        surplus = [one for one in repeated.surplus if id(one) not in match_of and not lacks]
        found = len(repeated.in_place) + len(repeated.reordered) + len(moved) + len(surplus)
        enough = line.low <= found and (line.high is None or found <= line.high)
        plain = line.text(self._width).removeprefix(f"{line.count_text} ")
        apart = sum(not match.whole for match in repeated.in_place)
        if not enough:
            self._row("-", depth, line.text(self._width))
            if found:
                self._row("+", depth, f"{found}x {plain}")
            self.sentences.append(_count_sentence(line, found))
        elif not apart or line.high != line.low:
            self._row(" ", depth, line.text(self._width))
        elif found > apart:
            # Those that differ are shown on separate lines.
            self._row(" ", depth, plain if found == apart + 1 else f"{found - apart}x {plain}")
        if any(match.whole for match in repeated.in_place) or not (found or line.low):
            self._show_as_written(line, depth + 1)
        elif not found:
            for missing in repeated.missing[0].below:
                self._row("-", depth + 1, missing.expected.text(self._width))
        # Observations above the count are shown only if a line elsewhere, or one that is below another, is theirs.
        return [
            *(match for match in repeated.in_place if not match.whole),
            *(ExtraObservation(observation, allowed=not lacks) for observation in repeated.surplus),
        ]

    def _show_as_written(self, parent: ExpectedLine, depth: int) -> None:
        """Show the lines below a line, all of them matched."""
        stack: list[tuple[ExpectedLine, int]] = [(parent, 0)]
        while stack:
            line, index = stack.pop()
            level = depth + len(stack)
            for text in line.written_before(index):
                self._row(" ", level, text)
            if index < len(line.children):
                child = line.children[index]
                self._row(" ", level, child.text(self._width))
                stack += [(line, index + 1), (child, 0)]

    def _show_apart(self, match: MatchedLine) -> None:
        """An observation that was found outside of what is compared, below its own parent."""
        parent = match.captured.parent
        if parent is not None:
            self._row(" ", 0, summary_line(parent, self._width))
        self._walk([match], 0 if parent is None else 1)

    # -- sentences ---------------------------------------------------------------------------------------------

    def _differences(self, match: MatchedLine, siblings: list[MatchedLine]) -> Iterator[str]:
        line, captured = match.expected, match.captured
        who = name_in_sentence(captured.name)
        if line.type not in (ANY_TYPE, captured.type):
            yield f"{who}: type is {captured.type}, expected {line.type}"
        if not line.name.matches(captured.name):
            yield f"{who}: name is {captured.name!r}, expected {line.name.text!r}"
        if match.place is Placement.MOVED:
            yield f"{who}: parent is {self._actual_parent(match)}, expected {self._expected_parent(match)}"
        if match.place is Placement.REORDERED:
            yield f"{who}: {self._displacement(match, siblings)}"
        for condition in line.failing(captured):
            yield f"{who}: {condition.difference(captured, self._width)}"

    def _actual_parent(self, match: MatchedLine) -> str:
        parent = match.captured.parent
        if parent is None:
            return "not captured" if match.captured.parent_id else "none (it is a root)"
        return self._ordinal(parent) if self._ambiguous(match) else name_in_sentence(parent.name)

    def _expected_parent(self, match: MatchedLine) -> str:
        line = match.expected.parent
        if line is None or line.parent is None:
            return "none (a root)"
        if match.under is None:
            return f"another {line.name.text}, which is missing" if self._ambiguous(match) else line.name.text
        expected = match.under.captured
        return self._ordinal(expected) if self._ambiguous(match) else name_in_sentence(expected.name)

    def _ambiguous(self, match: MatchedLine) -> bool:
        """Return whether its actual parent and its expected one have the same name."""
        parent, line = match.captured.parent, match.expected.parent
        return parent is not None and line is not None and line.parent is not None and line.name.matches(parent.name)

    def _ordinal(self, observation: Observation) -> str:
        if not self._alike:
            for one in self._alignment.everything:
                self._alike[one.name][id(one)] = len(self._alike[one.name]) + 1
        alike = self._alike[observation.name]
        return f"{name_in_sentence(observation.name)} ({alike[id(observation)]} of {len(alike)})"

    def _displacement(self, match: MatchedLine, siblings: list[MatchedLine]) -> str:
        """Return the sentence part that names a sibling before or after which it should have started."""
        start = self._position[id(match.captured)]
        index = bisect_left(siblings, match.expected.place, key=lambda sibling: sibling.expected.place)
        if index and self._position[id(siblings[index - 1].captured)] > start:
            return f"starts before {name_in_sentence(siblings[index - 1].captured.name)}, expected after it"
        index = bisect_right(siblings, match.expected.place, key=lambda sibling: sibling.expected.place)
        if index < len(siblings) and self._position[id(siblings[index].captured)] < start:
            return f"starts after {name_in_sentence(siblings[index].captured.name)}, expected before it"
        return "starts at a different position among its siblings than expected"


def _in_place(level: Iterable[LevelEntry]) -> list[MatchedLine]:
    matches: list[MatchedLine] = []
    for entry in level:
        if isinstance(entry, MatchedLine) and entry.place is Placement.IN_PLACE:
            matches.append(entry)
        elif isinstance(entry, CountedLine):
            matches += entry.in_place
    return matches


def _count_sentence(line: ExpectedLine, found: int) -> str:
    if not found and line.low == 1:
        return f"{line.label} is missing"
    bound = f"at least {line.low}" if line.high is None else str(line.low)
    return f"{line.name.text}: appears {found} {'time' if found == 1 else 'times'}, expected {bound}"
