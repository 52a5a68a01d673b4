"""Traces in files and export bodies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_langfuse.recording.gc_pause import SIZE, undisturbed
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.otlp.decode import decode_records
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.otlp.decompress import decompress
from pytest_langfuse.recording.otlp.from_json import records_from_documents
from pytest_langfuse.recording.otlp.json_documents import json_documents, looks_like_json
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.sources.api import is_api_document, observations_in
from pytest_langfuse.recording.sources.source import WireBody
from pytest_langfuse.recording.sources.static import StaticSource


def source_of_file(path: Path) -> StaticSource:
    """Return the observations in a file: export bodies (OTLP, protobuf or JSON) or JSON of Langfuse's API; gzip or not.

    Several JSON documents may follow each other, one per line.

    Raises:
        DecodeError: The file holds anything else, or decompresses to more than 256 MiB; the message names the file.
    """
    try:
        plain = decompress(path.read_bytes())
        with undisturbed(len(plain) // SIZE):
            return StaticSource(_in_file(plain), wire=[WireBody("file", plain)])
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from None


def source_of_body(body: bytes, encoding: str | None = None) -> StaticSource:
    """Return the observations of an export body. Arguments and errors are those of `decode_otlp`."""
    plain = decompress(body, encoding)
    with undisturbed(len(plain) // SIZE):
        return StaticSource(map(observe, decode_records(plain, encoding="identity")), wire=[WireBody("body", plain)])


def _in_file(plain: bytes) -> Iterable[Observation]:
    documents = _documents(plain)
    if not documents:
        # The decoder says what is wrong with it.
        return map(observe, decode_records(plain, encoding="identity"))
    if all(map(is_api_document, documents)):
        return [observation for document in documents for observation in observations_in(document)]
    return map(observe, records_from_documents(documents))


def _documents(plain: bytes) -> list[Any]:
    """Return the JSON documents in a text; none if it is, or ends in, anything else."""
    try:
        return json_documents(plain) if looks_like_json(plain) else []
    except DecodeError:
        return []
