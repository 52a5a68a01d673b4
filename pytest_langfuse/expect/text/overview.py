"""Captured traces as a reader sees them: each named, and what its observations share said once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pytest_langfuse.expect.literal.name_pattern import glob_text, name_in_sentence, name_text
from pytest_langfuse.expect.literal.values import cut, quoted
from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.expect.text.cells import cells
from pytest_langfuse.expect.text.highlight import ShownLine
from pytest_langfuse.expect.text.render import Word, observation_words, score_words, shared_keys, shared_word
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.score import Score

#: Characters of the name of a trace, and of an observation's.
_NAME: Final = 100
#: Columns of what a line has that is indented no further: an indentation more, its mark, and `# depth 1234`.
DEPTH: Final = 18
_DEEP, _STAR = ">>", "*"


@dataclass(slots=True)
class OverviewLine:
    """A line of the traces: of an `observation`, about several `members` of a trace, or anything else.

    `words` returns its conditions for a width of values, without some keys. `kind` is a type, "score" or `*`; without
    one, the words are a comment.
    """

    depth: int
    words: Callable[[int | None, Collection[str]], Sequence[Word]]
    kind: str = ""
    name: str = ""
    observation: Observation | None = None
    members: Sequence[Observation] = ()

    def shown(self, style: Style, used: int = 0, without: Collection[str] = ()) -> ShownLine:
        """Return the line in what the columns leave beside `used` ones; values for which there is no room are cut."""
        indent = style.indent(self.depth, used)
        room = None if style.whole or style.columns is None else max(style.columns - used - len(indent), 1)
        if not self.kind:
            return ShownLine(indent, comment=" ".join(self._fitted(style, room, without)))
        name = self._name_text(style, "", room)
        head = cells(" ".join(filter(None, (self.kind, name)))) + 1
        conditions = self._fitted(style, None if room is None else room - head, without)
        return ShownLine(indent, "", self.kind, name, conditions)

    def folded(self, style: Style, used: int, deepest: int, without: Collection[str] = ()) -> list[ShownLine]:
        """Return the line in what the columns leave beside `used` ones, and a comment for all columns below it.

        The line can be pasted: a value is whole on it or in the comment, which is left out if it holds nothing, and a
        name is whole or a glob. Below `deepest` levels, lines stand for descendants.
        """
        is_deep = self.depth - (self.kind == "score") > deepest
        indent = "  " * (deepest + 1 + (self.kind == "score") if is_deep else self.depth)
        columns = None if style.whole or style.columns is None else style.columns - len(indent)
        if not self.kind:
            return [ShownLine(indent, comment=" ".join(self._fitted(style, columns and columns - used, without)))]
        is_marked = is_deep and self.kind != "score"
        mark, comment = (_DEEP, f"# depth {self.depth}") if is_marked else ("", "")
        room = None if columns is None else columns - used - (len(comment) + 1 if comment else 0)
        name = self._name_text(style, mark, room)
        fitting: list[str] = []
        rest: list[int] = []
        taken = cells(" ".join(filter(None, (mark, self.kind, name))))
        for index, word in enumerate(self._words(style.width, without)):
            text = style.literal(word.text)
            if word.is_whole and (room is None or taken + 1 + cells(text) <= room):
                taken += 1 + cells(text)
                fitting.append(text)
            else:
                rest.append(index)
        if not rest:
            return [ShownLine(indent, mark, self.kind, name, fitting, comment)]
        below = "#" if self.kind != _STAR else f"# {_STAR}"
        left = None if columns is None else columns - 2 * bool(fitting or name) - len(below) - 1
        conditions = self._fitted(style, left, without, rest)
        if self.kind == _STAR and not fitting:
            return [ShownLine(indent, "", below, "", conditions)]
        return [
            ShownLine(indent, mark, self.kind, name, fitting, comment),
            ShownLine(f"{indent}  ", "", below, "", conditions),
        ]

    def _name_text(self, style: Style, mark: str, room: int | None) -> str:
        """Return the name as the literal writes it; of one that is too long, or holds a secret, a glob."""
        if self.kind == _STAR:
            return ""
        before = cells(" ".join(filter(None, (mark, self.kind)))) + 1
        visible = hidden(self.name)
        if visible == self.name and (style.whole or len(visible) <= _NAME):
            text = _encodable(name_text(self.name), style)
            if room is None or before + cells(text) <= room:
                return text
        beginning = _shared_beginning(self.name, visible)[: None if style.whole else _NAME]
        while True:
            text = _encodable(glob_text(beginning), style)
            if not beginning or room is None or before + cells(text) <= room:
                return text
            beginning = beginning[:-1]

    def _words(self, width: int | None, without: Collection[str]) -> list[Word]:
        """Return the words without secrets."""
        words = ((word, hidden(word.text)) for word in self.words(width, without))
        return [word if text == word.text else Word(text, is_whole=False) for word, text in words]

    def _fitted(
        self, style: Style, room: int | None, without: Collection[str], indices: Collection[int] | None = None
    ) -> list[str]:
        """Return the words, or some of them, in so many columns: values are cut further, and the last words at last."""
        shown: list[str] = []
        for width in style.widths:
            words = self._words(width, without)
            shown = [style.encodable(word.text) for at, word in enumerate(words) if indices is None or at in indices]
            if room is None or cells(" ".join(shown)) <= room:
                return shown
        return style.cut_words(shown, room or 0)


def _shared_beginning(one: str, other: str) -> str:
    pairs = zip(one, other, strict=False)
    return one[: next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))]


def _encodable(name: str, style: Style) -> str:
    """Return a name as the terminal can show it, in quotes if it needs escapes."""
    if style.shows(name):
        return name
    return style.literal(name if name[0] in "\"'" else quoted(name))


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
            yield OverviewLine(0, partial(_star, key, self._observations[0]), _STAR)
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
            yield OverviewLine(
                depth, partial(_observation, observation, without), observation.type, observation.name, observation
            )
            for score in self._scores.pop((observation.trace_id, observation.id), ()):
                yield OverviewLine(depth + 1, partial(_score, score), "score", score.name)
            stack += [(child, depth + 1) for child in reversed(observation.children)]
        for score in self._scores.pop((members[0].trace_id, None), ()):
            yield OverviewLine(0, partial(_score, score), "score", score.name)


def _empty(_width: int | None, _without: Collection[str]) -> Sequence[Word]:
    return ()


def _star(key: str, observation: Observation, width: int | None, _without: Collection[str]) -> Sequence[Word]:
    return (shared_word(key, observation, width),)


def _title(
    name: str, first: Observation, shared: Sequence[str], width: int | None, _without: Collection[str]
) -> Sequence[Word]:
    conditions = [shared_word(key, first, width) for key in shared]
    return [Word(f"# trace {name}{':' if conditions else ''}"), *conditions]


def _observation(
    observation: Observation, shared: Collection[str], width: int | None, without: Collection[str]
) -> Sequence[Word]:
    return observation_words(observation, {*shared, *without} if without else shared, width)


def _score(score: Score, width: int | None, _without: Collection[str]) -> Sequence[Word]:
    return score_words(score, width)


def _score_of_something_else(score: Score, width: int | None, _without: Collection[str]) -> Sequence[Word]:
    whose = "a trace or an observation that is not here"
    if score.session_id:
        whose = f"session {score.session_id}"
    elif score.dataset_run_id:
        whose = f"dataset run {score.dataset_run_id}"
    words = (word.text for word in score_words(score, width))
    return (Word(" ".join([f"# score {name_text(score.name)}", *words, f"of {whose}"])),)
