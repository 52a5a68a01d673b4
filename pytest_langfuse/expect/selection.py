"""Selecting observations: `generation llm`, with fields as keywords."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pytest_langfuse.arguments import shown
from pytest_langfuse.expect.errors import LiteralError
from pytest_langfuse.expect.literal.condition import Condition
from pytest_langfuse.expect.literal.condition_key import ConditionKey, unknown_field
from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.literal.name_pattern import name_in_sentence
from pytest_langfuse.expect.literal.parse import parse
from pytest_langfuse.expect.literal.values import literal_text, sentence_text
from pytest_langfuse.recording.observation import TYPES, Observation

#: pytest shows no frame of this module: a bad literal is the test's, not ours.
__tracebackhide__ = True

_PLACEHOLDER: Final = re.compile(r"\$(\w+)")
_CLOSEST: Final = 5


class Selector:
    """One line of a literal, without lines below it; `fields` are its placeholders and further `=` conditions.

    Raises:
        LiteralError: `selector` is not such a line, or observations have no such field.
        TypeError: `selector` is not a string.
    """

    def __init__(self, selector: str, fields: Mapping[str, Any]) -> None:
        if not isinstance(selector, str):
            # For callers without a type checker.
            raise TypeError(f"a selector must be a str, not {type(selector).__name__}")
        used = {name for name in _PLACEHOLDER.findall(selector) if name in fields} if fields else set()
        self._line = _line(selector, {name: fields[name] for name in used})
        if further := tuple(_equality(name, value) for name, value in fields.items() if name not in used):
            # A copy: the line that was parsed may serve other calls.
            self._line = replace(self._line, own=(*self._line.own, *further))

    @property
    def text(self) -> str:
        """The selector as a sentence names it."""
        return self._line.text()

    def names(self, name: str) -> bool:
        """Return whether observations of this name are selected, as far as the name decides."""
        return self._line.name.matches(name)

    def __call__(self, observations: Sequence[Observation]) -> list[Observation]:
        """Those of `observations` that are selected."""
        return [observation for observation in observations if self._line.fits(observation)]

    def closest(self, observations: Sequence[Observation], width: int | None) -> list[str]:
        """Sentences about observations of the name that miss a condition or are of another type."""
        sentences = []
        for observation in observations:
            if self._line.name.matches(observation.name) and not self._line.name.any:
                sentences += _unmet(self._line, observation, width)
                if len(sentences) >= _CLOSEST:
                    break
        return sentences[:_CLOSEST]


def _line(selector: str, values: Mapping[str, Any]) -> ExpectedLine:
    words = selector.split()
    if len(words) == 1 and words[0] not in TYPES:
        raise LiteralError(f"a selector is TYPE NAME, such as {shown('any ' + words[0])}, not {shown(selector)}")
    root = parse(selector, values)
    if len(root.children) != 1 or root.gaps or root.stars or root.names_scores:
        raise LiteralError(f"a selector is one line, TYPE NAME and conditions, not {shown(selector)}")
    line = root.children[0]
    if line.children or line.gaps or line.count_text or line.deep:
        raise LiteralError(f"a selector has no count, no >> and no lines below it: {shown(selector)}")
    return line


def _equality(name: str, value: Any) -> Condition:
    path = tuple(name.split("."))
    if problem := unknown_field(path):
        raise LiteralError(f"unknown key {shown(name)}{problem}")
    json = isinstance(value, str | int | float | list | dict | None)
    text = literal_text(value) if json else sentence_text(value)
    return Condition(ConditionKey(name, path), "=", value, f"{name}={text}", placeholder=True)


def _unmet(line: ExpectedLine, observation: Observation, width: int | None) -> list[str]:
    who = name_in_sentence(observation.name)
    sentences = []
    if line.type not in ("any", observation.type):
        sentences.append(f"{who}: type is {observation.type}, expected {line.type}")
    return sentences + [f"{who}: {condition.difference(observation, width)}" for condition in line.failing(observation)]
