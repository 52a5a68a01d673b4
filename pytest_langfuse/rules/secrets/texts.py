"""The texts in the values of a span."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

#: Words in keys of attributes that make a secret of a value: `http.request.header.authorization`.
_LABELS: Final = ("authorization", "secret")


def strings(value: Any) -> Iterator[str]:
    """Yield the texts in an attribute's value: itself, or those of a list."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


@lru_cache(maxsize=4096)
def is_label(key: str) -> bool:
    """Return whether the key of an attribute may be what makes a secret of its value."""
    folded = key.lower()
    return any(word in folded for word in _LABELS)


def with_label(key: str, text: str) -> str:
    """Return a text behind the key of its attribute, if that may be its label: `authorization: Bearer ...`."""
    return f"{key}: {text}" if is_label(key) else text


def readings(text: str) -> Iterator[str]:
    """Yield a text as it is sent; if that is JSON with escapes, also the texts in it, with their line breaks."""
    yield text
    if "\\" in text and text.startswith(("{", "[", '"')):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return
        yield from texts_inside(value)


def texts_inside(value: Any) -> Iterator[str]:
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
