"""Read a file of `--langfuse-json`, line by line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

#: The newest schema that is understood. What is added to it keeps the number.
_SCHEMA: Final = 1
_GZIP: Final = b"\x1f\x8b"


class BadRowFile(ValueError):  # noqa: N818 - reads as what happened
    """A file that is not one of `--langfuse-json`; the message says why."""


def rows_in(file: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file, which may be compressed by gzip, as objects; `name` is how messages call it.

    Raises:
        BadRowFile: it is not such a file, or a newer one.
        OSError: it can't be read.
    """
    start = file.peek(2)[:2] if hasattr(file, "peek") else b""
    lines: Iterable[bytes] = gzip.GzipFile(fileobj=file) if start == _GZIP else file
    is_empty = True
    try:
        for number, line in enumerate(lines, 1):
            if text := line.strip():
                yield _row(text, f"{name}: line {number}")
                is_empty = False
    except (EOFError, gzip.BadGzipFile):
        raise BadRowFile(f"{name} is damaged: its compressed data ends too early") from None
    if is_empty:
        raise BadRowFile(f"{name} is empty")


def _row(text: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("kind"), str):
        raise BadRowFile(f"{where} is not a line of --langfuse-json; write one with pytest --langfuse-json=FILE")
    if row["kind"] == "run" and isinstance(schema := row.get("schema"), int) and schema > _SCHEMA:
        raise BadRowFile(f"{where}: the file has schema {schema}, and this version of pytest-langfuse reads {_SCHEMA}")
    return row
