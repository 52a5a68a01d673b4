"""Patterns of a project's own secrets: checked when they are given, and never searched for without a limit."""

from __future__ import annotations

import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from types import FrameType
from typing import Final

from pytest_langfuse.arguments import masked, shown

#: The processor time, in seconds, that patterns may take for an observation, and for each million characters in it.
_LIMIT: Final = 0.5
_LIMIT_OF_MILLION: Final = 1.0
_LONGEST: Final = 100
#: Texts on which patterns that try all ways to split a text never end: they match up to the last character.
_PROBES: Final = tuple(text * (400 // len(text)) + "\0" for text in (*"aA0 -_./:=@+\n", "aA0", "a.", "a-", "a "))


class BadPattern(ValueError):  # noqa: N818 - reads as what happened
    """A pattern that can't be used; the message says why."""


class OwnPattern:
    """A regular expression that a project has given, under a name that findings show in place of what they found."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.regex = _compiled(text)
        #: Why it is not searched for any more.
        self.too_slow: str | None = None

    @property
    def kind(self) -> str:
        """The name of what it finds, for messages."""
        return f"a secret of the pattern {self.name!r}"

    def check_speed(self) -> None:
        """Raise if it is known to be too slow.

        Raises:
            BadPattern: it is.
        """
        if self.too_slow is not None:
            raise BadPattern(
                f"the pattern {self.name!r}, {_shown(self.regex.pattern)}, took more than {self.too_slow}: repeat "
                "nothing that is repeated inside, as in (a+)+, and begin with \\b or a fixed text"
            )


@cache
def own_pattern(name: str, text: str) -> OwnPattern:
    """Return a pattern that was given as text.

    Raises:
        BadPattern: it is not a regular expression, it matches everything, or it is too slow for any use.
    """
    pattern = OwnPattern(name, text)
    if pattern.regex.search(""):
        raise BadPattern(f"{_shown(text)} matches the empty text, and so every text")
    found_in([pattern], (("", probe) for probe in _PROBES))
    return pattern


def found_in(patterns: Sequence[OwnPattern], texts: Iterable[tuple[str, str]]) -> list[tuple[OwnPattern, str]]:
    """Return the patterns that match one of some texts, each with where that stands; `texts` are pairs of both.

    In the main thread alone: in another there is no way to stop a search, and nothing is searched for.

    Raises:
        BadPattern: one takes too long, here or before.
    """
    found: list[tuple[OwnPattern, str]] = []

    def search(pattern: OwnPattern, where: str, text: str) -> None:
        if pattern.regex.search(text):
            found.append((pattern, where))

    _apply(search, patterns, texts)
    return found


def matches(patterns: Sequence[OwnPattern], texts: Iterable[str]) -> dict[str, OwnPattern]:
    """Return what patterns match in some texts, each with a pattern that does.

    Outside of the main thread without a limit: who calls this writes nothing that was not searched.

    Raises:
        BadPattern: one takes too long, here or before.
    """
    found: dict[str, OwnPattern] = {}

    def collect(pattern: OwnPattern, _where: str, text: str) -> None:
        found.update((match[0], pattern) for match in pattern.regex.finditer(text) if match[0])

    _apply(collect, patterns, (("", text) for text in texts), in_any_thread=True)
    return found


def hidden(patterns: Sequence[OwnPattern], text: str) -> str:
    """Return a text with `***` in place of all that patterns match in it.

    Raises:
        BadPattern: one takes too long, here or before.
    """
    left = text

    def hide(pattern: OwnPattern, _where: str, _text: str) -> None:
        nonlocal left
        left = pattern.regex.sub("***", left)

    _apply(hide, patterns, [("", text)])
    return left


def _apply(
    work: Callable[[OwnPattern, str, str], None],
    patterns: Sequence[OwnPattern],
    texts: Iterable[tuple[str, str]],
    *,
    in_any_thread: bool = False,
) -> None:
    """Do some work with each pattern and each text, within the limit for all of them."""
    is_limited = threading.current_thread() is threading.main_thread()
    if not patterns or not (is_limited or in_any_thread):
        return
    for pattern in patterns:
        pattern.check_speed()
    texts = list(texts)
    limit = _LIMIT + _LIMIT_OF_MILLION * sum(len(text) for _, text in texts) / 1_000_000
    current, length = patterns[0], 0
    try:
        with _limited(limit) if is_limited else nullcontext():
            for where, text in texts:
                length = len(text)
                for current in patterns:
                    work(current, where, text)
    except _Expired:
        current.too_slow = f"{limit:.1f} s on a text of {length:,} characters"
    current.check_speed()


class _Expired(BaseException):
    """The time of a search is over. Not an `Exception`, which something on the way might handle."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `_Expired` in the block when it has used so much processor time: Python's `re` looks for signals."""

    def expire(_number: int, _frame: FrameType | None) -> None:
        raise _Expired

    handler = signal.signal(signal.SIGVTALRM, expire)
    timer = (0.0, 0.0)
    try:
        timer = signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        yield
    finally:
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, *timer)
        finally:
            signal.signal(signal.SIGVTALRM, handler)


def _compiled(text: str) -> re.Pattern[str]:
    if not text:
        raise BadPattern("the pattern is empty")
    try:
        with warnings.catch_warnings():
            # Of what a later Python will read otherwise.
            warnings.simplefilter("ignore")
            return re.compile(text)
    except re.error as error:
        at = "" if error.pos is None else f" at position {error.pos}"
        raise BadPattern(f"{_shown(text)} is not a regular expression: {error.msg}{at}") from None
    except (OverflowError, RecursionError):
        raise BadPattern(f"{_shown(text)} is too large for a regular expression") from None


def _shown(text: str) -> str:
    """Return a pattern for a message as it was written, so that positions in it can be counted."""
    return masked(text) if text.isprintable() and len(text) <= _LONGEST else shown(text)
