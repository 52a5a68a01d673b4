"""Data in the page: JSON, compressed, in base64, which holds no character that HTML gives a meaning to."""

from __future__ import annotations

import gzip
import json
import math
from base64 import b64encode
from typing import Any, Final

#: Observations whose details are decoded together.
_ROWS: Final = 500
#: So many bytes of JSON end a block before it has that many.
_BYTES: Final = 2 << 20
#: Levels above this one take twice the time for a few percent.
_LEVEL: Final = 6
_TOO_DEEP: Final = "[nested too deeply to be shown]"


def json_text(value: Any) -> str:
    """Return JSON that `JSON.parse` accepts: what is not a number becomes null.

    Lone surrogates stay; `packed` escapes them.
    """
    try:
        return _ENCODER.encode(value)
    except (ValueError, RecursionError):
        return _ENCODER.encode(_parseable(value))


def packed(text: str) -> str:
    """Return a text in base64, compressed."""
    # A lone surrogate has no encoding in UTF-8; Python's escape for it is JSON's.
    data = text.encode("utf-8", "backslashreplace")
    return b64encode(gzip.compress(data, _LEVEL, mtime=0)).decode()


class RowBlocks:
    """Lists of rows, each packed by itself, so that a reader decodes only those that it shows."""

    def __init__(self) -> None:
        self.blocks: Final[list[str]] = []
        #: The number of the first row of each block.
        self.starts: Final[list[int]] = []
        self.count: int = 0
        self._rows: list[str] = []
        self._bytes = 0

    def add(self, row: Any) -> int:
        """Add a row; return its number."""
        text = json_text(row)
        self._rows.append(text)
        self._bytes += len(text)
        self.count += 1
        if len(self._rows) == _ROWS or self._bytes > _BYTES:
            self.close()
        return self.count - 1

    def close(self) -> None:
        """End the block that is begun."""
        if self._rows:
            self.starts.append(self.count - len(self._rows))
            self.blocks.append(packed(f"[{','.join(self._rows)}]"))
            self._rows, self._bytes = [], 0


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
#: What the encoder, and a reader in the browser, can follow.
_DEPTH: Final = 200


def _parseable(value: Any, depth: int = 0) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list | tuple) and depth > _DEPTH:
        return _TOO_DEEP
    if isinstance(value, dict):
        return {str(key): _parseable(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_parseable(inner, depth + 1) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST:
        return str(value) if abs(value) < _LONGEST else "[a number of thousands of digits]"
    return value


#: Beyond the first, an integer is written as a text; beyond the second, Python refuses to write it.
_LARGEST: Final = 2**63
_LONGEST: Final = 10**1000
