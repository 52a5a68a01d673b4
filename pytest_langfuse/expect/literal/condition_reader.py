"""Reading the conditions of a line: `model=gpt-4o usage.total<=200 output~"doc" input? !metadata.debug`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from pytest_langfuse.expect.errors import LiteralError
from pytest_langfuse.expect.literal.condition import OPERATORS, Condition
from pytest_langfuse.expect.literal.condition_key import OBSERVATION_KEYS, ConditionKey, KeySet, unknown_field
from pytest_langfuse.expect.literal.expected_line import ANY_TYPE
from pytest_langfuse.expect.literal.line_reader import LineReader
from pytest_langfuse.expect.literal.values import quoted
from pytest_langfuse.recording.observation import TYPES
from pytest_langfuse.suggest import closest, did_you_mean

#: pytest shows no frame of this module: a bad literal is the test's, not ours.
__tracebackhide__ = True

_BLANK: Final = ("", " ", "\t")
_PART: Final = re.compile(r"[\w-]+")
_FIRST_PART: Final = re.compile(r"[^\W\d][\w-]*")
_SIGNS: Final = re.compile(r"[=!<>~:]+")
_PRESENT: Final = re.compile(r"\?(?=[ \t]|$)")
_PLACEHOLDER: Final = re.compile(r"\$(\w+)(?=[ \t]|$)")
_SIGN_ALIASES: Final[Mapping[str, str]] = {
    "==": "=", ":": "=", ":=": "=", "===": "=", "=~": "~", "~=": "~", "=>": ">=", "=<": "<=", "<>": "!=", "!==": "!="
}  # fmt: skip
#: Words for an argument that `assert_tree` has for itself.
_RESERVED: Final = ("order",)


class ConditionReader:
    """Reads conditions, and gives `$name` placeholders their values."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._used: set[str] = set()
        self._keys: dict[tuple[str, str], ConditionKey] = {}
        self._of = OBSERVATION_KEYS

    def check_all_used(self) -> None:
        """Raise `LiteralError` for a value without a placeholder."""
        unused = [name for name in self._values if name not in self._used]
        if unused:
            hint = did_you_mean(unused[0], sorted(self._used), what="placeholders")
            raise LiteralError(f"the literal has no placeholder '${unused[0]}'{hint}")

    def read(self, line: LineReader, of: KeySet = OBSERVATION_KEYS) -> tuple[Condition, ...]:
        """The conditions up to the end of the line, on keys `of` an observation or a score."""
        self._of = of
        conditions: list[Condition] = []
        while not line.at_end():
            condition = self._condition(line)
            if any(one.key.text == condition.key.text and one.operator == condition.operator for one in conditions):
                line.fail(f"duplicate condition {condition.text!r}")
            conditions.append(condition)
        return tuple(conditions)

    def _condition(self, line: LineReader) -> Condition:
        start = line.position
        if line.peek() == "!" and line.text[start + 1 : start + 2] not in (*_BLANK, "=", "~"):
            line.position += 1
            key = self._key(line, start)
            if line.peek() not in _BLANK:
                line.fail(f"unexpected {line.rest_of_word()!r}", f": '!{key.text}' means \"absent\" and takes no value")
            return Condition(key, "!", None, f"!{key.text}")
        key = self._key(line, start)
        if line.take(_PRESENT):
            return Condition(key, "?", None, f"{key.text}?")
        line.skip()
        signs = line.take(_SIGNS)
        if signs is None:
            line.position = start
            self._unknown_word(line)
        sign = signs[0]
        if sign not in OPERATORS:
            known = _SIGN_ALIASES.get(sign)
            hint = f", did you mean {known!r}?" if known else f", operators are: {' '.join(OPERATORS)} KEY? !KEY"
            line.fail(f"unknown operator {sign!r}", hint)
        return self._comparison(line, key, sign)

    def _key(self, line: LineReader, start: int) -> ConditionKey:
        if line.peek() in ('"', "'"):
            text_start = line.position
            attribute = line.quoted()
            if self._of is not OBSERVATION_KEYS:
                line.fail(f"unknown key {attribute!r}", f", a {self._of.of} has no raw attributes")
            return ConditionKey(line.text[text_start : line.position], (attribute,), raw_attribute=True)
        first = line.take(_FIRST_PART)
        if first is None:
            line.position = start
            self._unknown_word(line)
        text_start = first.start()
        path = [first[0]]
        while line.peek() == ".":
            line.position += 1
            if line.peek() in ('"', "'"):
                path.append(line.quoted())
            elif part := line.take(_PART):
                path.append(part[0])
            else:
                line.fail(f"missing part after {line.text[text_start : line.position]!r}")
        text = line.text[text_start : line.position]
        if (known := self._keys.get((self._of.of, text))) is not None:
            return known
        problem = unknown_field(path, self._of)
        if problem is None:
            return self._keys.setdefault((self._of.of, text), ConditionKey(text, tuple(path)))
        rest = line.text[line.position :]
        if text_start == start and rest[:1] in _BLANK and not _SIGNS.match(rest.lstrip(" \t")):
            line.position = start
            self._unknown_word(line)
        return line.fail(f"unknown key {text!r}", problem)

    def _unknown_word(self, line: LineReader) -> NoReturn:
        word = line.rest_of_word()
        if sign := _SIGNS.match(word):
            line.fail(f"unexpected operator {sign[0]!r}", ", a key must come before it")
        if word in (ANY_TYPE, *TYPES):
            line.fail(f"unexpected {word!r}", ", write one observation per line")
        close = closest(word, self._of.fields)
        before = line.text[: line.position].split()
        name = f"{before[-1]} {word}" if len(before) > 1 and before[-2] in (*TYPES, ANY_TYPE, "score") else None
        if close and (close == word or not name):
            line.fail(f"unknown word {word!r}", f", did you mean '{close}=…' or '{close}?' (any value)?")
        if close and name:
            line.fail(f"unknown word {word!r}", f", did you mean '{close}=…', or the name {quoted(name)}?")
        if name:
            line.fail(f"unknown word {word!r}", f", quote a name that contains a space: {quoted(name)}")
        line.fail(f"unknown word {word!r}", f", conditions look like {self._of.example}")

    def _comparison(self, line: LineReader, key: ConditionKey, sign: str) -> Condition:
        line.skip()
        start = line.position
        if line.at_end():
            line.fail(f"missing value after '{key.text}{sign}'", ', an empty string is ""')
        if second := _SIGNS.match(line.text, start):
            # `model!= =gpt-4o` would hold for every model.
            line.fail(f"unexpected operator {second[0]!r}", ", quote a value that begins with it")
        placeholder = line.peek() == "$"
        value, word = (self._placeholder(line), None) if placeholder else line.value()
        text = f"{key.text}{sign}{line.text[start : line.position]}"
        pattern = None
        if sign == "~":
            value, word = (word if word is not None else value), None
            pattern = self._pattern(line, value)
        elif sign not in ("=", "!=") and not placeholder and not _is_number(value):
            line.fail(f"operator {sign!r}", f" compares numbers, not {line.text[start : line.position]}")
        if word is not None and word == value:
            word = None
        return Condition(key, sign, value, text, word, pattern, placeholder)

    def _placeholder(self, line: LineReader) -> Any:
        match = line.take(_PLACEHOLDER)
        if match is None:
            line.fail(f"bad placeholder {line.rest_of_word()!r}", ", quote a value that starts with $")
        name = match[1]
        if name not in self._values:
            if name in _RESERVED:
                line.fail(f"placeholder '${name}' cannot be used", f", {name}= is an option of assert_tree")
            hint = did_you_mean(name, [other for other in self._values if other not in self._used], what="values given")
            line.fail(f"no value for '${name}'", hint or f", pass it as {name}=…")
        self._used.add(name)
        return self._values[name]

    @staticmethod
    def _pattern(line: LineReader, value: Any) -> re.Pattern[str]:
        if isinstance(value, re.Pattern):
            return value
        if not isinstance(value, str):
            line.fail("operator '~'", f" takes a regular expression, not {value!r}")
        try:
            return re.compile(value)
        except re.error as error:
            return line.fail(f"bad regex {value!r}", f": {error}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
