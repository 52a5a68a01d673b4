"""Export bodies of OpenTelemetry (OTLP) decoded to span records and observations: protobuf and JSON."""

from __future__ import annotations

from typing import Final

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.otlp.decode_error import DecodeError, garbage
from pytest_langfuse.recording.otlp.decompress import decompress
from pytest_langfuse.recording.otlp.json_documents import looks_like_json
from pytest_langfuse.recording.span_record import SpanRecord

_PROTOBUF_FIRST_BYTE: Final = b"\x0a"


def decode_otlp(body: bytes, *, encoding: str | None = None) -> list[Observation]:
    """Return the observations of an export body, linked, in the order in which they started.

    `body` is a protobuf `ExportTraceServiceRequest` or OTLP/JSON (also several JSON documents, one per line), and may
    be compressed: gzip is detected, `encoding` takes a `Content-Encoding` (`gzip`, `deflate`, `identity`).

    Raises:
        DecodeError: The bytes are something else, damaged, decompress to more than 256 MiB, or hold an export that
            Langfuse would refuse, or accept and then lose. A `ValueError`.
        TypeError: `body` is not bytes, or `encoding` not a text.
    """
    __tracebackhide__ = True
    from pytest_langfuse.recording.server_view import observe  # decoding alone needs no view
    from pytest_langfuse.recording.server_view.loss import split
    from pytest_langfuse.recording.trace import link

    shown, lost = split(decode_exports(body, encoding=encoding))
    if lost:
        message = f"{lost[0].reason} (span {lost[0].record.name!r} and {len(lost) - 1} more)"
        raise DecodeError(message)
    return link(map(observe, shown))


def decode_records(body: bytes, *, encoding: str | None = None) -> list[SpanRecord]:
    """Return the spans of an export body in the order of the body, with those that Langfuse would lose.

    Arguments are those of `decode_otlp`.

    Raises:
        DecodeError: The bytes are something else, damaged, decompress to more than 256 MiB, or hold an export that
            Langfuse would refuse. A `ValueError`.
        TypeError: `body` is not bytes, or `encoding` not a text.
    """
    __tracebackhide__ = True
    return [record for records in decode_exports(body, encoding=encoding) for record in records]


def decode_exports(body: bytes, *, encoding: str | None = None) -> list[list[SpanRecord]]:
    """Return the spans as `decode_records` does, those of each JSON document in a list of their own."""
    data = decompress(body, encoding)
    if not data:
        message = "the body is empty; expected an OTLP trace export (protobuf or JSON)"
        raise DecodeError(message)
    failure: DecodeError | None = None
    if data.startswith(_PROTOBUF_FIRST_BYTE):
        from pytest_langfuse.recording.otlp.from_protobuf import records_from_protobuf

        try:
            return [records_from_protobuf(data)]
        except DecodeError as error:
            # A line feed begins protobuf here, but may begin JSON as well.
            failure = error
    if looks_like_json(data):
        from pytest_langfuse.recording.otlp.from_json import exports_from_json

        return exports_from_json(data)
    raise failure or garbage(data)
