"""Read headers that anybody may have sent, in whatever form a framework hands them over."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

#: A mapping, or pairs of name and value; messages of a queue without headers often have `None`.
Incoming = Mapping[Any, Any] | Iterable[Any] | None

#: So many headers are looked at, and none of a request with more is believed; servers take about a hundred.
MOST_HEADERS = 1_000

TRACEPARENT, TRACESTATE, BAGGAGE = W3C_NAMES = ("traceparent", "tracestate", "baggage")

#: Characters of a header, all of its lines taken together (W3C Trace Context 3.3.1.1, W3C Baggage 3.3).
LONGEST = {TRACEPARENT: 256, TRACESTATE: 512, BAGGAGE: 8192}
_MOST_LINES = 32
#: Not even a line feed at the end, which OpenTelemetry's pattern lets pass. Members of a baggage are looked at singly.
_UNUSABLE = re.compile(r"[^\t -~]")
_WSGI = {f"HTTP_{name.upper()}": name for name in LONGEST}
_LENGTHS = frozenset(map(len, [*LONGEST, *_WSGI]))


def read(headers: Incoming) -> dict[str, list[str]]:
    """Return the lines of the known headers by name, without those of a header that is unusable as a whole.

    A `traceparent` that was sent twice is ignored (W3C Trace Context: start a new trace).
    """
    found: dict[str, list[str]] = {}
    for name, value in _known(headers):
        lines = found.setdefault(name, [])
        if len(lines) <= _MOST_LINES:
            lines.append(value)
    for name, lines in list(found.items()):
        length = sum(map(len, lines)) + len(lines) - 1
        unusable = name != BAGGAGE and any(map(_UNUSABLE.search, lines))
        if unusable or length > LONGEST[name] or len(lines) > (1 if name == TRACEPARENT else _MOST_LINES):
            del found[name]
    return found


def values(headers: Mapping[Any, Any], name: str) -> str:
    """Return all lines of one of these headers, joined."""
    lines = []
    for key in headers.keys():  # noqa: SIM118 - werkzeug's headers iterate over pairs
        if name_of(key) == name:
            getall = getattr(headers, "getall", None)
            lines += [text for value in (getall(key) if getall else [headers[key]]) if (text := _text(value))]
            if getall:
                break
    return ",".join(lines)


def name_of(key: object) -> str | None:
    """Return the name of a header in lower case, or `None` for anything else."""
    text = key.decode("latin-1") if isinstance(key, bytes) else key
    return text.lower() if isinstance(text, str) and len(text) in _LENGTHS else None


def _known(headers: Incoming) -> Iterator[tuple[str, str]]:
    # Not all that have items are registered as mappings (`http.client.HTTPMessage`).
    items: Callable[[], Iterable[Any]] | None = getattr(headers, "items", None)
    # Not to be had by sending a header of that name: then it would be a text.
    wsgi = isinstance(headers, Mapping) and isinstance(headers.get("wsgi.version"), tuple)
    for pair in itertools.islice(items() if items is not None else headers or (), MOST_HEADERS):
        if not isinstance(pair, tuple | list) or len(pair) != 2:  # noqa: PLR2004 - name and value
            continue
        key, value = pair
        name = _WSGI.get(key) if wsgi and isinstance(key, str) else name_of(key)
        if name in LONGEST:
            for line in value[: _MOST_LINES + 1] if isinstance(value, list | tuple) else (value,):
                if (text := _text(line)) is not None:
                    yield name, text


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else None
