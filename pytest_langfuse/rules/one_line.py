"""Texts of others in a line of a report: neither a control character nor a whole novel."""

from __future__ import annotations

import unicodedata
from typing import Final

#: Characters of a name that messages show.
_LONGEST: Final = 100


def one_line(text: str) -> str:
    """Return a text with Python's escapes for what would break a line, colour it or turn it around."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Return the beginning of a text that is long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _escaped(character: str) -> str:
    # Python takes spaces that are not ASCII for unprintable, too.
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
