"""Export bodies of OpenTelemetry (OTLP) decoded to span records and observations: protobuf and JSON."""

from __future__ import annotations

import zlib
from typing import Final

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.otlp.decode_error import DecodeError, garbage
from pytest_langfuse.recording.span_record import SpanRecord

__all__ = ["DecodeError", "decode_otlp", "decode_records", "decompressed"]

#: The most that a body may decompress to: far more than any exporter sends at once, and a few kilobytes of gzip can
#: hold gigabytes.
MAX_DECODED_BYTES: Final = 256 * 1024 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = zlib.MAX_WBITS | 16
_RAW_DEFLATE: Final = -zlib.MAX_WBITS
_PROTOBUF_FIRST_BYTE: Final = b"\x0a"
#: Bytes in which a JSON document must begin; the rest of the body is not looked at twice.
_SNIFFED: Final = 1024
_JSON_STARTS: Final = (b"{", b"[")


def decode_otlp(body: bytes, *, encoding: str | None = None) -> list[Observation]:
    """The observations of an export body, linked, in the order in which they started.

    `body` is a protobuf `ExportTraceServiceRequest` or OTLP/JSON (also several JSON documents, one a line), and may be
    compressed: gzip is detected, `encoding` takes a `Content-Encoding` (`gzip`, `deflate`, `identity`).
    Raises `DecodeError`, a `ValueError`, which says what the bytes look like instead.
    """
    from pytest_langfuse.recording.server_view import observe  # decoding alone needs no view
    from pytest_langfuse.recording.trace import link

    return link([observe(record) for record in decode_records(body, encoding=encoding)])


def decode_records(body: bytes, *, encoding: str | None = None) -> list[SpanRecord]:
    """The spans of an export body in the order of the body. Arguments and errors as of `decode_otlp`."""
    data = decompressed(bytes(body), encoding)
    if not data:
        message = "the body is empty; expected an OTLP trace export (protobuf or JSON)"
        raise DecodeError(message)
    failure: DecodeError | None = None
    if data.startswith(_PROTOBUF_FIRST_BYTE):
        from pytest_langfuse.recording.otlp.from_protobuf import records_from_protobuf

        try:
            return records_from_protobuf(data)
        except DecodeError as error:
            # A line feed begins protobuf here, but may begin JSON as well.
            failure = error
    if data[:_SNIFFED].lstrip().removeprefix(b"\xef\xbb\xbf").startswith(_JSON_STARTS):
        from pytest_langfuse.recording.otlp.from_json import records_from_json

        return records_from_json(data)
    raise failure or garbage(data)


def decompressed(body: bytes, encoding: str | None = None) -> bytes:
    """`body` without its compression; `DecodeError` when it is truncated, damaged or unreasonably big."""
    name = (encoding or "").strip().lower().removeprefix("x-")
    if name == "deflate":
        # "deflate" is zlib by RFC 9110, but bare deflate is in use, too.
        return _inflated(body, "deflate", zlib.MAX_WBITS if body[:1] == b"\x78" else _RAW_DEFLATE)
    if name == "gzip" or (not name and body.startswith(_GZIP_MAGIC)):
        return _inflated(body, "gzip", _GZIP)
    if name in {"", "identity"}:
        return body
    message = f"the encoding {encoding!r} is not supported; expected 'gzip', 'deflate' or 'identity'"
    raise DecodeError(message)


def _inflated(body: bytes, name: str, window_bits: int) -> bytes:
    result = bytearray()
    rest = body
    while rest:
        inflater = zlib.decompressobj(window_bits)
        try:
            result += inflater.decompress(rest, MAX_DECODED_BYTES + 1 - len(result))
        except zlib.error as error:
            raise DecodeError(_not_compressed(body, name, str(error), decoded=len(result))) from None
        if len(result) > MAX_DECODED_BYTES:
            message = (
                f"the {name} body of {len(body)} bytes decompresses to more than {MAX_DECODED_BYTES} bytes; "
                f"such a body is no trace export that a server would take"
            )
            raise DecodeError(message)
        if not inflater.eof:
            message = (
                f"the {name} body is truncated: it ends after {len(body)} bytes ({len(result)} decompressed) without "
                f"the end of the {name} stream"
            )
            raise DecodeError(message)
        # A gzip file may have several members.
        rest = inflater.unused_data
    return bytes(result)


def _not_compressed(body: bytes, name: str, reason: str, *, decoded: int) -> str:
    if name == "gzip" and body.startswith(_GZIP_MAGIC):
        return f"the gzip body is damaged after {decoded} decompressed bytes ({reason})"
    return f"the body is not {name}: {garbage(body)}"
