"""Lines of tests in compressed blocks: what workers of xdist hand on, and what this process keeps until it writes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from pytest_langfuse.report.captured_lines import CapturedPart
from pytest_langfuse.report.kept_test import KeptKey
from pytest_langfuse.report.redaction import encoded

#: Bytes of lines from on which a block is full.
_BLOCK: Final = 1 << 20
#: The fastest: four times as fast as the default, and the blocks are a seventh larger.
_LEVEL: Final = 1


def packed(parts: Iterable[tuple[KeptKey, CapturedPart]]) -> Iterator[bytes]:
    """Yield blocks with the parts of tests, each with the key of its test."""
    waiting: list[str] = []
    size = 0
    for test, part in parts:
        waiting.append(encoded([test, part.fields, len(part.lines)]))
        waiting += part.lines
        size += sum(map(len, part.lines)) + len(waiting[-1])
        if size >= _BLOCK:
            yield _block(waiting)
            waiting, size = [], 0
    if waiting:
        yield _block(waiting)


def _block(lines: list[str]) -> bytes:
    return zlib.compress("\n".join(lines).encode("ascii"), _LEVEL)


def unpacked(blocks: Iterable[bytes]) -> Iterator[tuple[KeptKey, CapturedPart]]:
    """Yield what `packed` was given."""
    for block in blocks:
        lines = iter(zlib.decompress(block).decode("ascii").split("\n"))
        for header in lines:
            (test, repeat), fields, number = json.loads(header)
            yield (test, repeat), CapturedPart(fields, [next(lines) for _ in range(number)])
