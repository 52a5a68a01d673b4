"""JSON documents that follow one another in one text, one per line for example."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.server_view.javascript import number

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
        DecodeError: A document is broken; the message names the place.
    """
    # Langfuse replaces what is not UTF-8, too.
    text = data.decode("utf-8-sig", "replace")
    decoder = json.JSONDecoder(parse_constant=_refuse, parse_int=_number, parse_float=_number)
    documents: list[Any] = []
    position = _after_space(text, 0)
    while position < len(text):
        try:
            document, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            what = "is truncated" if error.pos >= len(text.rstrip()) else "is broken"
            message = f"the JSON body {what} at line {error.lineno}, column {error.colno}: {error.msg}"
            raise DecodeError(message) from None
        except _ConstantError as error:
            message = f"the JSON body contains {error}, which is not JSON"
            raise DecodeError(message) from None
        except RecursionError:
            message = "the JSON body is nested too deeply"
            raise DecodeError(message) from None
        position = _after_space(text, end)
        documents.append(document)
    return documents


class _ConstantError(ValueError):
    pass


def _refuse(constant: str) -> NoReturn:
    raise _ConstantError(constant)


def _number(token: str) -> float | None:
    """Return a number as a double; `None` if it is too large for one, since Langfuse keeps exports as JSON."""
    value = float(token)
    return number(value) if math.isfinite(value) else None


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match is not None else position
