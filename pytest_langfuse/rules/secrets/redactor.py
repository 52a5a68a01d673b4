"""Takes secrets out of what is shown: each is replaced by what it is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_langfuse.rules.secrets.environment_keys import SHORTEST, EnvironmentKeys
from pytest_langfuse.rules.secrets.own_pattern import BadPattern, OwnPattern, matches
from pytest_langfuse.rules.secrets.scan import Secret, may_hold_secret, secrets
from pytest_langfuse.rules.secrets.sought_secret import LEAST_END, Replacement, SoughtSecret
from pytest_langfuse.rules.secrets.texts import readings, texts_inside
from pytest_langfuse.rules.secrets.unescaped import Unescaped, has_coded_ascii

#: Integers above have more digits than Python writes (4,300).
_MOST_BITS: Final = 14_000
#: Levels of nesting that are written.
_DEEPEST: Final = 200
_TOO_DEEP: Final = "[nested too deeply to be written]"


class Redactor:
    """Replaces what LF010 finds, what a project's own `patterns` match, and `keys`."""

    def __init__(self, keys: EnvironmentKeys, patterns: Sequence[OwnPattern] = ()) -> None:
        self.keys = keys
        self._patterns = patterns

    def has_to_search(self, text: str) -> bool:
        """Return whether a text, or any text in a line of JSON, may hold a secret: false for most, and fast."""
        return bool(self._patterns) or may_hold_secret(text) or has_coded_ascii(text) or self.keys.may_be_in(text)

    def text(self, text: str) -> str:
        """Return a text without secrets; of one that can't be searched, since a pattern takes too long, why."""
        try:
            return str(self.value(text)) if self.has_to_search(text) else text
        except BadPattern as error:
            if str(error) in text:
                # It says already which pattern is too slow, and what to do: a mark in its place would say less.
                return Redactor(self.keys).text(text)
            return not_searched(error)

    def value(self, value: Any) -> Any:
        """Return a value with the secrets in its texts, and in keys of objects, replaced.

        Raises:
            BadPattern: a pattern takes too long.
        """
        value = clean(value)
        found = self._own(value)
        sought: list[SoughtSecret] = []
        if self.has_to_search(encode(value)):
            sought += self.keys.secrets
            for text in _searched(value):
                for secret in _secrets(text):
                    found |= _instead_of(secret)
        sought += [SoughtSecret(text, mark) for text, mark in found.items()]
        return _replaced(value, Replacement(sought), {one.text: one.mark for one in sought}) if sought else value

    def trimmed_end(self, text: str) -> str:
        """Return the beginning of a text without secrets, after which something is left out, in no need of a mark.

        It is shortened where it ends as a key begins, since it would be taken for what is left of that: in what is
        written on, it is searched again.
        """
        keys = self.keys.secrets
        while left := next((left - one.least + 1 for one in keys if (left := one.left_at_end(text))), 0):
            text = text[:-left]
        return text

    def trimmed_start(self, text: str) -> str:
        """Return the rest of a text without secrets, before which something is left out; as `trimmed_end`."""
        keys = self.keys.secrets
        while left := next((left - LEAST_END + 1 for one in keys if (left := one.left_at_start(text))), 0):
            text = text[left:]
        return text

    def _own(self, value: Any) -> dict[str, str]:
        """Return what the project's own patterns match, and what is to stand in place of it.

        Raises:
            BadPattern: one takes too long.
        """
        if not self._patterns:
            return {}
        found = matches(self._patterns, (reading for text in texts_inside(value) for reading in _readings(text)))
        return {text: _mark(pattern.kind) for text, pattern in found.items()}


def not_searched(error: BadPattern) -> str:
    """Return what stands in place of a text that can't be searched."""
    return f"[redacted: not searched, since {error}]"


def _mark(name: str) -> str:
    return f"[redacted: {name}]"


def _instead_of(secret: Secret) -> dict[str, str]:
    """Return what is to be replaced by what. A short password is replaced beside its label alone: it may be a word."""
    mark = _mark(secret.kind)
    beside = {secret.text: secret.text.replace(secret.value, mark)}
    return {**beside, secret.value: mark} if len(secret.value) >= SHORTEST else beside


def _secrets(text: str) -> Iterator[Secret]:
    r"""Yield the secrets in a text, and in what it means without its escapes: the `n` of `\n` would join a key."""
    if may_hold_secret(text) or has_coded_ascii(text):
        yield from secrets(text)
        if "\\" in text:
            yield from secrets(Unescaped(text).text)


def _readings(text: str) -> Iterator[str]:
    yield from readings(text)
    if "\\" in text:
        yield Unescaped(text).text


def _searched(value: Any) -> Iterator[str]:
    """Yield the texts in a value; and all of it as JSON, in which a label stands beside its value."""
    if not isinstance(value, str):
        yield encode(value)
    yield from texts_inside(value)


def _replaced(value: Any, replacement: Replacement, numbers: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return replacement.of(value)
    if isinstance(value, Mapping):
        return {replacement.of(key): _replaced(item, replacement, numbers) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, replacement, numbers) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return numbers.get(str(value), value)
    return value


# -- JSON --------------------------------------------------------------------------------------------------------


def _other(value: object) -> Any:
    return dict(value) if isinstance(value, Mapping) else value.hex() if isinstance(value, bytes) else repr(value)


encode: Final = json.JSONEncoder(ensure_ascii=True, allow_nan=False, default=_other).encode


def clean(value: Any, depth: int = 0) -> Any:
    """Return a value that JSON can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if value.bit_length() < _MOST_BITS else f"[an integer of {value.bit_length():,} bits]"
    if isinstance(value, Mapping | list | tuple) and depth > _DEEPEST:
        return _TOO_DEEP
    if isinstance(value, Mapping):
        return {str(key): clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item, depth + 1) for item in value]
    return value
