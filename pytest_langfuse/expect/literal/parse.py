"""The tree literal: its grammar, read line by line.

    # one observation a line, what is indented is below it
    * user_id=u-1                       inherited by all lines after it, as deep as it or deeper, in its block
    span answer                         TYPE NAME
      2x tool "look up"                 a count: 2x, 1-3x, 1+x (one or more), 0+x; names with spaces are quoted
      any GET*                          any type; globs in names
      generation llm model=gpt-4o usage.total<=200 output~"doc" input? !metadata.debug "raw.attribute"=1 tags=$tags
        >> tool t                       a descendant at any depth; what is between is not compared
        score grounded value>=0.5       a score of the observation above it; at the first level, of its trace
      ...                               here may be further siblings

Lines are numbered from 1 at the first character of the string, so what follows `\"\"\"` on its line is line 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn

from pytest_langfuse.expect.literal.condition import Condition
from pytest_langfuse.expect.literal.condition_key import FIELDS, SCORE_KEYS
from pytest_langfuse.expect.literal.condition_reader import ConditionReader
from pytest_langfuse.expect.literal.expected_line import ANY_TYPE, ExpectedLine
from pytest_langfuse.expect.literal.expected_score import ExpectedScore
from pytest_langfuse.expect.literal.line_reader import LineReader
from pytest_langfuse.expect.literal.name_pattern import BARE_NAME, NamePattern
from pytest_langfuse.recording.observation import TYPES
from pytest_langfuse.suggest import closest, did_you_mean

#: pytest shows no frame of this module: a bad literal is the test's, not ours.
__tracebackhide__ = True

_COUNT: Final = re.compile(r"(\d+)(?:(\+)|-(\d+))?x(?=[ \t]|$)", re.ASCII)
_ALMOST_COUNT: Final = re.compile(r"x?\d+[+x.,-]*\d*x?|-\d+x|\+x", re.ASCII)
_INDENT: Final = re.compile(r"[ \t]*")
_GAP: Final = re.compile(r"(?:\.\.\.|…)(?=[ \t]|$)")
_SCORE: Final = re.compile(r"score(?=[ \t]|$)")
_DEEP: Final = re.compile(r">>(?=[ \t]|$)")
_STAR: Final = re.compile(r"\*(?=[ \t]|$)")
_KEY_AND_SIGN: Final = re.compile(r"!?[^\W\d][\w.-]*(?:[=!<>~:]|$)")
#: A run does not make more observations than a number of so many digits.
_COUNT_DIGITS: Final = 6
#: Parsed literals that are kept, and the length in characters up to which one is: a file of 100,000 lines is not.
_CACHED: Final = 256
_LONGEST_CACHED: Final = 10_000


def parse(literal: str, values: Mapping[str, Any] | None = None) -> ExpectedLine:
    """Return the root of the tree that `literal` expects; the root itself stands for no line.

    `values` are the values of the `$name` placeholders. Literals without placeholders are parsed once, so callers must
    not change what is returned.

    Raises:
        LiteralError: `literal` does not follow the grammar, a placeholder has no value, or a value no placeholder.
        TypeError: `literal` is not a string.
    """
    if not isinstance(literal, str):
        # For callers without a type checker.
        raise TypeError(f"a tree literal must be a str, not {type(literal).__name__}")
    if values or len(literal) > _LONGEST_CACHED or type(literal) is not str:
        return _Parser(values or {}).parse(literal)
    return _parse_once(literal)


@lru_cache(maxsize=_CACHED)
def _parse_once(literal: str) -> ExpectedLine:
    return _Parser({}).parse(literal)


class _IndentedBlock:
    """Lines of one indentation below one line."""

    __slots__ = ("children", "children_of", "indent", "inherited", "last")

    def __init__(self, indent: str, children_of: ExpectedLine, inherited: tuple[Condition, ...]) -> None:
        self.indent = indent
        self.children_of = children_of
        self.children: list[ExpectedLine] = []
        children_of.children = self.children
        self.inherited = inherited
        #: The line before: an observation, which can have children, or what cannot (`*`, `...`).
        self.last: ExpectedLine | str | None = None


class _Parser:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._conditions = ConditionReader(values)
        self._names: dict[str, NamePattern] = {}
        self._blocks: list[_IndentedBlock] = []
        self._root = ExpectedLine(ANY_TYPE, NamePattern("*"))

    def parse(self, literal: str) -> ExpectedLine:
        """Read all lines."""
        lines = literal.split("\n")
        for number, raw in enumerate(lines, 1):
            text = raw.rstrip(" \t\r")
            match = _INDENT.match(text)
            start = match.end() if match is not None else 0
            if start < len(text) and text[start] != "#":
                follows = lines[number] if number < len(lines) else ""
                self._line(LineReader(text, number, start, follows), text[:start])
        self._conditions.check_all_used()
        _pass_on(self._root)
        return self._root

    def _line(self, line: LineReader, indent: str) -> None:
        block = self._block(line, indent)
        if line.take(_GAP):
            if not line.at_end():
                line.fail(f"unexpected {line.rest_of_word()!r} after '...'")
            block.children_of.gaps |= {len(block.children)}
            block.last = "..."
        elif line.take(_STAR):
            self._star(line, block)
            block.last = "*"
        elif line.take(_SCORE):
            self._score(line, block)
            block.last = "score"
        else:
            block.last = expected = self._observation(line, block)
            expected.place = len(block.children)
            if expected.deep:
                block.children_of.descendants = (*block.children_of.descendants, expected)
            block.children.append(expected)

    def _block(self, line: LineReader, indent: str) -> _IndentedBlock:
        """The block that a line of this indentation belongs to; a deeper one than before opens a block."""
        blocks = self._blocks
        if not blocks:
            blocks.append(_IndentedBlock(indent, self._root, ()))
            return blocks[0]
        while len(blocks) > 1 and len(blocks[-1].indent) > len(indent):
            blocks.pop()
        block = blocks[-1]
        if indent == block.indent:
            return block
        if not indent.startswith(block.indent):
            if len(indent) < len(block.indent):
                line.fail("inconsistent indentation", ": it is indented less than the first line")
            line.fail("inconsistent indentation", ": tabs and spaces are mixed differently from the lines above")
        if block.last is None or isinstance(block.last, str):
            line.fail("inconsistent indentation", f": nothing can be below a '{block.last}' line")
        if block.last.children or block.last.gaps or block.last.stars or block.last.scores:
            line.fail("inconsistent indentation", ": it matches no line above")
        blocks.append(_IndentedBlock(indent, block.last, block.inherited))
        return blocks[-1]

    def _star(self, line: LineReader, block: _IndentedBlock) -> None:
        conditions = self._conditions.read(line)
        if not conditions:
            line.fail("missing condition after '*'", ", such as * user_id=u-1")
        block.inherited = (*_inherited(block, conditions), *conditions)
        text = " ".join(condition.text for condition in conditions)
        block.children_of.stars += ((len(block.children), text),)

    def _score(self, line: LineReader, block: _IndentedBlock) -> None:
        line.skip()
        score = ExpectedScore(self._name(line, "score"), self._conditions.read(line, SCORE_KEYS))
        self._root.names_scores = True
        if block.children_of is not self._root:
            block.children_of.scores = (*block.children_of.scores, score)
        else:
            # A score of the trace of the observation above it; above all of them, of any trace.
            above = block.children[-1] if block.children else self._root
            above.trace_scores = (*above.trace_scores, score)

    def _observation(self, line: LineReader, block: _IndentedBlock) -> ExpectedLine:
        low = 1
        high: int | None = 1
        count_text = ""
        deep = self._deep(line)
        if count := line.take(_COUNT):
            low, high, count_text = self._count(line, count)
            deep = deep or self._deep(line)
            if line.at_end():
                line.fail(f"missing type and name after {count_text!r}")
        kind = line.word()
        if kind == "score":
            if deep:
                line.fail("unexpected '>>'", ", a score line stands below its observation")
            line.fail(f"unexpected count {count_text!r}", ", a score line takes none")
        if kind != ANY_TYPE and kind not in TYPES:
            self._unknown_type(line, kind)
        name = self._name(line, kind)
        own = self._conditions.read(line)
        inherited = _inherited(block, own)
        return ExpectedLine(
            kind,
            name,
            own,
            inherited,
            low,
            high,
            line.number,
            parent=block.children_of,
            count_text=count_text,
            deep=deep,
        )

    @staticmethod
    def _deep(line: LineReader) -> bool:
        line.skip()
        deep = line.take(_DEEP) is not None
        if deep and line.at_end():
            line.fail("missing type and name after '>>'", ", such as >> generation llm")
        return deep

    @staticmethod
    def _count(line: LineReader, count: re.Match[str]) -> tuple[int, int | None, str]:
        if max(len(count[1]), len(count[3] or "")) > _COUNT_DIGITS:
            line.fail(f"count {count[0][:20]!r}", f" is too large, at most {'9' * _COUNT_DIGITS}")
        low = int(count[1])
        high = None if count[2] else int(count[3] or low)
        if high is not None and high < low:
            line.fail(f"count {count[0]!r}", f" ends before it starts, did you mean '{high}-{low}x'?")
        return low, high, count[0]

    @staticmethod
    def _unknown_type(line: LineReader, kind: str) -> NoReturn:
        if _ALMOST_COUNT.fullmatch(kind):
            line.fail(f"unknown count {kind!r}", ", counts are 2x, 1-3x, 1+x and 0+x")
        if kind.startswith(">"):
            line.fail(f"unexpected {kind!r}", ", a descendant at any depth is >> TYPE NAME")
        words = (ANY_TYPE, *TYPES, *(("score",) if closest(kind, ("score",)) else ()))
        hint = did_you_mean(kind, words, what="types")
        line.fail(f"unknown type {kind!r}", hint)

    def _name(self, line: LineReader, kind: str) -> NamePattern:
        if line.at_end():
            line.fail(f"missing name after {kind!r}", ", use * for any name")
        if line.peek() in ('"', "'"):
            start = line.position
            name = line.quoted()
            written = line.text[start : line.position]
            if line.peek() not in ("", " ", "\t"):
                line.fail(f"unexpected {line.rest_of_word()!r}", " right after a name, put a space between them")
            return self._names.setdefault(written, NamePattern(name, written=written))
        word = line.word()
        if (known := self._names.get(word)) is not None:
            return known
        if BARE_NAME.fullmatch(word):
            if word[-1] == "?" and word[:-1].split(".")[0] in FIELDS:
                line.fail(f"missing name before {word!r}", ", use * for any name")
            return self._names.setdefault(word, NamePattern(word))
        if _KEY_AND_SIGN.match(word):
            line.fail(f"missing name before {word!r}", ", use * for any name, quote one that contains an operator")
        return line.fail(f"bad name {word!r}", ", quote it")


def _inherited(block: _IndentedBlock, own: Sequence[Condition]) -> tuple[Condition, ...]:
    """Return the conditions of the block's `*` lines that `own` conditions do not replace."""
    if not (own and block.inherited):
        return block.inherited
    kept = tuple(old for old in block.inherited if not any(new.replaces(old) for new in own))
    return block.inherited if len(kept) == len(block.inherited) else kept


def _pass_on(root: ExpectedLine) -> None:
    """Tell the lines below a level of its `>>` lines."""
    stack = [root]
    while stack:
        line = stack.pop()
        passing = line.passing
        for child in line.children:
            child.reaching = passing
            stack.append(child)
