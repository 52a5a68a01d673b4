"""Counts the spans of an export body by the lengths of its fields, without decoding them.

Decoding costs several microseconds a span, which is more than all else that is done with it.
"""

from __future__ import annotations

#: Field numbers and wire types (Protocol Buffers, "Encoding"; opentelemetry/proto/trace/v1/trace.proto):
#: `resource_spans` = 1 of the request, `scope_spans` = 2 of that, `spans` = 2 of that.
_RESOURCE_SPANS, _SCOPE_SPANS, _SPANS = 0x0A, 0x12, 0x12
_PATH = (_RESOURCE_SPANS, _SCOPE_SPANS, _SPANS)
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MORE = 0x80
_DEPTH_OF_SPANS = 2


def count_spans(data: bytes) -> int | None:
    """Return the number of spans; `None` if the bytes can't be a whole export body.

    Bodies are joined by writing one behind the other: one that ends in the middle of a field would take the beginning
    of the next for its own.
    """
    try:
        return _count(data, 0, len(data), 0)
    except IndexError:
        return None


def _count(data: bytes, position: int, end: int, depth: int) -> int | None:
    wanted, found = _PATH[depth], 0
    if depth == _DEPTH_OF_SPANS:
        found, position = _run_of_spans(data, position, end)
    while position < end:
        tag = data[position]
        if tag & 7 != _LENGTH:
            position = _behind_number(data, position)
            continue
        if tag >= _MORE:
            position = _behind_varint(data, position) - 1
        length = data[position + 1]
        position += 2
        if length >= _MORE:
            # Written out, as it is done for each span that `_run_of_spans` leaves.
            byte = data[position]
            position += 1
            length = length & 0x7F | (byte & 0x7F) << 7
            shift = 14
            while byte >= _MORE:
                byte = data[position]
                position += 1
                length |= (byte & 0x7F) << shift
                shift += 7
        if tag == wanted:
            inner: int | None = 1
            if depth < _DEPTH_OF_SPANS:
                inner = _count(data, position, position + length, depth + 1) if position + length <= end else None
            if inner is None:
                return None
            found += inner
        position += length
    return found if position == end else None


def _run_of_spans(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Count spans with a length of two bytes, as nearly all have, up to the first field that is another one.

    Return their number and the position behind them.
    """
    found = 0
    while position < end and data[position] == _SPANS and (low := data[position + 1]) >= _MORE:
        if (high := data[position + 2]) >= _MORE:
            break
        # Behind the tag, the two bytes, and (low & 0x7F | high << 7) further ones.
        position += low + (high << 7) - 125
        found += 1
    return found, position


def _behind_number(data: bytes, position: int) -> int:
    """Return the position behind a field that is not of variable length; far behind the end if there is none."""
    kind = data[position] & 7
    position = _behind_varint(data, position)
    if kind == _VARINT:
        return _behind_varint(data, position)
    return position + {_FIXED64: 8, _FIXED32: 4}.get(kind, len(data) + 1)


def _behind_varint(data: bytes, position: int) -> int:
    while data[position] >= _MORE:
        position += 1
    return position + 1
