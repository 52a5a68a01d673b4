"""The headers of a request that the middleware reads, and its texts in a form that can be shown.

A client can send anything: each rule here either takes a value as it is or ignores it, in work that is bounded by
what the server has already read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pytest_langfuse.tracing.propagation.w3c_headers import MOST_HEADERS, W3C_NAMES

#: A longer identifier is ignored (characters); up to here `RequestContext` shortens what Langfuse would drop.
LONGEST_ID = 1_024
#: So much of a path or a query is shown (characters).
LONGEST_TEXT = 2_048
#: What is taken from anybody: short, and without a character that means something to a log, a shell or a page.
_PLAIN = re.compile(rb"[\w.:+/=@-]{1,128}")

USER, SESSION, REQUEST = b"x-user-id", b"x-session-id", b"x-request-id"
_W3C = frozenset(name.encode() for name in W3C_NAMES)

_KNOWN = frozenset({USER, SESSION, REQUEST, *_W3C})
_LENGTHS = frozenset(map(len, _KNOWN))
#: The name in an environ, the name, and whether its value is a list.
_ENVIRON = tuple(
    (f"HTTP_{name.decode().upper().replace('-', '_')}", name, name in {b"tracestate", b"baggage"})
    for name in sorted(_KNOWN)
)

#: RFC 9110 and 5789; QUERY is registered since. Others would let a client make up names of observations.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "QUERY"})
_LONGEST_METHOD = 32


class RequestHeaders:
    """The headers of a request that matter here: bytes under the lower-case bytes of their names."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self.pairs = pairs

    def one(self, name: bytes) -> bytes | None:
        """Return the value of a header, or `None` if it was sent with different values."""
        found = None
        for key, value in self.pairs:
            if key == name:
                if found is not None and found != value:
                    return None
                found = value
        return found

    def identifier(self, name: bytes) -> str | None:
        """Return the header as an id: UTF-8, printable, not too long; `None` for anything else."""
        value = self.one(name)
        if value is None or len(value) > LONGEST_ID:
            return None
        try:
            text = value.decode().strip()
        except UnicodeDecodeError:
            return None
        return text if text.isprintable() and text else None

    def plain_identifier(self, name: bytes) -> str | None:
        """Return the header as an id that is taken from anybody, because it does not identify anyone."""
        value = self.one(name)
        return value.decode() if value is not None and _PLAIN.fullmatch(value) else None

    def w3c(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that `propagation.w3c_headers` reads."""
        return [pair for pair in self.pairs if pair[0] in _W3C]


NOTHING = RequestHeaders([])


def of_scope(headers: Iterable[tuple[bytes, bytes]]) -> RequestHeaders:
    """Read the `headers` of an ASGI scope."""
    pairs = []
    for count, (name, value) in enumerate(headers):
        if count >= MOST_HEADERS:
            return NOTHING
        if len(name) in _LENGTHS and (lower := name.lower()) in _KNOWN:
            pairs.append((lower, value))
    return RequestHeaders(pairs) if pairs else NOTHING


def of_environ(environ: Mapping[str, object]) -> RequestHeaders:
    """Read a WSGI environ, whose texts hold one byte a character."""
    pairs: list[tuple[bytes, bytes]] = []
    for key, name, listed in _ENVIRON:
        if isinstance(text := environ.get(key), str):
            value = text.encode("latin-1", "replace")
            if listed or b"," not in value:
                pairs.append((name, value))
            else:
                # Servers join repeated headers with a comma.
                pairs += [(name, part.strip()) for part in value.split(b",", MOST_HEADERS)]
    return RequestHeaders(pairs) if pairs else NOTHING


def method_name(method: str) -> str:
    """Return the method for a name; `HTTP` for an unregistered one (OpenTelemetry, HTTP spans)."""
    return method if method in _METHODS else "HTTP"


def shown_method(method: str) -> str:
    """Return the method as the client sent it."""
    return method if method in _METHODS else shown(method, _LONGEST_METHOD)


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return the text cut, and with control characters and surrogates escaped."""
    if len(text) > longest:
        text = f"{text[: longest - 1]}…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def as_utf8(text: str) -> str:
    """Return a text of a WSGI environ, which holds one byte a character, decoded as UTF-8."""
    return text if text.isascii() else text.encode("latin-1", "replace").decode("utf-8", "replace")
