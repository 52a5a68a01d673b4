"""One condition of a literal: `model=gpt-4o`, `usage.total<=200`, `output?`, `!user_id`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_langfuse.expect.literal.absence import instead_of, shown_instead
from pytest_langfuse.expect.literal.condition_key import ConditionKey, as_json
from pytest_langfuse.expect.literal.values import (
    ABSENT,
    compact,
    cut,
    cut_pair,
    cut_value,
    is_set,
    literal_text,
    narrowed,
    part_of,
    quoted,
    same,
    sentence_text,
)
from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.score import Score

OPERATORS: Final = ("=", "!=", "~", "<", "<=", ">", ">=")
_ORDERS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A condition on the value of a key. `operator` is one of `OPERATORS`, `?` (present) or `!` (absent).

    `word` is the text of a bare word: `user_id=123` holds for the number 123 and for the string "123".
    `text` is the condition as the literal writes it.
    """

    key: ConditionKey
    operator: str
    value: Any
    text: str
    word: str | None = None
    pattern: re.Pattern[str] | None = None
    placeholder: bool = False

    def holds(self, observation: Observation | Score) -> bool:
        """Return whether `observation` meets the condition."""
        return _TESTS[self.operator](self, self.key.read(observation))

    def equals(self, captured: Any) -> bool:
        """Return whether the captured value equals the expected one."""
        if captured is ABSENT:
            return self.value is None
        if self.word is not None and isinstance(captured, str):
            return captured == self.word
        if self.key.raw_attribute and isinstance(self.value, dict | list):
            captured = as_json(captured)
        return same(self.value, captured)

    def matches(self, captured: Any) -> bool:
        """Return whether the regular expression is found in a text, or in the JSON of any other value."""
        if captured is ABSENT or captured is None or self.pattern is None:
            return False
        return self.pattern.search(captured if isinstance(captured, str) else compact(captured)) is not None

    def compares(self, captured: Any) -> bool:
        """Return whether the captured value is less or greater than the expected one, as the operator requires."""
        if isinstance(captured, bool):
            return False
        try:
            return bool(_ORDERS[self.operator](captured, self.value))
        except TypeError:
            return False

    def replaces(self, inherited: Condition) -> bool:
        """Return whether a line's own condition replaces one that it would inherit.

        `=` and `!KEY` say all there is to say about a key, and the same operator says it anew; any other pair of
        conditions holds together, so that nothing is dropped silently.
        """
        return self.key.text == inherited.key.text and (
            self.operator in ("=", "!") or self.operator == inherited.operator
        )

    # -- text --------------------------------------------------------------------------------------------------

    def difference(self, observation: Observation | Score, width: int | None, *, alone: bool = True) -> str:
        """`model is 'gpt-4o-mini', expected 'gpt-4o'`, for an observation that does not meet the condition.

        `alone`: of a part that is not there, it says what is there instead.
        """
        captured = self.key.read(observation)
        if self.operator == "=":
            return self._inequality(observation, captured, width, alone=alone)
        shown = _shown(captured, width, part=len(self.key.path) > 1)
        if captured is ABSENT and alone:
            shown += instead_of(self.key, observation, width)
        if self.operator == "?":
            wanted = "a value"
        elif self.operator == "!":
            wanted = "none"
        elif self.operator == "~":
            wanted = f"to match {cut_value(self.value, width, sentence_text)}"
        else:
            wanted = f"{self.operator} {cut_value(self.value, width, sentence_text)}"
        return f"{self.key.text} is {shown}, expected {wanted}"

    def _inequality(self, observation: Observation | Score, captured: Any, width: int | None, *, alone: bool) -> str:
        key, expected = self.key.text, self.value
        instead = instead_of(self.key, observation, width) if captured is ABSENT else ""
        if isinstance(expected, dict | list):
            whole = captured = as_json(captured) if self.key.raw_attribute else captured
            parts, expected, captured = narrowed(expected, captured)
            key = self.key.below(*parts)
            if captured is ABSENT and parts:
                instead = shown_instead(self.key.below(*parts[:-1]), part_of(whole, parts[:-1]), width)
        if expected is ABSENT or captured is ABSENT or captured is None:
            wanted = "none" if expected is ABSENT else cut_value(expected, width, sentence_text)
            part = key != self.key.text or len(self.key.path) > 1
            return f"{key} is {_shown(captured, width, part=part)}{instead if alone else ''}, expected {wanted}"
        wanted, shown = map(hidden, cut_pair(expected, captured, width, sentence_text))
        if wanted == shown:
            wanted = "another one"
        return f"{key} is {shown}, expected {wanted}"

    def expected_text(self, observation: Observation | Score | None, width: int | None) -> str:
        """The condition on a `-` line; a long value is cut around where that of `observation` differs."""
        if width is None or len(self.text) <= width:
            return self.text
        if self.operator != "=" or self.word is not None or self.placeholder:
            return cut(self.text, width)
        captured = self.key.read(observation) if observation is not None else ABSENT
        return f"{self.key.text}={cut_pair(self.value, captured, width, self._value_text)[0]}"

    def captured_text(self, observation: Observation | Score, width: int | None) -> str | None:
        """The captured value on a `+` line, in the literal's grammar; `None` if nothing is there."""
        captured = self.key.read(observation)
        if not _present(captured):
            return None
        if isinstance(captured, Observation):
            return f"{self.key.text}.name={literal_text(captured.name)}"
        if self.operator != "=":
            return f"{self.key.text}={cut_value(captured, width, literal_text)}"
        return f"{self.key.text}={cut_pair(self.value, captured, width, self._value_text)[1]}"

    def _value_text(self, value: Any) -> str:
        """Return a value as the literal writes it, in quotes if the condition's value is in quotes."""
        in_quotes = self.text.removeprefix(f"{self.key.text}=")[:1] in ('"', "'")
        return quoted(value) if in_quotes and isinstance(value, str) else literal_text(value)


def _present(captured: Any) -> bool:
    return captured is not ABSENT and is_set(captured)


_TESTS: Final[Mapping[str, Callable[[Condition, Any], bool]]] = {
    "=": Condition.equals,
    # A path that leads nowhere differs from everything, which would let a misspelt one pass for ever.
    "!=": lambda condition, captured: captured is not ABSENT and not condition.equals(captured),
    "~": Condition.matches,
    "?": lambda _condition, captured: _present(captured),
    "!": lambda _condition, captured: not _present(captured),
    **dict.fromkeys(_ORDERS, Condition.compares),
}


def _shown(captured: Any, width: int | None, *, part: bool = False) -> str:
    """Return a value for a sentence. A field that is `None` is not set; a `part` of a value may be null."""
    if captured is ABSENT or (captured is None and not part):
        return "not set"
    return captured.name if isinstance(captured, Observation) else cut_value(captured, width, sentence_text)
