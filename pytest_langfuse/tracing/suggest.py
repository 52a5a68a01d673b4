"""The "did you mean" at the end of a message."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 200


def closest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that is most like `word`, or `None` if none is similar."""
    # Imported here: it takes several milliseconds, and only a message about a mistake needs it.
    from difflib import get_close_matches

    # A long text is not a slip of the pen, and comparing it takes long.
    if len(word) > _LONGEST:
        return None
    known = list(words)
    close = get_close_matches(word, known, n=1) or get_close_matches(word.lower(), known, n=1)
    return close[0] if close else None


def did_you_mean(word: str, words: Iterable[str], *, what: str) -> str:
    """Return `, did you mean 'timeout'?`, or, if no word is similar, `, settings are: ...` (`what` are "settings")."""
    known = list(words)
    close = closest(word, known)
    return f", did you mean {close!r}?" if close else f", {what} are: {', '.join(known)}"
