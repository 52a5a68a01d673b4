"""The end of a sentence about an unknown word."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like `word`, whatever its case; `None` if none comes close."""
    by_folded = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), by_folded, n=1)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str], *, what: str) -> str:
    """`, did you mean 'model'?`, or the list of what is known when nothing comes close."""
    known = list(known)
    if close := closest(word, known):
        return f", did you mean {close!r}?"
    return f", {what} are: {', '.join(known)}" if known else ""
