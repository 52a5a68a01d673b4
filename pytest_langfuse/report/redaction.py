"""Secrets in what is written about a run: replaced by the names of what they are."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_langfuse.rules.secrets.own_pattern import BadPattern, OwnPattern, matches
from pytest_langfuse.rules.secrets.scan import Secret, may_hold_secret, secrets
from pytest_langfuse.rules.secrets.texts import readings

#: Parts of the names of environment variables whose values nobody should read in a report.
_NAMES_OF_KEYS: Final = ("SECRET", "TOKEN", "PASSWORD", "API_KEY", "ACCESS_KEY")
#: Shorter values are words such as "test", which stand in many texts.
_SHORTEST_KEY: Final = 12
#: Integers above have more digits than Python writes (4,300).
_MOST_BITS: Final = 14_000
#: Fields of rows that hold ids of traces and observations.
_IDS: Final = frozenset(("kind", "trace", "id", "parent"))
#: Fields of rows whose texts are this package's, and those that are objects or null.
_OWN_WORDS: Final = frozenset(("outcome", "type", "level", "reason", "otel_status", "data_type", "code", "severity"))
_PARTS: Final = frozenset(("difference", "outage", "health", "comparison"))
_TOO_DEEP: Final = "[nested too deeply to be written]"


def keys_of_environment() -> dict[str, str]:
    """Return the values of environment variables that are keys, each with the name of its variable."""
    return {
        value: name
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST_KEY and any(part in name.upper() for part in _NAMES_OF_KEYS)
    }


class Redaction:
    """Writes rows as lines of JSON without secrets.

    These are what LF010 finds, what a project's own `patterns` match, and `keys`, each with what it is called. What
    can't be searched by a pattern, since that takes too long, is not written.
    """

    def __init__(self, keys: Mapping[str, str], patterns: Sequence[OwnPattern] = ()) -> None:
        self._keys = dict(keys)
        self._patterns = patterns
        self._written_keys = tuple(json.dumps(key)[1:-1] for key in self._keys)

    def line(self, ids: Mapping[str, Any], row: Mapping[str, Any]) -> str:
        """Return the line of a row. `ids` come first; they are not looked at, since trace ids look like keys."""
        head, body = encoded(ids), encoded(row)
        if self._patterns or self._may_hold_secret(body):
            body = encoded(self.without_secrets(json.loads(body)))
        return f"{head[:-1]}, {body[1:]}"

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row that was read from a file, without secrets; as `line`, it does not look at ids."""
        body = {key: value for key, value in row.items() if key not in _IDS}
        is_searched = self._patterns or self._may_hold_secret(encoded(body))
        return {**row, **self.without_secrets(body)} if is_searched else dict(row)

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        return str(self.without_secrets(text)) if self._patterns or self._may_hold_secret(text) else text

    def _may_hold_secret(self, text: str) -> bool:
        # JSON escapes no character that a key can have, so that a look at the line is a look at all of its texts.
        return may_hold_secret(text) or any(key in text for key in self._written_keys)

    def without_secrets(self, value: Any) -> Any:
        """Return a value with the secrets in its texts, and in keys of objects, replaced."""
        value = _clean(value)
        try:
            found = self._own(value)
        except BadPattern as error:
            return _withheld(value, str(error))
        if self._may_hold_secret(_encode(value)):
            found |= {key: _mark(name) for key, name in self._keys.items()}
            for text in _searched(value):
                for secret in secrets(text):
                    found |= _instead_of(secret)
        # A secret may be a part of another one.
        return _replaced(value, sorted(found.items(), key=lambda item: -len(item[0]))) if found else value

    def _own(self, value: Any) -> dict[str, str]:
        """Return what the project's own patterns match, and what is to stand in place of it.

        Raises:
            BadPattern: one takes too long.
        """
        if not self._patterns:
            return {}
        texts = [reading for text in _texts(value) for reading in readings(text)]
        found = {text: _mark(pattern.kind) for text, pattern in matches(self._patterns, texts).items()}
        # As they stand in JSON inside of a text.
        written = {
            json.dumps(text, ensure_ascii=is_ascii)[1:-1]: mark
            for text, mark in found.items()
            for is_ascii in (True, False)
        }
        return written | found


def _mark(name: str) -> str:
    return f"[redacted: {name}]"


def _instead_of(secret: Secret) -> dict[str, str]:
    """Return what is to be replaced by what. A short password is replaced beside its label alone: it may be a word."""
    mark = _mark(secret.kind)
    beside = {secret.text: secret.text.replace(secret.value, mark)}
    return {**beside, secret.value: mark} if len(secret.value) >= _SHORTEST_KEY else beside


def _searched(value: Any) -> Iterator[str]:
    """Yield the texts in a value; and all of it as JSON, in which a label stands beside its value."""
    if not isinstance(value, str):
        yield _encode(value)
    yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value, and the keys of its objects."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            stack += one.keys()
            stack += one.values()
        elif isinstance(one, list | tuple):
            stack += one


def _replaced(value: Any, found: Sequence[tuple[str, str]]) -> Any:
    if isinstance(value, str):
        for secret, instead in found:
            value = value.replace(secret, instead)
        return value
    if isinstance(value, Mapping):
        return {_replaced(key, found): _replaced(item, found) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, found) for item in value]
    return value


def _withheld(value: Any, why: str) -> Any:
    """Return a row, or a text, that can't be searched: without what an application has put into it."""
    mark = f"[redacted: not searched, since {why}]"
    if not isinstance(value, Mapping):
        return mark
    empty: Mapping[type, Any] = {str: mark, dict: {}, list: []}
    return {
        key: item if key in _OWN_WORDS else None if key in _PARTS else empty.get(type(item), item)
        for key, item in value.items()
    }


# -- JSON --------------------------------------------------------------------------------------------------------


def encoded(row: Any) -> str:
    """Return a row as a line of JSON: ASCII, null for NaN and infinity, for what JSON can't hold its `repr`."""
    try:
        return _encode(row)
    except (ValueError, TypeError, RecursionError):
        return _encode(_clean(row))


def _other(value: object) -> Any:
    return dict(value) if isinstance(value, Mapping) else value.hex() if isinstance(value, bytes) else repr(value)


_encode: Final = json.JSONEncoder(ensure_ascii=True, allow_nan=False, default=_other).encode


def _clean(value: Any, depth: int = 0) -> Any:
    """Return a value that can be encoded."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if value.bit_length() < _MOST_BITS else f"[an integer of {value.bit_length():,} bits]"
    if isinstance(value, Mapping | list | tuple) and depth > _DEEPEST:
        return _TOO_DEEP
    if isinstance(value, Mapping):
        return {str(key): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item, depth + 1) for item in value]
    return value


#: Levels of nesting that are written.
_DEEPEST: Final = 200
