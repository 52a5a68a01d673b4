"""Captured traces as a reader sees them: each named, and what its observations share said once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Final

from pytest_langfuse.expect.literal.name_pattern import name_in_sentence
from pytest_langfuse.expect.literal.values import cut
from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.expect.text.cells import cells
from pytest_langfuse.expect.text.render import condition_text, observation_words, score_text, shared_keys
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.score import Score

#: Characters of the name of a trace.
_NAME: Final = 100


#: Characters of a value beside which there is no room for all: the others are on a line below.
_SHORT: Final = 30


@dataclass(slots=True)
class OverviewLine:
    """A line of the traces: of an `observation`, about several `members` of a trace, or anything else.

    `words` returns its parts for a width of values, without some keys.
    """

    depth: int
    words: Callable[[int | None, Collection[str]], Sequence[str]]
    observation: Observation | None = None
    members: Sequence[Observation] = ()

    def shown(self, style: Style, used: int = 0, without: Collection[str] = ()) -> str:
        """Return the line in what the columns leave beside `used` ones."""
        indent = style.indent(self.depth, used)
        return indent + style.fitted(lambda width: " ".join(self._words(style, width, without)), used + len(indent))

    def _words(self, style: Style, width: int | None, without: Collection[str]) -> Sequence[str]:
        """Return the words, without secrets where the line may be cut."""
        words = self.words(width, without)
        return words if style.whole else [hidden(word) for word in words]

    def folded(self, style: Style, used: int, without: Collection[str] = ()) -> tuple[str, str]:
        """Return the line in what the columns leave beside `used` ones, and a comment for all columns below it.

        The comment holds the conditions for which there is no room; it is empty if there are none.
        """
        if self.observation is None or style.whole or style.columns is None:
            return self.shown(style, used, without), ""
        indent = style.indent(self.depth, used)
        room = style.columns - used - len(indent)
        words: Sequence[str] = ()
        for width in (style.width, _SHORT):
            words = [style.encodable(word) for word in self._words(style, width, without)]
            if cells(" ".join(words)) <= room:
                return indent + " ".join(words), ""
        ends = accumulate(cells(word) + 1 for word in words)
        fitting = max(sum(end - 1 <= room for end in ends), 1)
        line = indent + style.fitted(lambda _width: " ".join(words[:fitting]), used + len(indent))
        if fitting == len(words):
            return line, ""
        below = f"{indent}  "
        rest = style.fitted(lambda width: f"# {' '.join(self._words(style, width, without)[fitting:])}", len(below))
        return line, below + rest


def overview_lines(observations: Sequence[Observation], scores: Sequence[Score]) -> list[OverviewLine]:
    """Return the lines of the traces; their texts are made when they are shown.

    They are lines of a literal, so that they can be pasted: what names a trace, and what only some traces share, is
    a comment. `observations` are linked and in the order in which they started.
    """
    return list(_Overview(observations, scores).lines())


class _Overview:
    def __init__(self, observations: Sequence[Observation], scores: Sequence[Score]) -> None:
        self._observations: Final = observations
        self._traces: dict[str, list[Observation]] = {}
        for observation in observations:
            self._traces.setdefault(observation.trace_id, []).append(observation)
        self._scores: defaultdict[tuple[str | None, str | None], list[Score]] = defaultdict(list)
        for score in scores:
            self._scores[score.trace_id, score.observation_id].append(score)

    def lines(self) -> Iterator[OverviewLine]:
        """Yield the lines: what all observations share, the traces, and scores that belong to none of them."""
        shared = shared_keys(self._observations)
        for key in shared:
            yield OverviewLine(0, partial(_star, key, self._observations[0]))
        names = [name_in_sentence(cut(members[0].name, _NAME)) for members in self._traces.values()]
        counts, numbers = Counter(names), Counter[str]()
        for name, members in zip(names, self._traces.values(), strict=True):
            numbers[name] += 1
            if len(names) > 1:
                if numbers.total() > 1 or shared:
                    yield OverviewLine(0, _empty)
                number = f" ({numbers[name]} of {counts[name]})" if counts[name] > 1 else ""
                own = [key for key in shared_keys(members) if key not in shared]
                yield OverviewLine(0, partial(_title, f"{name}{number}", members[0], own), members=members)
                yield from self._trace(members, {*shared, *own})
            else:
                yield from self._trace(members, {*shared})
        for score in (score for scores in self._scores.values() for score in scores):
            yield OverviewLine(0, partial(_score_of_something_else, score))

    def _trace(self, members: Sequence[Observation], without: set[str]) -> Iterator[OverviewLine]:
        stack = [(observation, 0) for observation in reversed(members) if observation.parent is None]
        while stack:
            observation, depth = stack.pop()
            yield OverviewLine(depth, partial(_observation, observation, without), observation)
            for score in self._scores.pop((observation.trace_id, observation.id), ()):
                yield OverviewLine(depth + 1, partial(_score, score))
            stack += [(child, depth + 1) for child in reversed(observation.children)]
        for score in self._scores.pop((members[0].trace_id, None), ()):
            yield OverviewLine(0, partial(_score, score))


def _empty(_width: int | None, _without: Collection[str]) -> Sequence[str]:
    return ()


def _star(key: str, observation: Observation, width: int | None, _without: Collection[str]) -> Sequence[str]:
    return "*", condition_text(key, observation, width)


def _title(
    name: str, first: Observation, shared: Sequence[str], width: int | None, _without: Collection[str]
) -> Sequence[str]:
    conditions = [condition_text(key, first, width) for key in shared]
    return [f"# trace {name}{':' if conditions else ''}", *conditions]


def _observation(
    observation: Observation, shared: Collection[str], width: int | None, without: Collection[str]
) -> Sequence[str]:
    return observation_words(observation, {*shared, *without} if without else shared, width)


def _score(score: Score, width: int | None, _without: Collection[str]) -> Sequence[str]:
    return (score_text(score, width),)


def _score_of_something_else(score: Score, width: int | None, _without: Collection[str]) -> Sequence[str]:
    whose = f"session {score.session_id}" if score.session_id else "a trace or an observation that is not here"
    return (f"# {score_text(score, width)} of {whose}",)
