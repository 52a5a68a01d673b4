"""Names in a literal, with globs."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Final

from pytest_langfuse.expect.literal.values import quoted

_PIECE: Final = re.compile(r"\[[*?\[]\]|[*?\[]|[^*?\[]+")
_SPECIAL: Final = re.compile(r"[*?\[]")
#: A name that needs no quotes. What is excluded would read as quotes, an operator, a placeholder or a comment,
#: or not be seen.
BARE_NAME: Final = re.compile(r"(?![#!])[^\s\"'=<>~$\\\x00-\x1f\x7f-\x9f]+")


class NamePattern:
    """The name of an observation, or a glob over names.

    `*`, `?` and `[..]` are globs, quoted or not; `[*]`, `[?]` and `[[]` stand for the characters themselves. A name
    that equals the text as written matches, too: `tool[0]` is the name `tool[0]`.
    """

    __slots__ = ("_glob", "exact", "text", "written")

    def __init__(self, text: str, *, written: str | None = None) -> None:
        self.text = text
        #: As the literal has it, with quotes.
        self.written = written if written is not None else text
        pieces = _PIECE.findall(text)
        globs = any(piece in ("*", "?") or (piece == "[" and "]" in text) for piece in pieces)
        #: The one name that matches, or `None` for a glob.
        self.exact: str | None = None
        self._glob: re.Pattern[str] | None = None
        if globs:
            self._glob = re.compile(translate(text))
        else:
            self.exact = "".join(piece[1] if len(piece) == 3 and piece[0] == "[" else piece for piece in pieces)  # noqa: PLR2004 - `[*]`

    def matches(self, name: str) -> bool:
        """Return whether the pattern matches an observation's name."""
        if self._glob is None:
            return name == self.exact
        return name == self.text or self._glob.match(name) is not None

    @property
    def any(self) -> bool:
        """Return whether every name matches."""
        return self.text == "*"


def name_text(name: str) -> str:
    """A captured name as the literal writes it: globs escaped, quoted where it must be."""
    escaped = _SPECIAL.sub(r"[\g<0>]", name)
    return escaped if escaped.isprintable() and BARE_NAME.fullmatch(escaped) else quoted(escaped)


def glob_text(beginning: str) -> str:
    """Return the glob, as the literal writes it, for names that begin with a text."""
    escaped = _SPECIAL.sub(r"[\g<0>]", beginning)
    glob = f"{escaped}*"
    return glob if escaped and glob.isprintable() and BARE_NAME.fullmatch(glob) else quoted(glob) if escaped else "*"


def name_in_sentence(name: str) -> str:
    """A captured name in a sentence: as it is, with what cannot be printed escaped."""
    return name if name.isprintable() else quoted(name)
