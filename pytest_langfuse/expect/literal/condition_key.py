"""Keys of a literal: a field of `Observation`, a path into one, or a raw attribute."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_langfuse.expect.literal.values import ABSENT, quoted
from pytest_langfuse.recording.observation import ALIASES, Observation
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.suggest import closest

#: Fields of `Observation` that a literal can name; `record` and `span` are not JSON, `"quoted"` keys read from them.
FIELDS: Final = (
    "id",
    "trace_id",
    "parent_id",
    "name",
    "type",
    "level",
    "status_message",
    "input",
    "output",
    "metadata",
    "model",
    "model_parameters",
    "usage",
    "cost",
    "prompt_name",
    "prompt_version",
    "user_id",
    "session_id",
    "tags",
    "environment",
    "version",
    "release",
    "trace_name",
    "is_root",
    "is_app_root",
    "start_time",
    "end_time",
    "duration",
    "parent",
    "children",
)
#: Parts of a path: each is tried alone and with those after it, because keys of metadata may hold dots.
_MOST_PARTS: Final = 100
#: A part of a path that needs no quotes.
BARE_PART: Final = re.compile(r"[\w-]+")
#: Fields that have parts: `usage.total`, `input.messages.0.role`, `parent.name`.
_CONTAINERS: Final = frozenset({
    "input", "output", "metadata", "model_parameters", "usage", "cost", "tags", "parent", "children"
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys that a line of one kind can name."""

    of: str
    fields: tuple[str, ...]
    containers: frozenset[str]
    aliases: Mapping[str, str]
    example: str


OBSERVATION_KEYS: Final = KeySet("observation", FIELDS, _CONTAINERS, ALIASES, "model=gpt-4o, output? or !user_id")
SCORE_KEYS: Final = KeySet(
    "score",
    (
        "value", "data_type", "comment", "metadata", "environment", "id", "trace_id", "observation_id", "session_id",
        "dataset_run_id", "config_id", "queue_id", "timestamp",
    ),
    frozenset({"metadata"}),
    {"dataType": "data_type", "type": "data_type", "reason": "comment"},
    "value>=0.5, value=good or comment?",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConditionKey:
    """The key of a condition. `text` is as the literal writes it; `path` has one element for a plain field."""

    text: str
    path: tuple[str, ...]
    raw_attribute: bool = False

    def read(self, observation: Observation | Score) -> Any:
        """The value that Langfuse shows, or `ABSENT` where the path leads nowhere."""
        if self.raw_attribute and isinstance(observation, Observation):
            return observation.attributes.get(self.path[0], ABSENT)
        value = getattr(observation, self.path[0])
        return value if len(self.path) == 1 else _follow(value, self.path[1:])

    def below(self, *parts: str) -> str:
        """The text of the key of a part of this one's value."""
        return ".".join((self.text, *(part if BARE_PART.fullmatch(part) else quoted(part) for part in parts)))


def unknown_field(path: Sequence[str], keys: KeySet = OBSERVATION_KEYS) -> str | None:
    """Return the end of "unknown key …" for a path that no observation can have, else `None`."""
    if len(path) > _MOST_PARTS:
        return f": it has {len(path):,} parts, at most {_MOST_PARTS} are possible"
    start = 0
    while start < len(path):
        field = path[start]
        if field not in keys.fields:
            return _suggestion(path, start, keys)
        if len(path) > start + 1 and field not in keys.containers:
            return f": {field} has no parts"
        if field not in ("parent", "children"):
            return None
        # After `parent` and `children.0` comes a field of that observation.
        start += 1 if field == "parent" else 2
    return None


def _suggestion(path: Sequence[str], place: int, keys: KeySet) -> str:
    field = path[place]
    close = keys.aliases.get(field) or closest(field, keys.fields)
    if close is None:
        return f", keys are: {', '.join(keys.fields)}"
    return f", did you mean {'.'.join((*path[:place], close, *path[place + 1 :]))!r}?"


def _follow(value: Any, path: tuple[str, ...]) -> Any:
    """Metadata keys may hold dots (`attributes.gen_ai.system`), so several parts can be one key."""
    return next(_ways(value, path), ABSENT)


def _ways(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if not path:
        yield value
    elif isinstance(value, Observation):
        yield from _ways(getattr(value, path[0], ABSENT), path[1:])
    elif isinstance(value, Mapping):
        for length in range(1, len(path) + 1):
            key = ".".join(path[:length])
            if key in value:
                yield from _ways(value[key], path[length:])
    elif isinstance(value, list | tuple):
        index = int(path[0]) if path[0].isdecimal() else None
        if index is not None and index < len(value):
            yield from _ways(value[index], path[1:])


def as_json(value: Any) -> Any:
    """The value inside a JSON text, for raw attributes that carry objects and lists as text; else `value` itself."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
