"""Widths of texts as a terminal shows them: wide characters take two cells, combining ones none."""

from __future__ import annotations

import textwrap
from collections.abc import Callable


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    # Imported here: most texts are ASCII.
    import wcwidth

    # -1 is the answer for a text with control characters, which are escaped in all that is shown.
    return max(wcwidth.wcswidth(text), 0)


def cut_cells(text: str, most: int) -> str:
    """Return the beginning of a text that takes at most so many cells; characters are not torn apart."""
    if text.isascii():
        return text[:most]
    import wcwidth

    end = used = 0
    for character in wcwidth.iter_graphemes(text):
        used += max(wcwidth.wcswidth(character), 0)
        if used > most:
            return text[:end]
        end += len(character)
    return text


def wrapper_of(text: str) -> Callable[..., list[str]]:
    """Return the function that wraps a text: that of `textwrap`, or one that takes the same and counts cells."""
    if text.isascii():
        return textwrap.wrap
    import wcwidth

    return wcwidth.wrap
