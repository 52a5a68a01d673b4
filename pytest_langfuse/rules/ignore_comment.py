"""Comments that switch rules off for one place: `# langfuse: ignore[LF006]`.

A comment counts on any line of the statement that starts the observation, or alone on the line above it; for a function
with `@observe`, from its decorator to its first statement.
"""

from __future__ import annotations

import io
import linecache
import re
import tokenize
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from pytest_langfuse.recording.calling_code import shown_path
from pytest_langfuse.rules.finding import SourcePlace
from pytest_langfuse.rules.rule_set import UnknownRule, codes

_COMMENT: Final = re.compile(r"#\s*langfuse\s*:\s*ignore\b(?P<rest>.*)", re.IGNORECASE)
_CODES: Final = re.compile(r"\s*\[(?P<codes>[^\]]*)\]")


class BadComment(ValueError):  # noqa: N818 - reads as what happened
    """A comment that names no rules, or one that does not exist."""


def ignored_at(place: SourcePlace | None) -> frozenset[str]:
    """Return the codes of the rules that comments at a place switch off.

    Raises:
        BadComment: a comment there is not as it must be; the message names its line.
    """
    if place is None:
        return frozenset()
    comments = _comments(place.file)
    if not comments:
        return frozenset()
    first, last = place.lines
    found: set[str] = set()
    for line in range(first - 1, last + 1):
        comment = comments.get(line)
        if comment is not None and (line >= first or comment[1]):
            found.update(_codes_of(comment[0], f"{shown_path(place.file)}:{line}"))
    return frozenset(found)


@lru_cache(maxsize=1024)
def _comments(file: str) -> Mapping[int, tuple[str, bool]]:
    """Return such comments of a file by their lines: what follows the word, and whether nothing else is on the line."""
    text = "".join(linecache.getlines(file))
    if "ignore" not in text:
        return {}
    found: dict[int, tuple[str, bool]] = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and (match := _COMMENT.search(token.string)):
                found[token.start[0]] = match["rest"], not token.line[: token.start[1]].strip()
    except (tokenize.TokenError, SyntaxError):
        # What is compiled has no such fault: the file has changed since. What was found so far counts.
        pass
    return found


def _codes_of(rest: str, where: str) -> set[str]:
    match = _CODES.match(rest)
    given = [code for code in match["codes"].split(",") if code.strip()] if match else []
    if not given:
        raise BadComment(f"{where}: a comment `langfuse: ignore` names the rules: # langfuse: ignore[LF006, LF007]")
    try:
        return set(codes(given))
    except UnknownRule as error:
        raise BadComment(f"{where}: {error}") from None
