"""Searching the bytes that exporters put on the wire for a text, in every encoding that it may have there."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from pytest_langfuse.recording.otlp.decode import decode_records
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.sources.source import WireBody
from pytest_langfuse.recording.span_record import SpanRecord

#: JSON in a JSON string in a JSON body.
_NESTING: Final = 3
#: In base64, fewer bytes leave too few whole characters to tell an occurrence from chance.
_BASE64_BYTES: Final = 8
_ESCAPE: Final = re.compile(r"\\u[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A place where a text was found: an attribute, an event, the name; no `span` if the body could not be decoded."""

    exporter: str
    span: str | None = None
    place: str | None = None

    def __str__(self) -> str:
        where = f"{self.span}, {self.place}" if self.span is not None else "outside any span that could be decoded"
        return f"exporter {self.exporter}, {where}"


class SearchText:
    """A text to search for, in every encoding."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.writings: Final = frozenset(_writings(text))

    def is_in(self, body: bytes) -> bool:
        """Return whether the body contains the text, in any encoding."""
        return any(writing in body for writing in self.writings)

    def masked(self) -> str:
        """The text as a failure shows it: how long it is, and of a long one how it starts."""
        start = self.text[:2] if len(self.text) >= _BASE64_BYTES else ""
        return f"'{start}{'*' * (len(self.text) - len(start))}'"

    def mask(self, shown: str) -> str:
        """`shown` without the text."""
        hidden = shown.replace(self.text, "*" * len(self.text))
        return "*" * len(shown) if self.is_in(_bytes(hidden)) else hidden


def _writings(text: str) -> Iterator[bytes]:
    raw = _bytes(text)
    yield raw
    level = {text}
    for _ in range(_NESTING):
        level = {json.dumps(one, ensure_ascii=ascii_only)[1:-1] for one in level for ascii_only in (True, False)}
        # Some encoders write \u00E9 and \/.
        level |= {_ESCAPE.sub(lambda escape: escape[0][:2] + escape[0][2:].upper(), one) for one in level}
        level |= {one.replace("/", "\\/") for one in level}
        yield from map(_bytes, level)
    yield quote(text, safe="").encode()
    if len(raw) >= _BASE64_BYTES:
        for offset in range(3):
            # What precedes the text shifts it by 0, 1 or 2 bytes; characters that hold bits of neighbours are left out.
            encoded = b64encode(b"\0" * offset + raw)
            first, end = (offset * 8 + 5) // 6, (offset + len(raw)) * 8 // 6
            yield encoded[first:end]
            yield encoded[first:end].replace(b"+", b"-").replace(b"/", b"_")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def find(sought: SearchText, bodies: Iterable[WireBody]) -> list[Occurrence]:
    """Return the places of `sought` in `bodies`, each once."""
    occurrences: dict[Occurrence, None] = {}
    for body in bodies:
        if not sought.is_in(body.body):
            continue
        found = [Occurrence(body.exporter, *place) for place in _places(sought, body.body)]
        occurrences.update(dict.fromkeys(found or [Occurrence(body.exporter)]))
    return list(occurrences)


def masked(texts: Iterable[SearchText], shown: str) -> str:
    """`shown` without any of the texts."""
    for sought in texts:
        shown = sought.mask(shown)
    return shown


def _places(sought: SearchText, body: bytes) -> Iterator[tuple[str, str]]:
    try:
        records = decode_records(body)
    except DecodeError:
        return
    for record in records:
        for place, value in _parts(record):
            if sought.is_in(_bytes(value)):
                yield record.name, place


def _parts(record: SpanRecord) -> Iterator[tuple[str, str]]:
    yield "its name", record.name
    yield "its status message", record.status_message or ""
    yield from _attributes("attribute", record.attributes)
    for event in record.events:
        yield f"name of event {event.name}", event.name
        yield from _attributes(f"event {event.name}, attribute", event.attributes)
    yield from _attributes("resource attribute", record.resource)
    yield from _attributes("scope attribute", record.scope_attributes)


def _attributes(kind: str, attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in attributes.items():
        yield f"{kind} {key}", f"{key}\0{_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
