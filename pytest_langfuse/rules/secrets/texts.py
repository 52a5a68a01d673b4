"""The texts in the values of a span."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def strings(value: Any) -> Iterator[str]:
    """Yield the texts in an attribute's value: itself, or those of a list."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def readings(text: str) -> Iterator[str]:
    """Yield a text as it is sent; if that is JSON with escapes, also the texts in it, with their line breaks."""
    yield text
    if "\\" in text and text.startswith(("{", "[", '"')):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return
        yield from _inside(value)


def _inside(value: Any) -> Iterator[str]:
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            stack += one
        elif isinstance(one, dict):
            stack += one.keys()
            stack += one.values()
