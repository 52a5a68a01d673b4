"""The style of failure texts: plain unless the plugin sets another."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Collection, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from pytest_langfuse.expect.literal.values import WIDTH, escape
from pytest_langfuse.expect.shown_secrets import hidden, trimmed_end
from pytest_langfuse.expect.text.cells import cells, cut_cells, wrapper_of

#: Columns that pytest puts before a line of an error: `E       `.
ERROR_MARGIN: Final = 8
#: Columns before a line of a tree in a failure: those, and the mark.
MARGIN: Final = ERROR_MARGIN + 2
_DEEPEST: Final = 60
#: Lines are never narrower than this.
_LEAST: Final = 20
#: Columns of the depth before a line that is indented no further: `(1234) `.
_DEPTH: Final = 7
#: Characters of a sentence that are shown without -vv.
_SENTENCE: Final = 2_000
#: Characters of values where lines do not fit the terminal.
_NARROWER: Final = (30, 15, 8)
#: A text in quotes or backticks. An apostrophe within a word does not count.
_QUOTED: Final = r"""`[^`]*`|"[^"]*"|(?<!\w)'[^']*'(?!\w)"""
#: How what we write ourselves is written where the terminal can't show it.
_ASCII: Final = {ord("…"): "...", ord("µ"): "u"}
#: Stands for a space at which a line is not broken: no character of a text.
_NO_BREAK: Final = "\ue000"


@dataclass(frozen=True, slots=True)
class Style:
    """`color`: with ANSI colours. `verbose`: pytest's verbosity; from 2 on (`-vv`) nothing is cut or folded.

    `columns`: the width of the terminal; `None`: lines may be of any length. `encoding`: what the terminal can show;
    other characters are escaped.
    """

    color: bool = False
    verbose: int = 0
    columns: int | None = None
    encoding: str = "utf-8"

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
        line = self.encodable(text(self.width))
        if self.whole or self.columns is None:
            return line
        room = max(self.columns - used, _LEAST)
        for width in _NARROWER:
            if cells(line) <= room:
                return line
            line = self.encodable(text(width))
        if cells(line) > room:
            line = hidden(line)
        return line if cells(line) <= room else self._cut(line, room)

    @property
    def widths(self) -> Sequence[int | None]:
        """Characters of values to try, one after the other, until a line fits."""
        return (self.width,) if self.whole or self.columns is None else (self.width, *_NARROWER)

    def cut_words(self, words: Sequence[str], room: int) -> list[str]:
        """Return the words for which there is room, and the beginning of the next one."""
        shown: list[str] = []
        for word in words:
            if cells(word) > room:
                if room > len(self.encodable("…")):
                    shown.append(self._cut(word, room))
                break
            shown.append(word)
            room -= cells(word) + 1
        return shown

    def _cut(self, line: str, room: int) -> str:
        mark = self.encodable("…")
        return trimmed_end(cut_cells(line, room - len(mark))) + mark

    def deepest(self, used: int = 0, more: int = _DEPTH) -> int:
        """Return the depth down to which lines are indented, in what the columns leave beside `used` ones.

        A deep tree would be mostly spaces. Deeper lines need `more` columns, for their depth.
        """
        if self.whole or self.columns is None:
            return _DEEPEST
        return min(max((self.columns - used - _LEAST - more) // 2, 1), _DEEPEST)

    def indent(self, depth: int, used: int = 0) -> str:
        """Return what a line at a depth begins with; it says the depth where the line is indented no further."""
        deepest = self.deepest(used)
        return " " * 2 * depth if depth <= deepest else f"{' ' * 2 * deepest}({depth}) "

    def encodable(self, text: str) -> str:
        """Return a text with escapes for what the terminal can't show: pytest would escape all, line ends included."""
        if self.encoding == "utf-8" or text.isascii():
            return text
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return text.translate(_ASCII).encode(self.encoding, "backslashreplace").decode(self.encoding)
        return text

    def literal(self, text: str) -> str:
        """Return a line of a literal, with what the terminal can't show as escapes that can be read within quotes."""
        if self.shows(text):
            return text
        return "".join(char if self.shows(char) else escape(char) for char in text)

    def shows(self, text: str) -> bool:
        """Return whether the terminal can show a text."""
        return self.encodable(text) == text

    def wrapped(self, sentence: str, used: int = 0, names: Collection[str] = ()) -> list[str]:
        """The lines of a sentence, indented, in what the columns leave beside `used` ones; further lines hang.

        What is in quotes is not broken, and neither are `names`.
        """
        # First: what is cut, or broken into lines, is not recognised any more.
        sentence = self.encodable(hidden(sentence))
        if self.columns is None:
            return [f"  {sentence}"]
        if not self.whole and (more := len(sentence) - _SENTENCE) > 0:
            sentence = self.encodable(f"{trimmed_end(sentence[:_SENTENCE])}… {more:,} more characters (-vv shows all)")
        room = max(self.columns - used, _LEAST)
        if cells(sentence) + 2 <= room:
            return [f"  {sentence}"]
        held = [name for name in names if name in sentence]
        unbroken = re.compile("|".join([*(re.escape(name) for name in held), _QUOTED]))
        joined = unbroken.sub(lambda found: found[0].replace(" ", _NO_BREAK), sentence)
        lines = wrapper_of(sentence)(
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
        return self.painted(text, "31")

    def green(self, text: str) -> str:
        """Colour captured text."""
        return self.painted(text, "32")

    def painted(self, text: str, codes: str) -> str:
        """Return a text with codes of ANSI (ECMA-48, "Select Graphic Rendition") where there is colour."""
        return f"\x1b[{codes}m{text}\x1b[0m" if self.color and text else text

    def body(self, text: str) -> str:
        """All but the first line of a failure text out of the red in which pytest prints an error's text."""
        return text.replace("\n", "\n\x1b[0m") if self.color else text


_PLAIN: Final = Style()
_style: Final = ContextVar("pytest_langfuse_style", default=_PLAIN)


def current() -> Style:
    """The style of this context."""
    return _style.get()


def configure(
    *, color: bool = False, verbose: int = 0, columns: int | None = None, encoding: str = "utf-8"
) -> Callable[[], None]:
    """Set the style; returns what sets it back. `NO_COLOR` (https://no-color.org) in the environment wins.

    `encoding` is any name of what the terminal can show, or of nothing that Python knows.
    """
    before = _style.get()
    try:
        known = codecs.lookup(encoding).name
    except LookupError:
        known = "utf-8"
    _style.set(Style(color and not os.environ.get("NO_COLOR"), verbose, columns, known))

    def restore() -> None:
        _style.set(before)

    return restore
