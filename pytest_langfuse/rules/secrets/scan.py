"""Find secrets in a text, by their kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

from pytest_langfuse.rules.secrets.betterleaks import TABLE

#: A quote as it stands in text, or in JSON inside of JSON; and one that may be missing.
_QUOTED: Final = r"""\\{0,3}["']"""
_QUOTE: Final = f"(?:{_QUOTED})?"
_SPACE: Final = r"(?:\s|\\{1,3}[nrt])*+"
#: What is between a label and its value: `label: value`, `"label": ["value`, `("label", "value")`, `b'label', b'value'`
#: or `"name": "label", "value": "value"`. A run of spaces is never read in two ways.
_LABELS: Final = (
    rf"(?:{_QUOTE}\s*+[:=]\s*+(?:[\[(]\s*+)?b?{_QUOTE}|{_QUOTED}\s*+,\s*+b?{_QUOTED}"
    rf"|{_QUOTE}{_SPACE}(?:,{_SPACE})?{_QUOTE}value{_QUOTE}\s*+[:=]\s*+b?{_QUOTE})"
)
_URL: Final = "://"
#: Patterns that are not in the table. Those of group "value" are labelled: what is behind a label may be anything.
_OWN: Final = (
    ("a Langfuse secret key", ("sk-lf-",), r"\bsk-lf-[A-Za-z0-9-]{18,}"),
    (
        "an Authorization header",
        ("authorization",),
        rf"(?i)(?<![a-z0-9])authorization{_LABELS}(?:bearer|basic|token)\s+(?P<value>[\w.~+/=-]{{16,}})",
    ),
    (
        "a URL with a password",
        (_URL,),
        (
            r"""(?i)\b[a-z][a-z0-9+.-]{1,20}://(?P<user>[^\s/:@"'<>\\]{0,64}):(?P<value>[^\s/@"'<>\\]{3,128})"""
            r"""@(?P<host>[^\s/:@"'<>\\]{1,253})"""
        ),
    ),
    (
        "an AWS secret access key",
        ("secret",),
        (
            r"(?i)(?:aws[ _-]?secret(?:[ _-]?access)?[ _-]?key|secret[ _-]?access[ _-]?key)"
            rf"(?:{_LABELS}|{_QUOTE}\s+is\s+{_QUOTE})(?P<value>[A-Za-z0-9/+]{{40}})(?![A-Za-z0-9/+=])"
        ),
    ),
    ("a Google OAuth token", ("ya29.",), r"\bya29\.[\w-]{20,}"),
)
#: Examples in documentation, in prompts and in what models answer.
_PLACEHOLDER: Final = re.compile(r"example|your[-_]|x{4}|\.{3}|\*{3}|(.)\1{5}|1234567|abcdefg", re.IGNORECASE)
#: Behind a label these, too: in a random key they could stand by chance.
_LABELLED_PLACEHOLDER: Final = re.compile(
    r"secret|passw|^pass$|^pwd$|redacted|test|changeme|token|api[-_]?key|^[$%{<\[]|[>}\]]$", re.IGNORECASE
)
#: Letters, digits and what keys have between them become "t".
_TOKENS: Final = bytes(
    ord("t") if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "_-+") else ord(" ") for byte in range(256)
)
#: No secret has all of its runs shorter; most words are.
_RUN: Final = b"t" * 18
_URL_PATTERN: Final = len(TABLE) + next(number for number, (_, words, _) in enumerate(_OWN) if _URL in words)
_PASSWORD_IN_URL: Final = re.compile(r"://[^\s/@]{0,64}:[^\s/@]+@")


class Secret(NamedTuple):
    """A secret that was found: the kind of it, and its text, which no report may show.

    `value` is the part of the text that is secret: all of it, unless there is a label before it.
    """

    kind: str
    text: str
    value: str


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return all patterns; compiling takes milliseconds, which a run without a suspicious text does not spend."""
    return tuple((kind, re.compile(pattern, re.ASCII)) for kind, _, pattern in (*TABLE, *_OWN))


class _Words(NamedTuple):
    """The words without which a pattern finds nothing, each with the number of the pattern."""

    #: Those that a key begins with, so that they are in its long run of token characters.
    of_keys: Sequence[tuple[str, int]]
    any_of_keys: re.Pattern[str]
    others: Sequence[tuple[str, int]]


@cache
def _words() -> _Words:
    of_keys, others = [], []
    for number, (_, words, _) in enumerate((*TABLE, *_OWN)):
        for word in words:
            is_token = word.encode().translate(_TOKENS).count(b"t") == len(word) and not word.startswith("-")
            if number < len(TABLE) and is_token:
                of_keys.append((word, number))
            elif word != _URL:
                others.append((word, number))
    return _Words(of_keys, re.compile("|".join(re.escape(word) for word, _ in of_keys)), others)


def may_hold_secret(text: str) -> bool:
    """Return whether a text has to be looked at: false for most, and fast."""
    return bool(_patterns_for(text))


def secrets(text: str) -> Iterator[Secret]:
    """Yield the secrets in a text, without placeholders."""
    for kind, match in _matches(text):
        yield Secret(kind, match[0], match.groupdict().get("value") or match[0])


def without_secrets(text: str) -> str:
    """Return a text with `***` in place of each secret; of those that overlap, for all of them."""
    parts: list[str] = []
    end = 0
    for first, last in sorted(match.span() for _, match in _matches(text)):
        if first >= end:
            parts += text[end:first], "***"
        end = max(end, last)
    return "".join((*parts, text[end:]))


def _matches(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    for number in _patterns_for(text):
        kind, pattern = _patterns()[number]
        # A placeholder may stand before the real one.
        yield from ((kind, match) for match in pattern.finditer(text) if not _is_placeholder(match))


def _patterns_for(text: str) -> Sequence[int]:
    """Return the numbers of the patterns that may find something: none for most texts."""
    runs = _long_runs(text)
    has_password = _URL in text and "@" in text and _PASSWORD_IN_URL.search(text) is not None
    if not runs and not has_password:
        return ()
    words, lower = _words(), text.lower()
    found = {number for word, number in words.others if word in lower}
    if words.any_of_keys.search(runs):
        found.update(number for word, number in words.of_keys if word in runs)
    if has_password:
        found.add(_URL_PATTERN)
    return sorted(found)


def _long_runs(text: str) -> str:
    """Return the runs of token characters that are as long as a key, in lower case."""
    raw = text.encode(errors="replace")
    tokens = raw.translate(_TOKENS)
    start = tokens.find(_RUN)
    if start < 0:
        return ""
    runs = []
    while start >= 0:
        end = tokens.find(b" ", start)
        if end < 0:
            end = len(raw)
        runs.append(raw[start:end])
        start = tokens.find(_RUN, end)
    return b" ".join(runs).decode("ascii").lower()


def _is_placeholder(match: re.Match[str]) -> bool:
    if _PLACEHOLDER.search(match[0]):
        return True
    named = match.groupdict()
    value = named.get("value")
    if value is None:
        return False
    # The credentials of databases on a developer's machine are the same word twice.
    return value == named.get("user") or _LABELLED_PLACEHOLDER.search(value) is not None
