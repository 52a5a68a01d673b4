"""Texts without the escapes of JSON, Python, URLs, HTML and names in literals, also where one is in another."""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

#: Backslashes, any number of them, with the letter or the digits behind them; bytes of a URL; a reference of HTML; what
#: would be a glob in a name.
_ESCAPE: Final = re.compile(
    r"\\++(?:u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\++u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|u(?P<four>[0-9a-fA-F]{4})|U(?P<eight>000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|x(?P<two>[0-9a-fA-F]{2})"
    r"|(?P<letter>[nrtbf]))?"
    r"|(?P<bytes>(?:%[0-9a-fA-F]{2})+)"
    r"|(?P<reference>&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|quot|amp|lt|gt|apos);)"
    r"|\[(?P<glob>[*?\[])\]"
)
_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
#: Printable ASCII that is written by its number, as JSON may: it could hide the word by which a secret is found.
_CODED: Final = re.compile(r"\\u00(?:[2-6][0-9a-f]|7[0-9a-e])", re.IGNORECASE)


class Unescaped:
    r"""A text without its escapes, which knows where each part of it was.

    Backslashes that escape nothing are left out, so that `a"b\c` is the same in JSON, in JSON inside of JSON, and in a
    `repr`: compare it with what is unescaped, too.
    """

    __slots__ = ("_at", "_was_at", "text")

    def __init__(self, written: str) -> None:
        parts: list[str] = []
        #: Places in the text from which it is as written up to the next, and where they were.
        self._at, self._was_at = [0], [0]
        end = place = 0
        for match in _ESCAPE.finditer(written):
            first, last = match.span()
            parts.append(written[end:first])
            place += first - end
            for character, start in _meant(match):
                self._note(place, start)
                if character != "\\":
                    parts.append(character)
                    place += len(character)
            self._note(place, last)
            end = last
        parts.append(written[end:])
        self.text = "".join(parts)

    def _note(self, place: int, was: int) -> None:
        self._at.append(place)
        self._was_at.append(was)

    def was_at(self, place: int) -> int:
        """Return where something was that begins, or ends, at a place in the text."""
        index = bisect_left(self._at, place)
        if index < len(self._at) and self._at[index] == place:
            return self._was_at[index]
        return self._was_at[index - 1] + place - self._at[index - 1]


def _meant(match: re.Match[str]) -> Iterator[tuple[str, int]]:
    """Yield the characters that an escape stands for, each with where it begins."""
    start = match.start()
    if (coded := match["bytes"]) is not None:
        for character in bytes.fromhex(coded.replace("%", "")).decode("utf-8", "replace"):
            yield character, min(start, match.end())
            start += 3 * len(character.encode("utf-8", "replace"))
        return
    if match["high"] is not None:
        yield chr(0x10000 + ((int(match["high"], 16) & 0x3FF) << 10) + (int(match["low"], 16) & 0x3FF)), start
    elif (digits := match["four"] or match["eight"] or match["two"]) is not None:
        yield chr(int(digits, 16)), start
    elif match["glob"] is not None:
        yield match["glob"], start
    elif match["letter"] is not None:
        yield _LETTERS[match["letter"]], start
    else:
        # Backslashes alone stand for nothing, but belong to what follows them.
        yield html.unescape(match["reference"] or ""), start


def has_escapes(text: str) -> bool:
    """Return whether a text may have escapes."""
    return "\\" in text or "%" in text or "&" in text or "[?]" in text or "[*]" in text or "[[]" in text


def has_coded_ascii(text: str) -> bool:
    """Return whether a text has characters by their numbers that need none."""
    return "\\u00" in text and _CODED.search(text) is not None
