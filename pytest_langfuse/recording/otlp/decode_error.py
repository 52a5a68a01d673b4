"""The error for bytes that are not a trace export, and what it says of them."""

from __future__ import annotations

from base64 import b64decode
from typing import Final

from pytest_langfuse.lazy import exported_by

_EXPECTED: Final = "expected an OTLP trace export (protobuf or JSON, gzip or not)"
_SHOWN: Final = 60
#: What base64 decodes to when it holds an export: protobuf, JSON or gzip.
_EXPORT_STARTS: Final = (b"\n", b"{", b"\x1f\x8b")
_MAGIC: Final = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
)


@exported_by("pytest_langfuse.recording")
class DecodeError(ValueError):
    """An export body that cannot be decoded."""


def garbage(data: bytes) -> DecodeError:
    """Return an error that says what `data` looks like."""
    return DecodeError(f"{_looks_like(data)}; {_EXPECTED}")


def _looks_like(data: bytes) -> str:
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return f"the body is {name}"
    start = data[: 4 * _SHOWN].lstrip()
    if start[:1] == b"<":
        kind = "HTML" if b"<html" in data[:2000].lower() or start.lower().startswith(b"<!doctype html") else "XML"
        return f"the body is {kind}: {_excerpt(start)}"
    if _is_base64(start):
        return f"the body looks like base64, decode it first: {_excerpt(start)}"
    try:
        text = data[: 4 * _SHOWN].decode()
    except UnicodeDecodeError as error:
        # The excerpt may have cut a character in two.
        text = data[: error.start].decode() if error.start > 3 * _SHOWN else ""
    if text and all(character.isprintable() or character.isspace() for character in text):
        return f"the body is text: {_excerpt(start)}"
    return (
        f"the {len(data)} bytes are neither protobuf of a trace export nor JSON, they begin with {data[:12].hex(' ')}"
    )


def _is_base64(start: bytes) -> bool:
    try:
        return b64decode(start[:_SHOWN], validate=True).startswith(_EXPORT_STARTS)
    except ValueError:
        return False


def _excerpt(data: bytes) -> str:
    text = data[: 4 * _SHOWN].decode(errors="replace")
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
