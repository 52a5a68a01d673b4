"""Texts as the page writes them where no script runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

#: Control characters but tab and line feed, and lone surrogates, which a file in UTF-8 can't hold.
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST: Final = 5_000


def printable(value: Any) -> Any:
    """Return a text without characters that no page shows; they become Python's escapes for them."""
    # Markup, which is a text too, is what the template itself writes.
    if type(value) is not str:
        return value
    return _UNPRINTABLE.sub(_escape, value)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - what two digits hold


def cut_text(text: object, length: int = _LONGEST) -> str:
    """Return the beginning of a long text."""
    whole = str(text)
    if len(whole) <= length:
        return whole
    return f"{whole[:length]}…\n({len(whole) - length:,} more characters; the page shows them where scripts may run)"


def address(test: Mapping[str, Any]) -> str:
    """Return what follows the # in the address of a test."""
    # As a browser reads them: it replaces lone surrogates.
    names = {name: _well_formed(test[name]) for name in ("test", "fault") if test[name]}
    return urlencode(names)


def _well_formed(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
