"""Compressed bodies: gzip and deflate, up to a limit."""

from __future__ import annotations

import zlib
from typing import Final

from pytest_langfuse import arguments
from pytest_langfuse.recording.otlp.decode_error import DecodeError, garbage

#: The most that a body may decompress to. OpenTelemetry's exporters send 64 MiB at most, but a file may hold many
#: exports; and a few hundred kilobytes of gzip can hold gigabytes.
MAX_DECODED_BYTES: Final = 256 * 1024 * 1024

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = zlib.MAX_WBITS | 16
_RAW_DEFLATE: Final = -zlib.MAX_WBITS
#: Compressed bytes that are handed to zlib at a time: it copies what it can't use yet.
_SLICE: Final = 64 * 1024


class TooLargeError(DecodeError):
    """A body that decompresses to more than `MAX_DECODED_BYTES`."""


def decompress(body: bytes, encoding: str | None = None) -> bytes:
    """Return `body` without its compression.

    `encoding` is a `Content-Encoding`: `gzip`, `deflate` (with or without the header of zlib) or `identity`. Without
    one, gzip is detected.

    Raises:
        DecodeError: The body is truncated, damaged or not compressed in that way, it decompresses to more than
            `MAX_DECODED_BYTES` (no more than that is ever held), or the encoding is another one.
        TypeError: `body` is not bytes, or `encoding` not a text.
    """
    __tracebackhide__ = True
    arguments.instance(
        "decode_otlp", "body", body, (bytes, bytearray, memoryview), "bytes (of a file: open it with 'rb')"
    )
    if encoding is not None:
        arguments.text("decode_otlp", "encoding", encoding, expected="'gzip', 'deflate', 'identity' or None")
    body = bytes(body)
    name = (encoding or "").strip().lower().removeprefix("x-")
    if name == "deflate":
        # "deflate" is zlib by RFC 9110, but bare deflate is in use, too.
        return _inflated(body, "deflate", zlib.MAX_WBITS if _has_zlib_header(body) else _RAW_DEFLATE)
    if name == "gzip" or (not name and body.startswith(_GZIP_MAGIC)):
        return _inflated(body, "gzip", _GZIP)
    if name in {"", "identity"}:
        return body
    message = f"the encoding {arguments.shown(encoding)} is not supported; expected 'gzip', 'deflate' or 'identity'"
    raise DecodeError(message)


def _has_zlib_header(body: bytes) -> bool:
    """Return whether the first two bytes are those of RFC 1950: the method and a checksum."""
    return body[:1] != b"" and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0


def _inflated(body: bytes, name: str, window_bits: int) -> bytes:
    view = memoryview(body)
    parts: list[bytes] = []
    length = position = 0
    while position < len(body):
        inflater = zlib.decompressobj(window_bits)
        while position < len(body) and not inflater.eof:
            compressed = view[position : position + _SLICE]
            try:
                # One byte more than allowed is enough to know.
                part = inflater.decompress(compressed, MAX_DECODED_BYTES + 1 - length)
            except zlib.error as error:
                raise DecodeError(_not_compressed(body, name, str(error), decoded=length)) from None
            parts.append(part)
            length += len(part)
            if length > MAX_DECODED_BYTES:
                message = (
                    f"the {name} body of {len(body)} bytes decompresses to more than {MAX_DECODED_BYTES} bytes, "
                    f"the most that is decoded"
                )
                raise TooLargeError(message)
            position += len(compressed) - len(inflater.unused_data)
        if not inflater.eof:
            message = (
                f"the {name} body is truncated: it ends after {len(body)} bytes ({length} decompressed), before "
                f"the end of the {name} stream"
            )
            raise DecodeError(message)
        # A gzip file may have several members.
    return b"".join(parts)


def _not_compressed(body: bytes, name: str, reason: str, *, decoded: int) -> str:
    if name == "gzip" and body.startswith(_GZIP_MAGIC):
        return f"the gzip body is damaged after {decoded} decompressed bytes ({reason})"
    return f"the body is not {name}: {garbage(body)}"
