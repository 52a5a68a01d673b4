"""A list of key-value pairs in an export body."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class KeyValues(dict[str, Any]):
    """The pairs as a mapping, the last one of each key, and in `pairs` all of them: Langfuse shows all."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self.pairs = tuple(pairs)
        super().__init__(self.pairs)

    def __reduce__(self) -> tuple[type[KeyValues], tuple[tuple[tuple[str, Any], ...]]]:
        return KeyValues, (self.pairs,)
