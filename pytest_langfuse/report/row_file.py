"""Read a file of `--langfuse-json`, line by line, or one of recorded traces."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.recording.sources.json_lines import BYTE_ORDER_MARK
from pytest_langfuse.report.line_schema import problem_of

if TYPE_CHECKING:
    from pytest_langfuse.rules.rule_set import RuleSet

#: How a line begins, in the order of keys that the writer has.
_LINE: Final = re.compile(rb'\s*\{\s*"kind"')
#: The newest schema that is understood. What is added to it keeps the number.
_SCHEMA: Final = 1
_GZIP: Final = b"\x1f\x8b"


class BadRowFile(ValueError):  # noqa: N818 - reads as what happened
    """A file that is not one of `--langfuse-json`; the message says why."""


def rows_in(file: BufferedReader, name: str, rules: RuleSet) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file, which may be compressed by gzip, as objects; `name` is how messages call it.

    Of recorded traces (export bodies, JSON of Langfuse's API) these are lines, too, with what `rules` find in them.

    Raises:
        BadRowFile: it is not such a file, or a newer one; or a pattern of the project takes too long.
        OSError: it can't be read.
    """
    plain = BufferedReader(gzip.GzipFile(fileobj=file)) if file.peek(2).startswith(_GZIP) else file
    try:
        if plain.peek(len(BYTE_ORDER_MARK)).startswith(BYTE_ORDER_MARK):
            plain.read(len(BYTE_ORDER_MARK))
        if _LINE.match(plain.peek(100)):
            yield from _lines(plain, name)
        else:
            yield from _traces(plain.read(), name, rules)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise BadRowFile(f"{name} is damaged: its compressed data ends too early") from None


def _lines(file: Iterable[bytes], name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if text := line.strip():
            yield _row(text, f"{name}: line {number}")


def _traces(data: bytes, name: str, rules: RuleSet) -> Iterator[dict[str, Any]]:
    if not data.strip():
        raise BadRowFile(f"{name} is empty")
    from pytest_langfuse.recording.otlp.decode_error import DecodeError
    from pytest_langfuse.recording.sources.files import OtherEndpointError, source_of_bytes
    from pytest_langfuse.report.recorded_rows import rows_of_traces
    from pytest_langfuse.rules.rule_set import UnknownRule

    try:
        source = source_of_bytes(data, name)
    except OtherEndpointError as error:
        raise BadRowFile(str(error)) from None
    except DecodeError as error:
        raise BadRowFile(f"{error}; write a file with pytest --langfuse-json=FILE") from None
    if not (source.observations() or source.unexported()):
        raise BadRowFile(f"{name} has no traces")
    try:
        yield from rows_of_traces(source, name, rules)
    except UnknownRule as error:
        raise BadRowFile(str(error)) from None


def _row(text: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("kind"), str):
        raise BadRowFile(f"{where} is not a line of --langfuse-json")
    if row["kind"] == "run" and isinstance(schema := row.get("schema"), int) and schema > _SCHEMA:
        raise BadRowFile(f"{where}: the file has schema {schema}, and this version of pytest-langfuse reads {_SCHEMA}")
    if (problem := problem_of(row)) is not None:
        raise BadRowFile(f"{where}: {problem}")
    return row
