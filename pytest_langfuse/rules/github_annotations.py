"""Findings as GitHub annotations: workflow commands that a step of a job prints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.one_line import one_line

if TYPE_CHECKING:
    from pytest_langfuse.rules.checked import CheckedPlace

#: How many of a kind GitHub shows of one step; it drops the others without a word.
_SHOWN: Final = 10
_LINE_BREAK: Final = re.compile("([\r\n])")


def annotation_lines(places: Sequence[CheckedPlace]) -> Iterator[str]:
    """Yield an annotation for each place, the worst first, and as plain lines what GitHub would not show."""
    left = {"error": _SHOWN, "warning": _SHOWN}
    others = []
    for one in places:
        if one.is_known:
            continue
        kind = "error" if one.fails else "warning"
        if left[kind]:
            left[kind] -= 1
            title = f"{one.finding.code} {one.finding.rule}"
            where = f"file={_property(one.uri)},line={one.line},title={_property(title)}"
            yield f"::{kind} {where}::{_data(one.text)}"
        else:
            others.append(one)
    if others:
        yield f"{len(others)} more, which GitHub does not show as annotations:"
        for one in others:
            yield _plain(one)


def _plain(one: CheckedPlace) -> str:
    # A line of a log that begins with `::` is a command.
    return f"  {one_line(one.uri)}:{one.line}: {one.finding.code} {one.finding.rule}: {_data(one.text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    # Line breaks have escapes of GitHub's, so that the path stays what it is.
    parts = (part if part in "\r\n" else one_line(part) for part in _LINE_BREAK.split(text))
    return _data("".join(parts)).replace(":", "%3A").replace(",", "%2C")
