"""Secrets whose text is known, found in other texts however these spell them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from pytest_langfuse.rules.secrets.unescaped import Unescaped, has_coded_ascii, has_escapes

_RUN: Final = re.compile(r"[A-Za-z0-9]+")
#: Letters and digits that are looked for first, at least.
_SHORTEST_RUN: Final = 4
#: Characters of a secret without escapes that are looked for, at least.
_SHORTEST: Final = 6
#: Characters of a secret beside the mark of what is left out that count as a part of it, at least: at its beginning
#: they may be more.
LEAST_END: Final = 8
#: What many secrets begin with. It says what they are, and nothing of them: `sk-proj-...` stands in documentation.
_KNOWN_START: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://|sk-(?:proj|svcacct|admin|or-v1|ant-(?:api|admin)\d\d)-|github_pat_|[sr]k_(?:live|test|prod)_"
    r"|lsv2_[ps][tk]_|AQ\.Ab8RN6|pypi-AgEIcHlwaS5vcmc|eyJ(?:hbGciOi|0eXAiOi|raWQiOi)[\w-]*\."
    r"|-----BEGIN [A-Z0-9 ]+-----\s*|(?:bearer|basic)\s+",
    re.IGNORECASE,
)
_CUT: Final = re.compile(r"…|\.{3}|\\u2026")
#: A string in JSON that is known to be valid.
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)


@dataclass(slots=True)
class SoughtSecret:
    """A secret, and what is to stand in its place."""

    text: str
    mark: str
    #: Without escapes, as it is compared; also as it is where its backslashes are escaped by their number.
    plain: Sequence[str] = field(init=False)
    #: One of these is in each text that holds it, unless that has letters by their numbers.
    words: Sequence[str] = field(init=False)
    #: Characters of its beginning that count as a part of it where the rest was cut off, at least.
    least: int = field(init=False)

    def __post_init__(self) -> None:
        plain = (Unescaped(self.text).text if has_escapes(self.text) else self.text, self.text.replace("\\", ""))
        self.plain = [text for text in dict.fromkeys(plain) if len(text) >= _SHORTEST]
        run = max(_RUN.findall(self.text), key=len, default="")
        start = _KNOWN_START.match(self.text)
        self.least = LEAST_END if start is None else max(LEAST_END, start.end() + 1)
        self.words = (run,) if len(run) >= _SHORTEST_RUN else _words(self.text)

    @property
    def ends(self) -> tuple[str, str]:
        """The least that is left of it where something was cut off, at its end or at its start."""
        return self.text[: self.least], self.text[-LEAST_END:]

    def left_at_end(self, text: str) -> int:
        """Return how many characters at the end of a text would be taken for its beginning, if the text was cut."""
        return _head(self.text, text[-len(self.text) :], self.least)

    def left_at_start(self, text: str) -> int:
        """Return how many characters at the start of a text would be taken for its end."""
        return _tail(self.text, text[: len(self.text)], LEAST_END)

    def may_be_in(self, text: str) -> bool:
        """Return whether it can be in a text without letters by their numbers; fast."""
        return any(word in text for word in self.words)


def _words(text: str) -> Sequence[str]:
    """Return the longest word of a text, and how others write its first character."""
    word = max(re.split(r"[\W_]+", text), key=len)
    if word.isascii():
        return (word,)
    first = json.dumps(word[0])[2:7]
    return (
        word,
        first,
        first.upper().replace("U", "u"),
        f"x{ord(word[0]):02x}",
        f"{ord(word[0]):08x}",
        quote(word[0])[:3],
    )


def has_cut(text: str) -> bool:
    """Return whether something may have been left out of a text."""
    return "..." in text or "…" in text or "\\u2026" in text


class Replacement:
    """Replaces secrets in texts: as they are, as JSON, Python, URLs and HTML write them, and where they were cut."""

    def __init__(self, secrets: Sequence[SoughtSecret]) -> None:
        # A secret may be a part of another one.
        self._secrets = sorted(secrets, key=lambda one: -len(one.text))

    def of(self, text: str) -> str:
        """Return a text without the secrets. JSON stays JSON."""
        everywhere = has_coded_ascii(text) or has_cut(text)
        here = [one for one in self._secrets if everywhere or one.may_be_in(text)]
        if not here:
            return text
        if (whole := next((one.mark for one in here if one.text == text), None)) is not None:
            return whole
        found = _replaced(text, here)
        if found == text or not _is_json(text):
            return found
        # String by string: a secret may reach from one to the next, or be a number.
        found = _replaced(_STRING.sub(lambda match: self._string(match[0]), text), here)
        return found if _is_json(found) else json.dumps(here[0].mark)

    def _string(self, written: str) -> str:
        text = json.loads(written, strict=False)
        found = self.of(text)
        return written if found == text else json.dumps(found, ensure_ascii=written.isascii())


def _replaced(text: str, secrets: Sequence[SoughtSecret]) -> str:
    for one in secrets:
        text = text.replace(one.text, one.mark)
    if has_escapes(text):
        text = _without(text, lambda: _escaped(text, secrets))
    if has_cut(text):
        text = _without(text, lambda: _cut(text, secrets))
    return text


_Span = tuple[int, int, str]


def _without(text: str, spans: Callable[[], Iterator[_Span]]) -> str:
    """Return a text with a mark in place of each span; of those that overlap, the first one."""
    parts: list[str] = []
    end = 0
    for first, last, mark in sorted(spans(), key=lambda span: (span[0], -span[1])):
        if first >= end:
            parts += text[end:first], mark
            end = last
    return "".join((*parts, text[end:])) if parts else text


def _escaped(text: str, secrets: Sequence[SoughtSecret]) -> Iterator[_Span]:
    plain = Unescaped(text)
    for one in secrets:
        for sought in one.plain:
            for place in _places(sought, plain.text):
                yield plain.was_at(place), plain.was_at(place + len(sought)), one.mark


def _cut(text: str, secrets: Sequence[SoughtSecret]) -> Iterator[_Span]:
    """Yield what is left of secrets that somebody else has cut: `sk-proj-Zq8v...9Qx`."""
    cuts = [match.span() for match in _CUT.finditer(text)]
    for one in secrets:
        secret = one.text
        if not any(end in text for end in one.ends):
            continue
        for first, last in cuts:
            before, after = text[max(0, first - len(secret)) : first], text[last : last + len(secret)]
            # Once one end is long enough to be one of its ends, the other one may be short.
            if head := _head(secret, before, one.least):
                yield first - head, last + _tail(secret, after, 1), one.mark
            elif tail := _tail(secret, after, LEAST_END):
                yield first - _head(secret, before, 1), last + tail, one.mark


def _head(secret: str, text: str, least: int) -> int:
    """Return how many characters at the end of a text, at least `least`, are the first ones of a secret; else 0."""
    place = text.find(secret[:least])
    while place >= 0 and not secret.startswith(text[place:]):
        place = text.find(secret[:least], place + 1)
    return len(text) - place if place >= 0 else 0


def _tail(secret: str, text: str, least: int) -> int:
    """Return how many characters at the start of a text, at least `least`, are the last ones of a secret; else 0."""
    end = text.rfind(secret[-least:]) + least
    while end >= least and not secret.endswith(text[:end]):
        end = text.rfind(secret[-least:], 0, end - 1) + least
    return end if end >= least else 0


def _places(part: str, text: str) -> Iterator[int]:
    place = text.find(part)
    while place >= 0:
        yield place
        place = text.find(part, place + len(part))


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[", '"')):
        return False
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True
