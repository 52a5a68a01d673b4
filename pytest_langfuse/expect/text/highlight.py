"""Colours of a line of a literal: its type, its name, keys, comments, and levels that are not well."""

from __future__ import annotations

import re
from typing import Final

from pytest_langfuse.expect.text.style import Style

_TYPE, _NAME, _KEY, _FAINT = "36", "1", "34", "2"
#: Colours of values of `level`.
_LEVELS: Final = {"level=ERROR": "1;31", "level=WARNING": "1;33"}
#: Quoted or not; quotes end where their text was cut.
_WORD: Final = r"(?:\"(?:[^\"\\…]|\\.)*[\"…]?|'(?:[^'\\…]|\\.)*['…]?|[^\s\"'])+"
_HEAD: Final = re.compile(rf"( *(?:\(\d+\) )?)(\S+)(?: ({_WORD}))?")
#: A comment that holds conditions for which the line above it has no room.
_FOLDED: Final = re.compile(r"# [\w.-]+=")
_CONDITION: Final = re.compile(rf"(?<= )([\w.-]+=)({_WORD})?")


def highlighted(line: str, style: Style) -> str:
    """Return a line with its colours, if `style` has any."""
    head = _HEAD.match(line) if style.color else None
    if head is None:
        return line
    indent, kind, name = head[1], head[2], head[3]
    if kind == "*" or (kind == "#" and _FOLDED.match(line, len(indent))):
        head_text, rest = indent + style.painted(kind, _FAINT), line[len(indent) + 1 :]
    elif kind.startswith("#"):
        return f"{indent}{style.painted(line[len(indent) :], _FAINT)}"
    else:
        words = [style.painted(kind, _TYPE), *([style.painted(name, _NAME)] if name else [])]
        head_text, rest = indent + " ".join(words), line[head.end() :]

    def condition(match: re.Match[str]) -> str:
        if (codes := _LEVELS.get(match[0])) is not None:
            return style.painted(match[0], codes)
        return style.painted(match[1], _KEY) + (match[2] or "")

    return head_text + _CONDITION.sub(condition, rest)


def faint(text: str, style: Style) -> str:
    """Return what is said beside a line."""
    return style.painted(text, _FAINT)
