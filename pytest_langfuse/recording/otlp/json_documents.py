"""JSON documents that follow one another in one text, one per line for example."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from pytest_langfuse.recording.otlp.decode_error import DecodeError

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SPACE: Final = re.compile(r"\s*")
#: Bytes in which a document must begin; the rest of the text is not looked at twice.
_SNIFFED: Final = 1024


def looks_like_json(data: bytes) -> bool:
    """Return whether `data` begins like a JSON object or list."""
    return data[:_SNIFFED].lstrip().removeprefix(_BYTE_ORDER_MARK).lstrip().startswith((b"{", b"["))


def json_documents(data: bytes) -> list[Any]:
    """Return the JSON documents in `data`.

    Raises:
        DecodeError: The text is not UTF-8, or a document is broken; the message names the place.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the body begins like JSON but is not UTF-8 (byte {error.start})"
        raise DecodeError(message) from None
    decoder = json.JSONDecoder()
    documents: list[Any] = []
    position = _after_space(text, 0)
    while position < len(text):
        try:
            document, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            what = "is truncated" if error.pos >= len(text.rstrip()) else "is broken"
            message = f"the JSON body {what} at line {error.lineno}, column {error.colno}: {error.msg}"
            raise DecodeError(message) from None
        except RecursionError:
            message = "the JSON body is nested too deeply"
            raise DecodeError(message) from None
        position = _after_space(text, end)
        documents.append(document)
    return documents


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match is not None else position
