"""Captured traces for a reader: each apart from the others, with its scores, as wide as the terminal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from pytest_langfuse.expect.literal.name_pattern import name_in_sentence
from pytest_langfuse.expect.text.render import condition_text, observation_line, score_text, shared_keys
from pytest_langfuse.expect.text.style import Style, indentation
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.score import Score

#: A line, given the width to which it cuts values, and its depth.
_Line = tuple[int, Callable[[int | None], str]]


def overview(observations: Sequence[Observation], scores: Sequence[Score], style: Style, margin: int = 0) -> list[str]:
    """The lines of the traces, in what `style` leaves beside `margin` columns.

    They are lines of a literal, so that they can be pasted: what names a trace, and what only some traces share, is
    a comment. `observations` are linked and in the order in which they started.
    """
    lines = _Overview(observations, scores).lines()
    return [" " * indentation(depth) + style.fitted(text, margin + indentation(depth)) for depth, text in lines]


class _Overview:
    def __init__(self, observations: Sequence[Observation], scores: Sequence[Score]) -> None:
        self._observations: Final = observations
        self._traces: dict[str, list[Observation]] = {}
        for observation in observations:
            self._traces.setdefault(observation.trace_id, []).append(observation)
        self._scores: defaultdict[tuple[str | None, str | None], list[Score]] = defaultdict(list)
        for score in scores:
            self._scores[score.trace_id, score.observation_id].append(score)

    def lines(self) -> Iterator[_Line]:
        """Yield the lines: what all observations share, the traces, and scores that belong to none of them."""
        shared = shared_keys(self._observations)
        for key in shared:
            yield 0, partial(_star, key, self._observations[0])
        names = [name_in_sentence(members[0].name) for members in self._traces.values()]
        counts, numbers = Counter(names), Counter[str]()
        for name, members in zip(names, self._traces.values(), strict=True):
            numbers[name] += 1
            if len(names) > 1:
                if numbers.total() > 1 or shared:
                    yield 0, _empty
                number = f" ({numbers[name]} of {counts[name]})" if counts[name] > 1 else ""
                own = [key for key in shared_keys(members) if key not in shared]
                yield 0, partial(_title, f"{name}{number}", members[0], own)
                yield from self._trace(members, {*shared, *own})
            else:
                yield from self._trace(members, {*shared})
        for score in (score for scores in self._scores.values() for score in scores):
            yield 0, partial(_score_of_something_else, score)

    def _trace(self, members: Sequence[Observation], without: set[str]) -> Iterator[_Line]:
        stack = [(observation, 0) for observation in reversed(members) if observation.parent is None]
        while stack:
            observation, depth = stack.pop()
            yield depth, partial(observation_line, observation, without)
            for score in self._scores.pop((observation.trace_id, observation.id), ()):
                yield depth + 1, partial(_score, score)
            stack += [(child, depth + 1) for child in reversed(observation.children)]
        for score in self._scores.pop((members[0].trace_id, None), ()):
            yield 0, partial(_score, score)


def _empty(_width: int | None) -> str:
    return ""


def _star(key: str, observation: Observation, width: int | None) -> str:
    return f"* {condition_text(key, observation, width)}"


def _title(name: str, first: Observation, shared: Sequence[str], width: int | None) -> str:
    conditions = [condition_text(key, first, width) for key in shared]
    return " ".join([f"# trace {name}{':' if conditions else ''}", *conditions])


def _score(score: Score, width: int | None) -> str:
    return score_text(score, width)


def _score_of_something_else(score: Score, width: int | None) -> str:
    whose = f"session {score.session_id}" if score.session_id else "a trace or an observation that is not here"
    return f"# {_score(score, width)} of {whose}"
