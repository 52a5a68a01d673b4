"""The style of failure texts: plain unless the plugin sets another."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from pytest_langfuse.expect.literal.values import WIDTH, cut

#: Columns that pytest puts before a line of an error: `E       `.
ERROR_MARGIN: Final = 8
#: Columns before a line of a tree in a failure: those, and the mark.
MARGIN: Final = ERROR_MARGIN + 2
_DEEPEST: Final = 60
#: Lines are never narrower than this.
_LEAST: Final = 20
#: Characters of values where lines do not fit the terminal.
_NARROWER: Final = (30, 15, 8)
#: A text in quotes or backticks. An apostrophe within a word does not count.
_QUOTED: Final = r"""`[^`]*`|"[^"]*"|(?<!\w)'[^']*'(?!\w)"""
#: Stands for a space at which a line is not broken: no character of a text.
_NO_BREAK: Final = "\ue000"


@dataclass(frozen=True, slots=True)
class Style:
    """`color`: with ANSI colours. `verbose`: pytest's verbosity; from 2 on (`-vv`) nothing is cut or folded.

    `columns`: the width of the terminal; `None`: lines may be of any length.
    """

    color: bool = False
    verbose: int = 0
    columns: int | None = None

    @property
    def whole(self) -> bool:
        """Return whether everything is shown."""
        return self.verbose > 1

    @property
    def width(self) -> int | None:
        """Characters of a value that are shown; `None`: all."""
        return None if self.whole else WIDTH

    def fitted(self, text: Callable[[int | None], str], used: int = 0) -> str:
        """The line that `text` returns for a width of values, in what the columns leave beside `used` ones.

        Long values are cut further where the line does not fit, and the line itself at last.
        """
        line = text(self.width)
        if self.whole or self.columns is None:
            return line
        room = max(self.columns - used, _LEAST)
        for width in _NARROWER:
            if len(line) <= room:
                return line
            line = text(width)
        return line if len(line) <= room else cut(line, room - 1)

    def wrapped(self, sentence: str, used: int = 0, names: Collection[str] = ()) -> list[str]:
        """The lines of a sentence, indented, in what the columns leave beside `used` ones; further lines hang.

        What is in quotes is not broken, and neither are `names`.
        """
        if self.columns is None or len(sentence) + 2 <= (room := max(self.columns - used, _LEAST)):
            return [f"  {sentence}"]
        held = [name for name in names if name in sentence]
        unbroken = re.compile("|".join([*(re.escape(name) for name in held), _QUOTED]))
        joined = unbroken.sub(lambda found: found[0].replace(" ", _NO_BREAK), sentence)
        lines = textwrap.wrap(
            joined,
            room,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
        )
        return [line.replace(_NO_BREAK, " ") for line in lines]

    def red(self, text: str) -> str:
        """Colour expected text."""
        return f"\x1b[31m{text}\x1b[0m" if self.color else text

    def green(self, text: str) -> str:
        """Colour captured text."""
        return f"\x1b[32m{text}\x1b[0m" if self.color else text

    def body(self, text: str) -> str:
        """All but the first line of a failure text out of the red in which pytest prints an error's text."""
        return text.replace("\n", "\n\x1b[0m") if self.color else text


def indentation(depth: int) -> int:
    """The columns by which a line is indented; deeper ones no further, or a deep tree would be mostly spaces."""
    return 2 * min(depth, _DEEPEST)


_PLAIN: Final = Style()
_style: Final = ContextVar("pytest_langfuse_style", default=_PLAIN)


def current() -> Style:
    """The style of this context."""
    return _style.get()


def configure(*, color: bool = False, verbose: int = 0, columns: int | None = None) -> Callable[[], None]:
    """Set the style; returns what sets it back. `NO_COLOR` (https://no-color.org) in the environment wins."""
    before = _style.get()
    _style.set(Style(color=color and not os.environ.get("NO_COLOR"), verbose=verbose, columns=columns))

    def restore() -> None:
        _style.set(before)

    return restore
