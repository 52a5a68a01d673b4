"""The tree literal: its grammar, read line by line.

    # one observation a line, what is indented is below it
    * user_id=u-1                       inherited by all lines after it, as deep as it or deeper, in its block
    span answer                         TYPE NAME
      2x tool "look up"                 a count: 2x, 1+x (one or more), 0+x; names with blanks are quoted
      any GET*                          any type; globs in names
      generation llm model=gpt-4o usage.total<=200 output~"doc" input? !metadata.debug "raw.attribute"=1 tags=$tags
      ...                               here may be further siblings

Lines are numbered from 1 at the first character of the string, so what follows `\"\"\"` on its line is line 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, NoReturn

from pytest_langfuse.expect.condition import OPERATORS, Condition
from pytest_langfuse.expect.errors import LiteralError
from pytest_langfuse.expect.expected import ANY_TYPE, Expected
from pytest_langfuse.expect.key import FIELDS, Key, unknown_field
from pytest_langfuse.expect.name import BARE_NAME, Name
from pytest_langfuse.expect.scan import Line
from pytest_langfuse.expect.suggest import did_you_mean
from pytest_langfuse.expect.values import quoted
from pytest_langfuse.recording.observation import TYPES

#: pytest shows no frame of this module: a bad literal is the test's, not ours.
__tracebackhide__ = True

_COUNT: Final = re.compile(r"(\d+)(\+?)x(?=[ \t]|$)", re.ASCII)
_ALMOST_COUNT: Final = re.compile(r"x?\d+[+x-]*\d*x?", re.ASCII)
_INDENT: Final = re.compile(r"[ \t]*")
_GAP: Final = re.compile(r"(?:\.\.\.|…)(?=[ \t]|$)")
_STAR: Final = re.compile(r"\*(?=[ \t]|$)")
_PART: Final = re.compile(r"[\w-]+")
_FIRST_PART: Final = re.compile(r"[^\W\d][\w-]*")
_SIGNS: Final = re.compile(r"[=!<>~:]+")
_KEY_AND_SIGN: Final = re.compile(r"!?[^\W\d][\w.-]*(?:[=!<>~:]|$)")
_PRESENT: Final = re.compile(r"\?(?=[ \t]|$)")
_PLACEHOLDER: Final = re.compile(r"\$(\w+)(?=[ \t]|$)")
_SIGN_ALIASES: Final[Mapping[str, str]] = {
    "==": "=", ":": "=", ":=": "=", "===": "=", "=~": "~", "~=": "~", "=>": ">=", "=<": "<=", "<>": "!=", "!==": "!="
}  # fmt: skip

#: Words for an argument that `assert_tree` has for itself.
_RESERVED: Final = ("order",)


def parse(literal: str, values: Mapping[str, Any] | None = None) -> Expected:
    """The root of what `literal` expects; it stands for no line itself.

    `values` are what the `$name` placeholders stand for. Raises `LiteralError` for anything that the grammar does not
    know, for a placeholder without a value and for a value without a placeholder.
    """
    return _Parser(values or {}).parse(literal)


class _Block:
    """Lines of one indentation below one line."""

    __slots__ = ("children_of", "indent", "inherited", "last")

    def __init__(self, indent: str, children_of: Expected, inherited: tuple[Condition, ...]) -> None:
        self.indent = indent
        self.children_of = children_of
        self.inherited = inherited
        #: The line before: an observation, which can have children, or what cannot (`*`, `...`).
        self.last: Expected | str | None = None


class _Parser:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._used: set[str] = set()
        self._blocks: list[_Block] = []
        self._root = Expected(ANY_TYPE, Name("*"))

    def parse(self, literal: str) -> Expected:
        """Read all lines."""
        lines = literal.split("\n")
        for number, raw in enumerate(lines, 1):
            text = raw.rstrip(" \t\r")
            match = _INDENT.match(text)
            start = match.end() if match is not None else 0
            if start < len(text) and text[start] != "#":
                follows = lines[number] if number < len(lines) else ""
                self._line(Line(text, number, start, follows), text[:start])
        unused = [name for name in self._values if name not in self._used]
        if unused:
            hint = did_you_mean(unused[0], sorted(self._used), what="placeholders")
            raise LiteralError(f"the literal has no placeholder '${unused[0]}'{hint}")
        return self._root

    def _line(self, line: Line, indent: str) -> None:
        block = self._block(line, indent)
        if line.take(_GAP):
            if not line.at_end():
                line.fail(f"unexpected {line.rest_of_word()!r} behind '...'")
            block.children_of.gaps.add(len(block.children_of.children))
            block.last = "..."
        elif line.take(_STAR):
            self._star(line, block)
            block.last = "*"
        else:
            block.last = expected = self._observation(line, block)
            expected.place = len(block.children_of.children)
            block.children_of.children.append(expected)

    def _block(self, line: Line, indent: str) -> _Block:
        """The block that a line of this indentation belongs to; a deeper one than before opens a block."""
        blocks = self._blocks
        if not blocks:
            blocks.append(_Block(indent, self._root, ()))
            return blocks[0]
        while len(blocks) > 1 and len(blocks[-1].indent) > len(indent):
            blocks.pop()
        block = blocks[-1]
        if indent == block.indent:
            return block
        if not indent.startswith(block.indent):
            if len(indent) < len(block.indent):
                line.fail("inconsistent indentation", ": it is indented less than the first line")
            line.fail("inconsistent indentation", ": tabs and blanks are mixed in another way than above")
        if block.last is None or isinstance(block.last, str):
            line.fail("inconsistent indentation", f": nothing can be below a '{block.last}' line")
        if block.last.children or block.last.gaps or block.last.stars:
            line.fail("inconsistent indentation", ": it matches no line above")
        blocks.append(_Block(indent, block.last, block.inherited))
        return blocks[-1]

    def _star(self, line: Line, block: _Block) -> None:
        conditions = self._conditions(line)
        if not conditions:
            line.fail("missing condition behind '*'", ", such as * user_id=u-1")
        kept = [old for old in block.inherited if not any(new.replaces(old) for new in conditions)]
        block.inherited = (*kept, *conditions)
        place = len(block.children_of.children)
        block.children_of.stars.setdefault(place, []).append(" ".join(condition.text for condition in conditions))

    def _observation(self, line: Line, block: _Block) -> Expected:
        low = 1
        high: int | None = 1
        count_text = ""
        if count := line.take(_COUNT):
            low = int(count[1])
            high, count_text = None if count[2] else low, count[0]
            if line.at_end():
                line.fail(f"missing type and name behind {count_text!r}")
        kind = line.word()
        if kind != ANY_TYPE and kind not in TYPES:
            self._unknown_type(line, kind)
        name = self._name(line, kind)
        own = tuple(self._conditions(line))
        inherited = tuple(old for old in block.inherited if not any(new.replaces(old) for new in own))
        return Expected(
            kind, name, own, inherited, low, high, line.number, parent=block.children_of, count_text=count_text
        )

    @staticmethod
    def _unknown_type(line: Line, kind: str) -> NoReturn:
        if _ALMOST_COUNT.fullmatch(kind):
            line.fail(f"unknown count {kind!r}", ", counts are 2x, 1+x and 0+x")
        hint = did_you_mean(kind, (ANY_TYPE, *TYPES), what="types")
        line.fail(f"unknown type {kind!r}", hint)

    @staticmethod
    def _name(line: Line, kind: str) -> Name:
        if line.at_end():
            line.fail(f"missing name behind {kind!r}", ", any name is *")
        if line.peek() in ('"', "'"):
            start = line.position
            name = line.quoted()
            written = line.text[start : line.position]
            if line.peek() not in ("", " ", "\t"):
                line.fail(f"unexpected {line.rest_of_word()!r}", " right behind a name, put a blank between them")
            return Name(name, written=written)
        word = line.word()
        if BARE_NAME.fullmatch(word):
            if word[-1] == "?" and word[:-1].split(".")[0] in FIELDS:
                line.fail(f"missing name before {word!r}", ", any name is *")
            return Name(word)
        if _KEY_AND_SIGN.match(word):
            line.fail(f"missing name before {word!r}", ", any name is *, and a name with an operator in it is quoted")
        return line.fail(f"bad name {word!r}", ", quote it")

    # -- conditions --------------------------------------------------------------------------------------------

    def _conditions(self, line: Line) -> list[Condition]:
        conditions: list[Condition] = []
        seen: set[tuple[str, str]] = set()
        while not line.at_end():
            condition = self._condition(line)
            identity = (condition.key.text, condition.operator)
            if identity in seen:
                line.fail(f"duplicate condition {condition.text!r}")
            seen.add(identity)
            conditions.append(condition)
        return conditions

    def _condition(self, line: Line) -> Condition:
        start = line.position
        if line.peek() == "!" and line.text[start + 1 : start + 2] not in ("", " ", "\t", "=", "~"):
            line.position += 1
            key = self._key(line, start)
            if line.peek() not in ("", " ", "\t"):
                line.fail(
                    f"unexpected {line.rest_of_word()!r}", f" behind '!{key.text}', which says that none is there"
                )
            return Condition(key, "!", None, f"!{key.text}")
        key = self._key(line, start)
        if line.take(_PRESENT):
            return Condition(key, "?", None, f"{key.text}?")
        line.skip()
        signs = line.take(_SIGNS)
        if signs is None:
            line.position = start
            self._unknown_word(line)
        sign = signs[0]
        if sign not in OPERATORS:
            known = _SIGN_ALIASES.get(sign)
            hint = f", did you mean {known!r}?" if known else f", operators are: {' '.join(OPERATORS)} KEY? !KEY"
            line.fail(f"unknown operator {sign!r}", hint)
        return self._comparison(line, key, sign)

    def _key(self, line: Line, start: int) -> Key:
        if line.peek() in ('"', "'"):
            text_start = line.position
            attribute = line.quoted()
            return Key(line.text[text_start : line.position], (attribute,), raw_attribute=True)
        first = line.take(_FIRST_PART)
        if first is None:
            line.position = start
            self._unknown_word(line)
        text_start = first.start()
        path = [first[0]]
        while line.peek() == ".":
            line.position += 1
            if line.peek() in ('"', "'"):
                path.append(line.quoted())
            elif part := line.take(_PART):
                path.append(part[0])
            else:
                line.fail(f"missing part behind {line.text[text_start : line.position]!r}")
        text = line.text[text_start : line.position]
        problem = unknown_field(path)
        if problem is None:
            return Key(text, tuple(path))
        behind = line.text[line.position :]
        if text_start == start and behind[:1] in ("", " ", "\t") and not _SIGNS.match(behind.lstrip(" \t")):
            line.position = start
            self._unknown_word(line)
        return line.fail(f"unknown key {text!r}", problem)

    @staticmethod
    def _unknown_word(line: Line) -> NoReturn:
        word = line.rest_of_word()
        if sign := _SIGNS.match(word):
            line.fail(f"unexpected operator {sign[0]!r}", ", a key belongs before it")
        before = line.text[: line.position].split()
        if close := get_close_matches(word, FIELDS, n=1):
            line.fail(f"unknown word {word!r}", f", did you mean '{close[0]}=…' or '{close[0]}?' (any value)?")
        name = before[-1] if before else ""
        if len(before) > 1 and BARE_NAME.fullmatch(name) and before[-2] in (*TYPES, ANY_TYPE):
            line.fail(f"unknown word {word!r}", f", a name with a blank in it is quoted: {quoted(f'{name} {word}')}")
        line.fail(f"unknown word {word!r}", ", conditions look like model=gpt-4o, output? or !user_id")

    def _comparison(self, line: Line, key: Key, sign: str) -> Condition:
        line.skip()
        start = line.position
        if line.at_end():
            line.fail(f"missing value behind '{key.text}{sign}'", ', an empty string is ""')
        placeholder = line.peek() == "$"
        value, word = (self._placeholder(line), None) if placeholder else line.value()
        text = f"{key.text}{sign}{line.text[start : line.position]}"
        pattern = None
        if sign == "~":
            value, word = (word if word is not None else value), None
            pattern = self._pattern(line, value)
        elif sign not in ("=", "!=") and not placeholder and not _is_number(value):
            line.fail(f"operator {sign!r}", f" compares numbers, not {line.text[start : line.position]}")
        if word is not None and word == value:
            word = None
        return Condition(key, sign, value, text, word, pattern, placeholder)

    def _placeholder(self, line: Line) -> Any:
        match = line.take(_PLACEHOLDER)
        if match is None:
            line.fail(f"bad placeholder {line.rest_of_word()!r}", ", a value that starts with $ is quoted")
        name = match[1]
        if name not in self._values:
            if name in _RESERVED:
                line.fail(f"placeholder '${name}' cannot be used", f", {name}= is an option of assert_tree")
            hint = did_you_mean(name, [other for other in self._values if other not in self._used], what="values given")
            line.fail(f"no value for '${name}'", hint or f", pass it as {name}=…")
        self._used.add(name)
        return self._values[name]

    @staticmethod
    def _pattern(line: Line, value: Any) -> re.Pattern[str]:
        if isinstance(value, re.Pattern):
            return value
        if not isinstance(value, str):
            line.fail("operator '~'", f" takes a regular expression, not {value!r}")
        try:
            return re.compile(value)
        except re.error as error:
            return line.fail(f"bad regex {value!r}", f": {error}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
