"""Traces in files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Final

from pytest_langfuse.expect.api_view import is_api_document, observations_in
from pytest_langfuse.expect.collector import SIZE, undisturbed
from pytest_langfuse.expect.static_source import StaticSource
from pytest_langfuse.recording.otlp import DecodeError, decode_otlp
from pytest_langfuse.recording.source import WireBody

_GZIP: Final = b"\x1f\x8b"


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


def decompressed(data: bytes) -> bytes:
    """`data` without gzip, if it has it."""
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError):
        # Said better by the decoder, which gets the same bytes.
        return data


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
