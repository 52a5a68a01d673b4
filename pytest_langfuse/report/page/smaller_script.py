"""The page's script without what only its readers need: blanks, comments, parentheses, and long names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from string import ascii_letters
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<blank>[ \t]+|/\*.*?\*/)
    | (?P<newline>\n+)
    | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<word>[A-Za-z_$][\w$]*)
    | (?P<number>\d[\w.]*)
    | (?P<sign>=>|[=!]==?|\+\+|--|\.\.\.|\?\.(?!\d)|\?\?|&&|\|\||.)
    """,
    re.VERBOSE | re.DOTALL,
)
#: A regular expression: `/` where no value is before it, which it could divide.
_PATTERN: Final = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*")
#: A part of a template: up to the next value in it, or to its end.
_TEMPLATE: Final = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*(?:`|\$\{)", re.DOTALL)
_WORDS: Final = """
async await break case catch class const continue default delete do else extends finally for function get if in
instanceof let new null of return set static super switch this throw try typeof void while yield
"""
_KEYWORDS: Final = frozenset(_WORDS.split())
_SHORTER: Final = {"true": "!0", "false": "!1", "Infinity": "1/0", "undefined": "void 0", "const": "let"}
#: What can't end a statement, and what can't begin one: a line may be joined to it.
_NO_END, _NO_BEGINNING = frozenset(";{,([&|?:=!"), frozenset("})].&|?:,")
#: What stands before a `{` that begins a block; before others it begins an object, or takes one apart.
_BEFORE_BLOCKS: Final = frozenset(("", ")", "=>", ";", "{", "}", "do", "else", "try", "catch", "finally"))


@dataclass(slots=True)
class _Token:
    kind: str
    text: str
    #: The bracket in which it stands: `(`, `[`, `${`, `{` of a block, "object" or "class".
    inside: str = "{"
    #: Whether it names something of the script, which may be called otherwise.
    is_name: bool = False
    #: Whether it is a property and its value at once: `{ name }`.
    is_shorthand: bool = False


def smaller(script: str) -> str:
    """Return a script that does the same, in fewer bytes.

    Its statements end with `;` or `}`, and none of its names is that of a global which it also uses.
    """
    tokens = list(_tokens(script))
    _mark(tokens)
    names = _short_names(tokens)
    for token in tokens:
        if token.is_name and token.text in names:
            short = names[token.text]
            token.text = f"{token.text}:{short}" if token.is_shorthand else short
        elif token.is_name or (token.kind, token.text) == ("word", "const"):
            token.text = _SHORTER.get(token.text, token.text)
    return _written(_without_parentheses(_declared_together(tokens)))


# -- tokens --------------------------------------------------------------------------------------------------------


def _tokens(script: str) -> Iterator[_Token]:
    at, before = 0, ""
    #: How many braces are open in each value of a template.
    values: list[int] = []
    while at < len(script):
        if script[at] == "`" or (script[at] == "}" and values and not values[-1]):
            match = _TEMPLATE.match(script, at + 1)
            if match is None:
                raise ValueError(f"a template has no end: {script[at : at + 50]}")
            if script[at] == "}":
                values.pop()
            if match[0].endswith("${"):
                values.append(0)
            kind = "template" if script[at] == "`" else "template-part"
            yield _Token(kind, script[at] + match[0])
            at, before = match.end(), "`" if match[0].endswith("`") else "${"
            continue
        divides = before in (")", "]", "}", "`") or before[:1].isalnum() or before[:1] in "_$\"'"
        is_pattern = script[at] == "/" and script[at + 1 : at + 2] != "*" and (not divides or before in _KEYWORDS)
        match, kind = _PATTERN.match(script, at) if is_pattern else None, "pattern"
        if match is None:
            match = _TOKEN.match(script, at)
            assert match is not None  # noqa: S101 - a sign is anything
            kind = str(match.lastgroup)
        at = match.end()
        if kind == "blank":
            continue
        if kind != "newline":
            before = match[0]
        if values and kind == "sign":
            values[-1] += (match[0] == "{") - (match[0] == "}")
        yield _Token(kind, match[0])


def _mark(tokens: Sequence[_Token]) -> None:
    """Find in which brackets tokens stand, and which words are names that the script declares."""
    shown = [token for token in tokens if token.kind != "newline"]
    _put_inside(shown)
    empty = _Token("", "")
    for before, token, after in zip([empty, *shown], shown, [*shown[1:], empty], strict=False):
        if token.kind != "word" or token.text in _KEYWORDS or token.inside == "class" or before.text in (".", "?."):
            continue
        is_first = token.inside == "object" and before.text in ("{", ",")
        token.is_name = not (is_first and after.text == ":")
        token.is_shorthand = is_first and after.text in (",", "}", "=")


def _put_inside(tokens: Sequence[_Token]) -> None:
    brackets = ["{"]
    before, is_class = "", False
    for at, token in enumerate(tokens):
        text = token.text
        is_template = token.kind.startswith("template")
        if (token.kind == "sign" and text in (")", "]", "}")) or token.kind == "template-part":
            brackets.pop()
        token.inside = brackets[-1]
        if is_template and text.endswith("${"):
            brackets.append("${")
        elif token.kind == "sign" and text in ("(", "["):
            brackets.append(text)
        elif token.kind == "sign" and text == "{":
            brackets.append("class" if is_class else "{" if before in _BEFORE_BLOCKS else "object")
            is_class = False
        # Not where it is the name of a property.
        is_class = is_class or (text == "class" and tokens[at + 1].kind == "word")
        before = text


# -- names ---------------------------------------------------------------------------------------------------------


def _short_names(tokens: Sequence[_Token]) -> dict[str, str]:
    """Return shorter names for those that are declared, the shortest ones for what is used most."""
    declared = _declared([token for token in tokens if token.kind != "newline"])
    uses = Counter(token.text for token in tokens if token.is_name)
    taken = _KEYWORDS | (set(uses) - declared)
    letters = ("".join(some) for length in (1, 2) for some in product(ascii_letters, repeat=length))
    free = (name for name in letters if name not in taken)
    # In the order of their names where they are used as often: the same script makes the same page.
    order = sorted(declared, key=lambda name: (-uses[name], name))
    return dict(zip(order, free, strict=False))


def _declared(tokens: Sequence[_Token]) -> set[str]:
    found: set[str] = set()
    partner = _partners(tokens)
    for at, token in enumerate(tokens):
        after = tokens[at + 1] if at + 1 < len(tokens) else token
        if token.text in ("const", "let", "class", "function") and token.kind == "word":
            name = tokens[at + 2] if after.text == "*" else after
            if name.kind == "word":
                found.add(name.text)
            elif name.text in ("{", "["):
                found |= _bound(tokens[at + 1 : partner[at + 1] + 1])
        elif token.text == "=>" and tokens[at - 1].kind == "word":
            found.add(tokens[at - 1].text)
        elif token.text == ")" and token.kind == "sign" and after.text in ("=>", "{"):
            opening = partner[at]
            before = tokens[opening - 1]
            if after.text == "=>" or before.text == "catch" or (before.kind == "word" and before.text not in _KEYWORDS):
                found |= _bound(tokens[opening : at + 1])
    return found


def _bound(tokens: Sequence[_Token]) -> set[str]:
    """Return the names that are bound in parentheses or brackets, such as those of a function."""
    return {
        token.text
        for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if token.is_name and before.text in ("(", ",", "{", "[", ":", "...") and after.text in (",", ")", "}", "]", "=")
    }


def _partners(tokens: Sequence[_Token]) -> dict[int, int]:
    """Return where each bracket has its other one."""
    found: dict[int, int] = {}
    open_ones: list[int] = []
    for at, token in enumerate(tokens):
        if token.kind == "sign" and token.text in ("(", "[", "{"):
            open_ones.append(at)
        elif token.kind == "sign" and token.text in (")", "]", "}"):
            found[at] = open_ones.pop()
            found[found[at]] = at
    return found


# -- text ----------------------------------------------------------------------------------------------------------


def _declared_together(tokens: Sequence[_Token]) -> list[_Token]:
    """Make one declaration of those that follow one another."""
    found: list[_Token] = []
    # Whether the statement that is open in each bracket is a declaration.
    is_declaration = [False]
    before = ""
    for token in tokens:
        if token.kind == "newline":
            found.append(token)
            continue
        if token.text == "let" and token.kind == "word" and token.inside == "{" and before in ("", ";", "{", "}"):
            if before == ";" and is_declaration[-1]:
                while found[-1].text != ";":
                    found.pop()
                found[-1].text = ","
                before = ","
                continue
            is_declaration[-1] = True
        elif before in (";", "{") or (before == "}" and token.kind == "word"):
            is_declaration[-1] = False
        if token.kind == "sign" and token.text in ("(", "[", "{"):
            is_declaration.append(False)
        elif token.kind == "sign" and token.text in (")", "]", "}"):
            is_declaration.pop()
        found.append(token)
        before = token.text
    return found


def _without_parentheses(tokens: Sequence[_Token]) -> list[_Token]:
    """Leave out the parentheses of functions with one argument."""
    found: list[_Token] = []
    for token in tokens:
        found.append(token)
        opening, name, closing = found[-4:-1] if len(found) > 3 else [token] * 3  # noqa: PLR2004 - `(`, a name, `)`
        if (token.text, opening.text, closing.text) == ("=>", "(", ")") and name.kind == "word":
            found[-4:] = [name, token]
    return found


def _written(tokens: Sequence[_Token]) -> str:
    parts: list[str] = []
    before = _Token("", ";")
    after = [*tokens[1:], _Token("", "}")]
    for token, following in zip(tokens, after, strict=True):
        if token.kind == "newline":
            if before.text == "=>" or before.text[-1:] in _NO_END or following.text[:1] in _NO_BEGINNING:
                continue
        elif (_is_word(before.text[-1:]) and _is_word(token.text[:1])) or (
            before.text[-1:] in ("+", "-") and token.text[:1] == before.text[-1:]
        ):
            parts.append(" ")
        if token.text == "}" and token.kind == "sign" and parts[-1:] == [";"]:
            parts.pop()
        parts.append(token.text)
        before = token
    return "".join(parts)


def _is_word(char: str) -> bool:
    return char.isalnum() or char in ("_", "$")
