"""Both trees as one text, aligned, and a sentence for each difference."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple

from pytest_langfuse.expect.literal.expected_line import ANY_TYPE, ExpectedLine
from pytest_langfuse.expect.literal.expected_score import ExpectedScore
from pytest_langfuse.expect.literal.name_pattern import name_in_sentence, name_text
from pytest_langfuse.expect.matching.alignment import Alignment
from pytest_langfuse.expect.matching.level import (
    CountedLine,
    DescendantLine,
    ExtraObservation,
    Level,
    LevelEntry,
    MatchedLine,
    MissingLine,
    Placement,
    TraceScores,
    VerbatimLine,
)
from pytest_langfuse.expect.matching.score_index import pair
from pytest_langfuse.expect.text.obstacles import Obstacles
from pytest_langfuse.expect.text.parent_names import ParentNames
from pytest_langfuse.expect.text.render import summary_line
from pytest_langfuse.expect.text.sentences import Sentences
from pytest_langfuse.expect.text.style import MARGIN, Style
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Unexported

Mark = Literal[" ", "-", "+"]


class Row(NamedTuple):
    """A line of the aligned trees: in both (` `), expected (`-`) or captured (`+`).

    Rows of one difference have the same `about`; `captured` is the observation, if the line is one.
    """

    mark: Mark
    depth: int
    text: str
    about: object = None
    captured: Observation | None = None


class Diff:
    """The rows and the sentences of an alignment, cut as `style` says.

    `missing` are the lines of which there are too few observations, `unexpected` the observations that no line allows.
    """

    def __init__(self, alignment: Alignment, style: Style, unexported: Callable[[], Sequence[Unexported]]) -> None:
        self.rows: Final[list[Row]] = []
        self.missing: Final[list[ExpectedLine]] = []
        self.unexpected: Final[list[Observation]] = []
        self._style = style
        self._unexported = unexported
        self._width = style.width
        self._alignment = alignment
        self._sentences = Sentences(alignment.everything)
        self._parents = ParentNames(self._sentences.names, unexported)
        self._obstacles = Obstacles(alignment)
        self._shown: set[int] = set()
        self._position = {id(observation): index for index, observation in enumerate(alignment.everything)}
        self._walk(alignment.level)
        self._show_scores(alignment.root.trace_scores, alignment.matcher.scores.of_traces, 0, "")
        for match in alignment.match_of.values():
            if match.place is Placement.MOVED and id(match) not in self._shown:
                self._show_apart(match)
        competing = "the lines need more observations than there are: each satisfies one line at most"
        self.sentences: Final = self._sentences.all() or ([] if alignment.matcher.gave_up else [competing])

    def _walk(self, level: Iterable[LevelEntry], depth: int = 0) -> None:
        """Show a level and all below it; a stack of iterators, so that deep trees need no recursion."""
        self._obstacles.look(level)
        stack: list[tuple[Iterator[LevelEntry], int]] = [(iter(level), depth)]
        while stack:
            entries, depth = stack[-1]
            entry = next(entries, None)
            if entry is None:
                stack.pop()
                continue
            below = self._show(entry, depth)
            if below:
                if isinstance(entry, MatchedLine):
                    self._obstacles.look(below)
                # What a line with a count stands for is on the level of that line.
                depth += not isinstance(entry, CountedLine | DescendantLine)
                stack.append((iter(below), depth))

    def _show(self, entry: LevelEntry, depth: int) -> Level:
        """Show one entry; returns what is to be shown below it."""
        match entry:
            case VerbatimLine():
                self._row(" ", depth, partial(_as_is, entry.text))
            case MissingLine():
                return self._show_missing(entry, depth)
            case ExtraObservation():
                return self._show_extra(entry, depth)
            case CountedLine():
                return self._show_repeated(entry, depth)
            case MatchedLine():
                return self._show_match(entry, depth)
            case DescendantLine():
                return self._show_descendants(entry, depth)
            case TraceScores():
                line, trace_id = entry.match.expected, entry.match.captured.trace_id
                scores = self._alignment.matcher.scores.of_trace(trace_id)
                name = entry.match.captured.trace_name or entry.match.captured.name
                self._show_scores(line.trace_scores, scores, depth - 1, f"trace {name_in_sentence(name)}: ")
        return []

    def in_full(self) -> Diff:
        """Return the same with values and lines of any length."""
        return Diff(self._alignment, Style(verbose=2), self._unexported)

    def _row(
        self,
        mark: Mark,
        depth: int,
        text: Callable[[int | None], str],
        about: object = None,
        captured: Observation | None = None,
    ) -> None:
        """Add a line; `text` is given the width to which it cuts values."""
        line = self._style.fitted(text, MARGIN + len(self._style.indent(depth, MARGIN)))
        self.rows.append(Row(mark, depth, line, about, captured))

    # -- entries -----------------------------------------------------------------------------------------------

    def _show_missing(self, missing: MissingLine, depth: int) -> Level:
        self._row("-", depth, missing.expected.text, missing.match or missing)
        if missing.match is None:
            anywhere = " at any depth" if missing.expected.deep else ""
            self._sentences.line(f"{missing.expected.label} is missing{anywhere}")
            self.missing.append(missing.expected)
            for score in missing.expected.scores:
                self._row("-", depth + 1, score.text, missing)
        return [*missing.below]

    def _show_extra(self, extra: ExtraObservation, depth: int) -> Level:
        captured = extra.captured
        match = self._alignment.match_of.get(id(captured))
        if match is not None:
            return self._show_match(match, depth)
        if extra.allowed:
            if id(captured) not in self._alignment.likeness.broken:
                return []
            self._row(" ", depth, partial(summary_line, captured), captured=captured)
            return [ExtraObservation(child, allowed=True) for child in captured.children]
        self._row("+", depth, partial(summary_line, captured), extra, captured)
        self.unexpected.append(captured)
        told = extra.told
        if not told and (obstacle := self._obstacles.at(captured)) is not None:
            told = True
            if obstacle.observations[0] is captured:
                self._sentences.line(obstacle.sentence(self._sentences.names))
        if not told:
            self._sentences.unexpected(captured, self._obstacles.hint(captured))
        return [ExtraObservation(child, allowed=False, told=told) for child in captured.children]

    def _show_match(self, match: MatchedLine, depth: int) -> Level:
        self._shown.add(id(match))
        line, captured = match.expected, match.captured
        differs = self._tell(match)
        name = line.name.written if line.name.exact == captured.name else name_text(captured.name)
        if match.place is Placement.IN_PLACE and not differs:
            # A line with a count stands for one observation here.
            text = partial(line.captured_line, captured, name) if line.count_text else line.text
            self._row(" ", depth, text, captured=captured)
        else:
            if match.place is Placement.IN_PLACE:
                self._row("-", depth, partial(line.expected_line, captured), match)
            self._row("+", depth, partial(line.captured_line, captured, name), match, captured)
        if match.whole:
            self._show_as_written(line, depth + 1)
        else:
            self._show_scores(line.scores, self._alignment.matcher.scores.of(captured), depth + 1, captured)
        return [*match.level, TraceScores(match)] if line.trace_scores else match.level

    def _show_repeated(self, repeated: CountedLine, depth: int) -> Level:
        line, match_of = repeated.expected, self._alignment.match_of
        moved = [missing for missing in repeated.missing if missing.match is not None]
        # Where the line misses some, what is left over is not above its count, but something else.
        lacks = len(moved) < len(repeated.missing)
        surplus = [one for one in repeated.surplus if id(one) not in match_of and not lacks]
        found = len(repeated.in_place) + len(repeated.reordered) + len(moved) + len(surplus)
        enough = line.low <= found and (line.high is None or found <= line.high)
        apart = sum(not match.whole for match in repeated.in_place)
        if not enough:
            self._row("-", depth, line.text, repeated)
            if found:
                self._row("+", depth, partial(_counted, line, found), repeated)
            self._sentences.line(_count_sentence(line, found))
            if found < line.low:
                self.missing.append(line)
        elif not apart or line.high != line.low:
            self._row(" ", depth, line.text)
        elif found > apart:
            # Those that differ are shown on separate lines.
            self._row(" ", depth, partial(_counted, line, found - apart))
        if any(match.whole for match in repeated.in_place) or not (found or line.low):
            self._show_as_written(line, depth + 1)
        elif not found:
            for missing in repeated.missing[0].below:
                self._row("-", depth + 1, missing.expected.text, repeated)
        # Observations above the count are shown only if a line elsewhere, or one that is below another, is theirs.
        return [
            *(match for match in repeated.in_place if not match.whole),
            *(ExtraObservation(observation, allowed=not lacks) for observation in repeated.surplus),
            *(VerbatimLine(score.text(None)) for score in line.trace_scores if enough and not apart),
        ]

    def _show_descendants(self, entry: DescendantLine, depth: int) -> Level:
        line = entry.expected
        total = entry.found + len(entry.matches) + entry.surplus
        if entry.surplus or (entry.missing and line.count_text):
            self._row("-", depth, line.text, entry)
            if total:
                self._row("+", depth, partial(_as_is, f">> {total}x {line.label}"), entry)
            told = _count_sentence(line, total)
            self._sentences.line(told if told.endswith("missing") else f"{told} (at any depth)")
            return [*entry.matches]
        if entry.found or not (entry.matches or entry.missing):
            self._row(" ", depth, line.text)
            if not entry.matches:
                self._show_as_written(line, depth + 1)
        return [*entry.matches, *entry.missing]

    def _show_scores(
        self, lines: Sequence[ExpectedScore], scores: Sequence[Score], depth: int, of: Observation | str
    ) -> None:
        """Show `score` lines, and tell what is missing or differs; `of` is the observation or names the trace."""
        found = pair(lines, scores)
        spare = [score for score in scores if not any(score is one for one in found)]
        for line, score in zip(lines, found, strict=True):
            if score is not None:
                self._row(" ", depth, line.text)
                continue
            self._row("-", depth, line.text, line)
            near = next((one for one in spare if line.name.matches(one.name)), None)
            if near is None:
                self._tell_score(of, f"score {line.name.text} is missing")
                continue
            spare.remove(near)
            self._row("+", depth, partial(line.captured_text, near), line)
            for condition in line.failing(near):
                difference = condition.difference(near, self._width)
                self._tell_score(of, f"score {name_in_sentence(near.name)} {difference}")

    def _tell_score(self, of: Observation | str, difference: str) -> None:
        if isinstance(of, str):
            self._sentences.line(f"{of}{difference}")
        else:
            self._sentences.value(of, difference)

    def _show_as_written(self, parent: ExpectedLine, depth: int) -> None:
        """Show the lines below a line, all of them matched."""
        stack: list[tuple[ExpectedLine, int]] = [(parent, 0)]
        while stack:
            line, index = stack.pop()
            level = depth + len(stack)
            for score in line.scores if not index else ():
                self._row(" ", level, score.text)
            for text in line.written_before(index):
                self._row(" ", level, partial(_as_is, text))
            if index < len(line.children):
                child = line.children[index]
                self._row(" ", level, child.text)
                stack += [(line, index + 1), (child, 0)]

    def _show_apart(self, match: MatchedLine) -> None:
        """An observation that was found outside of what is compared, below its own parent."""
        parent = match.captured.parent
        if parent is not None:
            self._row(" ", 0, partial(summary_line, parent))
        self._walk([match], 0 if parent is None else 1)

    # -- sentences ---------------------------------------------------------------------------------------------

    def _tell(self, match: MatchedLine) -> bool:
        """Add a sentence for each difference between a line and its observation; return whether there is any."""
        line, captured, sentences = match.expected, match.captured, self._sentences
        failing = line.failing(captured)
        other_type, other_name = line.type not in (ANY_TYPE, captured.type), not line.name.matches(captured.name)
        if other_type:
            sentences.value(captured, f"type is {captured.type}, expected {line.type}")
        if other_name:
            sentences.value(captured, f"name is {captured.name!r}, expected {line.name.text!r}")
        if match.place is Placement.MOVED:
            sentences.place(captured, self._parents.difference(match), self._parents.difference(match, numbered=False))
        if match.place is Placement.REORDERED:
            other, where = self._displacement(match)
            sentences.place(
                captured, where.format(sentences.names.name(other)), where.format(name_in_sentence(other.name))
            )
        for condition in failing:
            alone, shared = (condition.difference(captured, self._width, alone=alone) for alone in (True, False))
            sentences.value(captured, alone, shared)
        return bool(failing) or other_type or other_name or match.place is not Placement.IN_PLACE

    def _displacement(self, match: MatchedLine) -> tuple[Observation, str]:
        """Return the sibling before or after which it should have started, and the sentence part that names it."""
        start, place, siblings = self._position[id(match.captured)], match.expected.place, match.siblings
        index = bisect_left(siblings, place, key=lambda sibling: sibling.expected.place)
        if index and self._position[id(siblings[index - 1].captured)] > start:
            return siblings[index - 1].captured, "starts before {}, expected after it"
        index = bisect_right(siblings, place, key=lambda sibling: sibling.expected.place)
        return siblings[index].captured, "starts after {}, expected before it"


def _as_is(text: str, _width: int | None) -> str:
    return text


def _counted(line: ExpectedLine, count: int, width: int | None) -> str:
    """The line with the count that was found."""
    plain = line.text(width).removeprefix(f"{line.count_text} ")
    return plain if count == 1 and line.count_text[0] != "0" else f"{count}x {plain}"


def _count_sentence(line: ExpectedLine, found: int) -> str:
    if not found and line.low == 1:
        return f"{line.label} is missing"
    bound = f"at least {line.low}" if line.high is None else str(line.low)
    if line.high is not None and line.high > line.low:
        bound += f" to {line.high}"
    # `*` alone names nothing.
    name = line.label if line.name.any else line.name.text
    return f"{name}: appears {found} {'time' if found == 1 else 'times'}, expected {bound}"
