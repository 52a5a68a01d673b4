"""The `baggage` header: its members, which of them are Langfuse's, and how long it may be (W3C Baggage)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote_plus, unquote_plus

from pytest_langfuse.tracing.langfuse_internals import BAGGAGE_PREFIX

#: Bytes of a header and of a member, and members of a header, that OpenTelemetry's propagator takes; the first and the
#: last are what W3C Baggage asks of everyone at least (section 3.3, "Limits").
LONGEST_HEADER = 8192
LONGEST_MEMBER = 4096
MOST_MEMBERS = 180

_NAME = r"[!#-'*+.0-9A-Z^_`a-z|~-]+"
_VALUE = r"[!#-+\--:<-\[\]-~]*"
_MEMBER = re.compile(
    rf"[ \t]*(?P<name>{_NAME})[ \t]*=[ \t]*(?P<value>{_VALUE})[ \t]*"
    rf"(?P<properties>(?:;[ \t]*{_NAME}[ \t]*(?:=[ \t]*{_VALUE}[ \t]*)?)*)"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Member(NamedTuple):
    """One well-formed member: its decoded name, its value as it was encoded, and all of it as it stood there."""

    name: str
    value: str
    text: str

    @property
    def is_langfuse(self) -> bool:
        """True for an entry of Langfuse's SDK."""
        return self.name.lower().startswith(BAGGAGE_PREFIX)


def members(header: str) -> list[Member]:
    """The well-formed members of a header; none of a header that is too long."""
    if len(header) > LONGEST_HEADER:
        return []
    found = []
    for text in header.split(",", MOST_MEMBERS)[:MOST_MEMBERS]:
        match = _MEMBER.fullmatch(text) if len(text) <= LONGEST_MEMBER else None
        if match is not None:
            found.append(Member(unquote_plus(match["name"]).strip(), match["value"], text.strip()))
    return found


def decoded(value: str) -> str | None:
    """The text of an encoded value; `None` if it is not UTF-8 or has control characters."""
    try:
        text = unquote_plus(value, errors="strict").strip()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def encoded(name: str, value: object) -> str:
    """A member, encoded as OpenTelemetry does it."""
    return f"{quote_plus(name, errors='replace')}={quote_plus(str(value), errors='replace')}"


def without_langfuse(header: str) -> str:
    """The header without Langfuse's members; the others, well-formed or not, stay as they are."""
    texts = header.split(",")
    kept = [text for text in texts if not _is_langfuse(text)]
    return header if len(kept) == len(texts) else ",".join(kept).strip()


def extended(header: str, texts: Iterable[str]) -> str:
    """The header with these members at its end, but for those that do not fit."""
    count = header.count(",") + 1 if header else 0
    for text in texts:
        longer = f"{header},{text}" if header else text
        if len(text) <= LONGEST_MEMBER and len(longer) <= LONGEST_HEADER and count < MOST_MEMBERS:
            header, count = longer, count + 1
    return header


def _is_langfuse(text: str) -> bool:
    return unquote_plus(text.partition("=")[0]).strip().lower().startswith(BAGGAGE_PREFIX)
