"""Captured observations as a literal that matches them."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from pytest_langfuse.expect.literal.name_pattern import name_text
from pytest_langfuse.expect.literal.values import compact, cut, cut_value, is_set, literal_text
from pytest_langfuse.expect.matching.score_index import ScoreIndex
from pytest_langfuse.recording.gc_pause import undisturbed
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.trace import roots

#: What a literal shows of an observation, in this order. Left out is what differs from run to run or from machine to
#: machine: ids, times, versions (also the prompt's), release and environment.
_KEYS: Final = (
    "level",
    "status_message",
    "model",
    "model_parameters",
    "prompt_name",
    "input",
    "output",
    "usage",
    "cost",
    "metadata",
    "user_id",
    "session_id",
    "tags",
)
_values: Final = attrgetter(*_KEYS)
#: What is propagated to all observations of a trace, and stands in a `*` line where all have it.
_PROPAGATED: Final = ("user_id", "session_id", "tags", "metadata")
_METADATA: Final = "metadata."
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
#: Characters of a name where values are cut.
_NAME: Final = 100
#: Characters of a line in a failure text that stands for an observation which no line speaks of.
_SUMMARY: Final = 120


class Word(NamedTuple):
    """A condition of a line. If it `is_whole`, nothing of the value was cut."""

    text: str
    is_whole: bool = True


def render(observations: Sequence[Observation], width: int | None = None, scores: Iterable[Score] = ()) -> str:
    """The literal; with `width`, values longer than that are cut, so that it is for reading only.

    `observations` are linked and in the order in which they started.
    """
    with undisturbed(len(observations)):
        shared = _shared(observations)
        lines = [f"* {_condition(key, getattr(observations[0], key), width)}" for key in shared]
        given = ScoreIndex(scores, observations)
        trace_id, told = "", set[str]()
        for observation, depth in _in_depth(observations):
            if not depth:
                lines += _trace_scores(given, trace_id, told, width)
                trace_id = observation.trace_id
            lines.append("  " * depth + _line(observation, shared, width))
            lines += ["  " * (depth + 1) + _score_line(score, width) for score in given.of(observation)]
        lines += _trace_scores(given, trace_id, told, width)
        return "\n".join(lines)


def _trace_scores(given: ScoreIndex, trace_id: str, told: set[str], width: int | None) -> list[str]:
    """Return the scores of a trace, once: below the first of its roots."""
    if trace_id in told:
        return []
    told.add(trace_id)
    return [_score_line(score, width) for score in given.of_trace(trace_id)]


def _score_line(score: Score, width: int | None) -> str:
    values = ((key, getattr(score, key)) for key in ("value", "comment", "metadata"))
    words = [_condition(key, value, width) for key, value in values if key == "value" or is_set(value)]
    return " ".join(["score", name_text(score.name), *words])


def skeleton(observations: Sequence[Observation], with_level: Container[tuple[str, str]] = ()) -> str:
    """The literal of types and names only; of the types and names in `with_level` also the level."""
    return "\n".join(
        f"{'  ' * depth}{one.type} {name_text(one.name)}"
        + (f" level={one.level}" if (one.type, one.name) in with_level else "")
        for one, depth in _in_depth(observations)
    )


def summary_line(observation: Observation, width: int | None) -> str:
    """One observation, without what is below it, on a line of a readable length unless `width` is `None`."""
    line = _line(observation, (), width)
    return line if width is None else cut(line, _SUMMARY)


def _in_depth(observations: Sequence[Observation]) -> Iterator[tuple[Observation, int]]:
    stack = [(observation, 0) for observation in reversed(roots(observations))]
    while stack:
        observation, depth = stack.pop()
        yield observation, depth
        stack += [(child, depth + 1) for child in reversed(observation.children)]


def _line(observation: Observation, without: Container[str], width: int | None) -> str:
    return " ".join(_words(observation, without, width))


def _words(observation: Observation, without: Container[str], width: int | None) -> list[str]:
    words = [observation.type, name_text(observation.name if width is None else cut(observation.name, _NAME))]
    return words + [_condition(key, value, width) for key, value in _fields(observation, without)]


def _fields(observation: Observation, without: Container[str]) -> list[tuple[str, Any]]:
    """Return the keys of the conditions of an observation with their values."""
    found: list[tuple[str, Any]] = []
    for key, value in zip(_KEYS, _values(observation), strict=True):
        # Most are `None`, which is told without a call.
        if value is None or key in without or (key == "level" and value == "DEFAULT"):
            continue
        if key == "metadata" and any(f"{_METADATA}{name}" in without for name in value):
            names = (f"{_METADATA}{name}" for name in value)
            found += [(name, own) for name, own in zip(names, value.values(), strict=True) if name not in without]
        elif value or is_set(value):
            found.append((key, value))
    return found


def _condition(key: str, value: Any, width: int | None) -> str:
    return f"{key}={literal_text(value) if width is None else cut_value(value, width, literal_text)}"


def _word(key: str, value: Any, width: int | None) -> Word:
    whole = value if isinstance(value, str) else literal_text(value)
    text = cut(whole, width)
    return Word(f"{key}={literal_text(text) if isinstance(value, str) else text}", is_whole=text == whole)


def _shared(observations: Sequence[Observation]) -> list[str]:
    """The propagated keys of which all of several observations have the same value."""
    if len(observations) < 2:  # noqa: PLR2004 - nothing is shared by one
        return []
    return [key for key in _PROPAGATED if _all_equal(observations, key, compact)]


def _shared_metadata(observations: Sequence[Observation]) -> list[str]:
    if len(observations) < 2:  # noqa: PLR2004 - nothing is shared by one
        return []
    common: dict[str, str] = {}
    for index, observation in enumerate(observations):
        metadata = observation.metadata
        # Other keys would need quotes, and the line of an observation that has one shows all as one object.
        if not all(_PLAIN_KEY.fullmatch(key) for key in metadata):
            return []
        if not index:
            common = {key: compact(value) for key, value in metadata.items() if is_set(value)}
        else:
            common = {key: text for key, text in common.items() if key in metadata and compact(metadata[key]) == text}
        if not common:
            return []
    return [f"{_METADATA}{key}" for key in common]


def _all_equal(observations: Sequence[Observation], key: str, text: Callable[[Any], str]) -> bool:
    if not is_set(getattr(observations[0], key)):
        return False
    first = text(getattr(observations[0], key))
    return all(text(getattr(observation, key)) == first for observation in observations)


def observation_words(observation: Observation, without: Container[str], width: int | None) -> list[Word]:
    """Return the conditions of the line of one observation; `without` are keys of no word."""
    return [_word(key, value, width) for key, value in _fields(observation, without)]


def score_words(score: Score, width: int | None) -> list[Word]:
    """Return the conditions of the line of a score."""
    return [_word("value", score.value, width)]


def shared_keys(observations: Sequence[Observation]) -> list[str]:
    """The propagated keys of which all of several observations have the same value.

    Of metadata that differ, those that do not: `metadata.tenant`.
    """
    shared = _shared(observations)
    return shared if "metadata" in shared else [*shared, *_shared_metadata(observations)]


def shared_word(key: str, observation: Observation, width: int | None) -> Word:
    """A value of an observation as a condition of the literal: `user_id=u-1`; `key` is one of `shared_keys`."""
    of_metadata = key.removeprefix(_METADATA)
    value = getattr(observation, key) if of_metadata == key else observation.metadata[of_metadata]
    return _word(key, value, width)
