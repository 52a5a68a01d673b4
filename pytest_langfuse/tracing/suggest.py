"""The "did you mean" at the end of a message."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, words: Iterable[str], *, what: str) -> str:
    """Return `, did you mean 'timeout'?`, or, if no word is similar, `, settings are: ...` (`what` are "settings")."""
    # Imported here: it takes several milliseconds, and only a message about a mistake needs it.
    from difflib import get_close_matches

    known = list(words)
    close = get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else f", {what} are: {', '.join(known)}"
