"""Reading one line of a literal from left to right."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from pytest_langfuse.expect.errors import LiteralError
from pytest_langfuse.expect.literal.values import number_in
from pytest_langfuse.recording.observation import TYPES

#: pytest shows no frame of this module: a bad literal is the test's, not ours.
__tracebackhide__ = True

_SPACE: Final = re.compile(r"[ \t]*")
_WORD: Final = re.compile(r"[^ \t]+")
_QUOTED: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_PAIR: Final = r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE: Final = re.compile(rf"\\({_PAIR}|u[0-9a-fA-F]{{4}}|U[0-9a-fA-F]{{8}}|x[0-9a-fA-F]{{2}}|.)", re.DOTALL)
_SIMPLE_ESCAPES: Final = {
    "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\", '"': '"', "'": "'"
}  # fmt: skip
#: What a line of a literal can start with; the rest of a value that had a line break in it does not.
_START: Final = re.compile(rf"\s*(?:$|[#*…]|>>|\.\.\.|\d+(?:\+|-\d+)?x\b|(?:any|score|{'|'.join(TYPES)})\b)")
# strict=False: a literal that is not a raw string holds a real tab where the value was rendered as `\t`.
_JSON: Final = json.JSONDecoder(strict=False)


class LineReader:
    """A line of a literal and how far it was read. `follows` is the text of the next line."""

    __slots__ = ("follows", "number", "position", "text")

    def __init__(self, text: str, number: int, position: int = 0, follows: str = "") -> None:
        self.text = text
        self.number = number
        self.position = position
        self.follows = follows

    def fail(self, problem: str, hint: str = "") -> NoReturn:
        """Raise the error: what, on which line, and how to fix it."""
        raise LiteralError(f"{problem} on line {self.number}{hint}") from None

    def at_end(self) -> bool:
        """Skip spaces; whether only a comment or nothing follows."""
        self.skip()
        return self.position == len(self.text) or self.text[self.position] == "#"

    def skip(self) -> None:
        """Skip spaces."""
        match = _SPACE.match(self.text, self.position)
        assert match is not None  # noqa: S101 - matches the empty string
        self.position = match.end()

    def peek(self) -> str:
        """The next character, or `""` at the end of the line."""
        return self.text[self.position : self.position + 1]

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Read what `pattern` matches at this position; `None` if it does not match."""
        match = pattern.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
        return match

    def word(self) -> str:
        """Read all up to the next space."""
        match = self.take(_WORD)
        return match[0] if match is not None else ""

    def rest_of_word(self) -> str:
        """Return all up to the next space, without reading it."""
        match = _WORD.match(self.text, self.position)
        return match[0] if match is not None else ""

    def quoted(self) -> str:
        """A string in double or single quotes, with the escapes of JSON and Python."""
        match = self.take(_QUOTED)
        if match is None:
            self._fail_unclosed(f"unclosed quote {self.peek()}")
        body = match[0][1:-1]
        return body if "\\" not in body else self._unescaped(body)

    def _fail_unclosed(self, problem: str) -> NoReturn:
        hint = f": {self.text[self.position :].rstrip()}"
        if not _START.match(self.follows):
            hint += ' (write a literal that contains \\n as a raw string: r"""…""")'
        self.fail(problem, hint)

    def _unescaped(self, body: str) -> str:
        def replacement(match: re.Match[str]) -> str:
            escape = match[1]
            if escape in _SIMPLE_ESCAPES:
                return _SIMPLE_ESCAPES[escape]
            if "\\" in escape:  # one character, as JSON and JavaScript write it
                return chr(0x10000 + (int(escape[1:5], 16) - 0xD800) * 0x400 + int(escape[7:], 16) - 0xDC00)
            if len(escape) == 1 or int(escape[1:], 16) > 0x10FFFF:  # noqa: PLR2004 - the last code point
                self.fail(f"unknown escape '\\{escape}' in quotes", ", write a backslash as \\\\")
            return chr(int(escape[1:], 16))

        return _ESCAPE.sub(replacement, body)

    def value(self) -> tuple[Any, str | None]:
        """A JSON value or a bare word: the value, and the word if it was bare."""
        first = self.peek()
        if first in ('"', "'") and first:
            return self._closed(self.quoted()), None
        if first in ("{", "[") and first:
            return self._closed(self._json()), None
        word = self.word()
        if '"' in word or "'" in word:
            self.fail(f"quote inside the bare word {word!r}", ", quote the whole value")
        return number_in(word), word

    def _closed(self, value: Any) -> Any:
        """A quote or JSON ends at a space: `"a"b` is a slip."""
        if self.peek() not in ("", " ", "\t"):
            self.fail(f"unexpected {self.rest_of_word()!r}", " right after a value, put a space between them")
        return value

    def _json(self) -> Any:
        try:
            value, self.position = _JSON.raw_decode(self.text, self.position)
        except json.JSONDecodeError as error:
            if error.msg.startswith("Unterminated string"):
                self.position = error.pos
                self._fail_unclosed('unclosed quote "')
            self.fail("bad JSON", f", {error.msg} at column {error.pos + 1}: {self.text[self.position :].rstrip()}")
        except RecursionError:
            self.fail("bad JSON", ": nested too deeply")
        except ValueError as error:
            self.fail("bad JSON", f": {error}")
        return value
