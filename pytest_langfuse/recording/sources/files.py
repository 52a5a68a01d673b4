"""Traces in files."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from pytest_langfuse.recording.gc_pause import SIZE, undisturbed
from pytest_langfuse.recording.otlp.decode import DecodeError, decode_otlp
from pytest_langfuse.recording.sources.api import is_api_document, observations_in
from pytest_langfuse.recording.sources.source import WireBody
from pytest_langfuse.recording.sources.static import StaticSource


def read_source(path: Path) -> StaticSource:
    """The observations in a file: export bodies (OTLP, protobuf or JSON) or JSON of Langfuse's API; gzip or not.

    Several JSON documents may follow each other, one a line. Raises `DecodeError`, a `ValueError` that names the file.
    """
    data = path.read_bytes()
    try:
        return source_of(data)
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from None


def source_of(data: bytes) -> StaticSource:
    """As `read_source`, for the bytes of the file."""
    plain = decompressed(data)
    with undisturbed(len(plain) // SIZE):
        documents = _documents(plain)
        if documents and all(map(is_api_document, documents)):
            observations = [observation for document in documents for observation in observations_in(document)]
        else:
            observations = decode_otlp(data)
        return StaticSource(observations, wire=[WireBody("file", plain)])


def decompressed(data: bytes, encoding: str | None = None) -> bytes:
    """`data` without gzip, if it has it, or without the deflate that `encoding` (a `Content-Encoding`) says."""
    deflated = (encoding or "").strip().lower() == "deflate"
    for decompress in (zlib.decompress, _inflate) if deflated else (gzip.decompress,):
        try:
            return decompress(data)
        except (OSError, EOFError, zlib.error):
            # Not this way; what is wrong with the bytes says the decoder, which gets them, too.
            continue
    return data


def _inflate(data: bytes) -> bytes:
    """Bare deflate, which some send by that name."""
    return zlib.decompress(data, -zlib.MAX_WBITS)


def _documents(data: bytes) -> list[Any]:
    """The JSON documents in a text; none if it is, or ends in, anything else."""
    documents: list[Any] = []
    try:
        text = data.decode("utf-8-sig").strip()
        decoder, position = json.JSONDecoder(), 0
        while position < len(text):
            document, position = decoder.raw_decode(text, position)
            while text[position : position + 1].isspace():
                position += 1
            documents.append(document)
    except (ValueError, RecursionError):
        return []
    return documents
