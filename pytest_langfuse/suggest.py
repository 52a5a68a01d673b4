"""Suggestions for misspelt words: the "did you mean" at the end of a message."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that is most like `word`, ignoring case, or `None` if none is similar."""
    # Imported here: it takes several milliseconds, and only a message about a mistake needs it.
    from difflib import get_close_matches

    by_folded = {known.casefold(): known for known in words}
    close = get_close_matches(word.casefold(), by_folded, n=1)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, words: Iterable[str], *, what: str | None = None) -> str:
    """Return the end of a message about an unknown word: `, did you mean 'model'?`.

    If no word is similar, return the list of all of them, introduced by `what` (`, types are: span, generation`);
    without `what`, return an empty string.
    """
    known = list(words)
    if close := closest(word, known):
        return f", did you mean {close!r}?"
    return f", {what} are: {', '.join(known)}" if what and known else ""
