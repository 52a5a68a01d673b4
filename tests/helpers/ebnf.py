"""A grammar in the notation of the XML specification: it makes sentences, and recognises them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|(\[\^?[^\]]*\])|(\w+)|([()|?*+]))""")
_CHARACTER = re.compile(r"#x([0-9A-F]+)|(.)", re.DOTALL)
#: Characters that sentences are made of, where a class allows them.
_ALPHABET = "aZ09_-. \t#!\"'=<>~$\\/{}[]():*?…éx\xa0"
#: More repetitions make sentences long, not different.
_MOST = 2


@dataclass
class Grammar:
    """Rules by name. `terminals` are rules in Python: all ends of what they match, and examples."""

    rules: dict[str, Any]
    terminals: dict[str, tuple[Callable[[str, int], Iterator[int]], list[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Grammar:
        found = re.split(r"^(\w+)\s*::=", text, flags=re.MULTILINE)[1:]
        return cls({name: _Reader(body).choice() for name, body in zip(found[::2], found[1::2], strict=True)})

    def undefined(self) -> set[str]:
        def names(node: Any) -> Iterator[str]:
            if isinstance(node, tuple):
                if node[0] == "rule":
                    yield node[1]
                for part in node:
                    yield from names(part)
            elif isinstance(node, list):
                for part in node:
                    yield from names(part)

        return set(names(list(self.rules.values()))) - set(self.rules)

    def sentence(self, rule: str, chance: random.Random) -> str:
        """A sentence of this rule."""
        return self._make(("rule", rule), chance)

    def recognises(self, rule: str, text: str) -> bool:
        """Whether all of a text is a sentence of this rule."""
        return len(text) in self._ends(("rule", rule), text, 0)

    def _make(self, node: Any, chance: random.Random) -> str:
        kind, what = node
        if kind == "text":
            return str(what)
        if kind == "class":
            return chance.choice([one for one in _ALPHABET if what.match(one)] or list("0123456789"))
        if kind == "rule":
            return (
                chance.choice(self.terminals[what][1])
                if what in self.terminals
                else self._make(self.rules[what], chance)
            )
        if kind == "all":
            return "".join(self._make(part, chance) for part in what)
        if kind == "one":
            return self._make(chance.choice(what), chance)
        part, low, high = what
        return "".join(self._make(part, chance) for _ in range(chance.randint(low, min(high, low + _MOST))))

    def _ends(self, node: Any, text: str, start: int) -> set[int]:  # noqa: PLR0911 - one for each kind
        kind, what = node
        if kind == "text":
            return {start + len(what)} if text.startswith(what, start) else set()
        if kind == "class":
            return {start + 1} if what.match(text, start) else set()
        if kind == "rule":
            if what in self.terminals:
                return set(self.terminals[what][0](text, start))
            return self._ends(self.rules[what], text, start)
        if kind == "all":
            ends = {start}
            for part in what:
                ends = {end for one in ends for end in self._ends(part, text, one)}
            return ends
        if kind == "one":
            return {end for part in what for end in self._ends(part, text, start)}
        part, low, high = what
        found, ends, times = (set() if low else {start}), {start}, 0
        while ends and times < high:
            times += 1
            ends = {end for one in ends for end in self._ends(part, text, one)} - found
            if times >= low:
                found |= ends
        return found


class _Reader:
    """Reads the right side of a rule."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text.strip(), 0

    def choice(self) -> Any:
        options = [self._sequence()]
        while self._peek("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else ("one", options)

    def _peek(self, sign: str) -> bool:
        match = _TOKEN.match(self.text, self.place)
        if match is None or match[5] != sign:
            return False
        self.place = match.end()
        return True

    def _sequence(self) -> Any:
        parts = []
        while (match := _TOKEN.match(self.text, self.place)) and match[5] not in {"|", ")"}:
            self.place = match.end()
            part: Any
            if match[5] == "(":
                part = self.choice()
                assert self._peek(")"), self.text[self.place :]
            elif match[3]:
                part = ("class", _characters(match[3]))
            elif match[4]:
                part = ("rule", match[4])
            else:
                part = ("text", match[1] if match[1] is not None else match[2])
            for sign, low, high in (("?", 0, 1), ("*", 0, 1000), ("+", 1, 1000)):
                if self._peek(sign):
                    part = ("times", (part, low, high))
            parts.append(part)
        assert match or self.place == len(self.text), self.text[self.place :]
        return parts[0] if len(parts) == 1 else ("all", parts)


def _characters(text: str) -> re.Pattern[str]:
    r"""`[^"\\#xA]` as a regular expression: in the notation, nothing but `#x` and `-` between two is special."""
    negated = text.startswith("[^")
    inside = [chr(int(code, 16)) if code else one for code, one in _CHARACTER.findall(text[1 + negated : -1])]
    escaped = "".join(
        "-" if one == "-" and 0 < at < len(inside) - 1 else re.escape(one) for at, one in enumerate(inside)
    )
    return re.compile(f"[{'^' if negated else ''}{escaped}]")
