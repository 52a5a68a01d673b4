"""Traces in files and export bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from pytest_langfuse.recording.gc_pause import SIZE, undisturbed
from pytest_langfuse.recording.otlp.decode import decode_exports
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.otlp.decompress import decompress
from pytest_langfuse.recording.otlp.from_json import exports_from_documents
from pytest_langfuse.recording.otlp.json_documents import json_documents, looks_like_json
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.server_view.loss import split
from pytest_langfuse.recording.sources.api import (
    damage_of,
    is_api_document,
    observations_in,
    other_endpoint,
    scores_in,
    traces_in,
)
from pytest_langfuse.recording.sources.json_lines import is_run, read_run
from pytest_langfuse.recording.sources.readable_file import content_of
from pytest_langfuse.recording.sources.source import Unexported, WireBody
from pytest_langfuse.recording.sources.static import StaticSource
from pytest_langfuse.recording.span_record import SpanRecord


class OtherEndpointError(DecodeError):
    """JSON of Langfuse's API that holds no observations; the message says what to fetch."""


def source_of_file(path: Path, test: str | None = None, hide: Callable[[str], str] = str) -> StaticSource:
    """Return the observations in a file: export bodies (OTLP, protobuf or JSON), JSON of Langfuse's API, or a run.

    All of them gzip or not. `test` chooses one test of a run, the file of `--langfuse-json`, in which a part of its id
    may be redacted; `hide` takes secrets out of a text.

    Several JSON documents may follow each other, one per line.

    Raises:
        DecodeError: The file holds anything else, or decompresses to more than 256 MiB; the message names the file.
        LookupError: The run has no such test, or several that it may be, or the file is not one of a run.
    """
    return source_of_bytes(content_of(path), str(path), test, hide)


def source_of_bytes(data: bytes, name: str, test: str | None = None, hide: Callable[[str], str] = str) -> StaticSource:
    """Return the observations in the content of a file; messages call it `name`.

    Raises:
        DecodeError: As `source_of_file`.
        LookupError: As `source_of_file`.
    """
    try:
        plain = decompress(data)
        with undisturbed(len(plain) // SIZE):
            if is_run(plain):
                return read_run(plain).source(test, hide)
            if test is not None:
                raise LookupError(f"{name} is not a file of --langfuse-json, so it has no tests")
            return _in_file(plain)
    except DecodeError as error:
        raise type(error)(f"{name}: {error}") from None


def source_of_body(body: bytes, encoding: str | None = None) -> StaticSource:
    """Return the observations of an export body. Arguments are those of `decode_otlp`.

    Spans of an export that Langfuse would accept and lose are `unexported`.

    Raises:
        DecodeError: The bytes are something else, damaged, decompress to more than 256 MiB, or hold an export that
            Langfuse would refuse.
    """
    plain = decompress(body, encoding)
    with undisturbed(len(plain) // SIZE):
        return _source(decode_exports(plain, encoding="identity"), WireBody("body", plain))


def _in_file(plain: bytes) -> StaticSource:
    documents, wire = _documents(plain), WireBody("file", plain)
    if not documents:
        # The decoder says what is wrong with it.
        return _source(decode_exports(plain, encoding="identity"), wire)
    if all(map(is_api_document, documents)):
        return StaticSource(
            chain.from_iterable(map(observations_in, documents)),
            scores=[score for document in documents for score in scores_in(document)],
            traces=[trace for document in documents for trace in traces_in(document)],
            wire=[wire],
        )
    if (what := next(filter(None, map(other_endpoint, documents)), None)) is not None:
        raise OtherEndpointError(
            f"it holds {what}, as another endpoint of Langfuse's API answers; fetch each trace with "
            "GET /api/public/traces/ID, or its observations with GET /api/public/observations?traceId=ID"
        )
    if (damage := next(filter(None, map(damage_of, documents)), None)) is not None:
        raise DecodeError(f"it looks like JSON of Langfuse's API, but it is damaged: {damage}")
    return _source(exports_from_documents(documents), wire)


def _source(exports: Iterable[Sequence[SpanRecord]], wire: WireBody) -> StaticSource:
    shown, lost = split(exports)
    missing = [Unexported(observe(record), "dropped", reason) for record, reason in lost]
    return StaticSource(map(observe, shown), unexported=missing, undelivered=missing, wire=[wire])


def _documents(plain: bytes) -> list[Any]:
    """Return the JSON documents in a text; none if it is, or ends in, anything else."""
    try:
        return json_documents(plain) if looks_like_json(plain) else []
    except DecodeError:
        return []
