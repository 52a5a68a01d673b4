"""Say what an observation holds in place of a missing value: `(output is {"total":5})`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_langfuse.expect.literal.condition_key import ConditionKey
from pytest_langfuse.expect.literal.values import ABSENT, cut_value, is_set, literal_text, sentence_text
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.suggest import closest

#: Keys of an object that a sentence names.
_KEYS: Final = 5


def instead_of(key: ConditionKey, observation: Observation | Score, width: int | None) -> str:
    """Return what to add after "KEY is not set": what the part of the path that leads somewhere holds."""
    if key.raw_attribute and isinstance(observation, Observation):
        close = closest(key.path[0], observation.attributes)
        return f" (the span has {close})" if close is not None else ""
    for length in range(len(key.path) - 1, 0, -1):
        first, *parts = key.path[:length]
        outer = ConditionKey(first, (first, *parts))
        value = outer.read(observation)
        if value is not ABSENT:
            return shown_instead(ConditionKey(first, (first,)).below(*parts), value, width)
    return ""


def shown_instead(text: str, value: Any, width: int | None) -> str:
    """Return ` (output is {"total":5})` for what the key `text` holds; of a value that is too long, what it has."""
    if isinstance(value, Observation):
        return ""
    if value is None:
        return f" ({text} is not set)"
    if not is_set(value):
        return f" ({text} is empty)"
    whole = sentence_text(value)
    if width is not None and len(whole) > width:
        if isinstance(value, Mapping):
            return f" ({text} has {_listed([literal_text(key) for key in value])})"
        if isinstance(value, list | tuple):
            return f" ({text} has {len(value):,} {'item' if len(value) == 1 else 'items'})"
    return f" ({text} is {cut_value(value, width, sentence_text)})"


def _listed(keys: Sequence[str]) -> str:
    more = [f"{len(keys) - _KEYS:,} more"] if len(keys) > _KEYS else []
    return ", ".join([*keys[:_KEYS], *more])
