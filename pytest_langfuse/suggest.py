"""Suggestions for misspelt words: the "did you mean" at the end of a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

_LONGEST = 200
_SHORTEST_BEGINNING = 2
_NO_ALIASES: Mapping[str, str] = MappingProxyType({})


def closest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that is most like `word`, ignoring case, or `None` if none is similar.

    The beginning of one word alone stands for that: `tol` for `tolerance`.
    """
    # Imported here: it takes several milliseconds, and only a message about a mistake needs it.
    from difflib import get_close_matches

    # A long text is not a slip of the pen, and comparing it takes long.
    if len(word) > _LONGEST:
        return None
    by_folded = {known.casefold(): known for known in words}
    folded = word.casefold()
    close = get_close_matches(folded, by_folded, n=1)
    if not close and len(folded) >= _SHORTEST_BEGINNING:
        beginning = [known for known in by_folded if known.startswith(folded)]
        close = beginning if len(beginning) == 1 else []
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


def no_attribute(owner: object, name: str, cls: type, aliases: Mapping[str, str] = _NO_ALIASES) -> AttributeError:
    """Return the error for an attribute that `owner`, a `cls`, does not have; it suggests the one that was meant.

    `aliases` maps a name from elsewhere to the one that it has here.
    """
    text = f"{cls.__name__!r} object has no attribute {name!r}"
    known = [attribute for attribute in dir(cls) if not attribute.startswith("_")]
    # Libraries look for private names and hooks of their own; these are not mistakes.
    if not name.startswith("_") and name not in known:
        alias = aliases.get(name)
        text += f", did you mean {alias!r}?" if alias is not None else did_you_mean(name, known)
    return AttributeError(text, name=name, obj=owner)
