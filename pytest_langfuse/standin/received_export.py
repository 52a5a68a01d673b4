"""An export that the stand-in accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_langfuse.recording.otlp.decode import decode_records
from pytest_langfuse.recording.span_record import SpanRecord


@dataclass(frozen=True, eq=False)
class ReceivedExport:
    """An export that the stand-in accepted.

    Attributes:
        base_path: The path of the base URL that it was sent to; empty for a base URL without a path.
        body: The OTLP body, decompressed.
    """

    base_path: str
    body: bytes

    @cached_property
    def records(self) -> Sequence[SpanRecord]:
        """Its spans, decoded once.

        Raises:
            DecodeError: Langfuse accepts the body, converts it later, and would fail to.
        """
        return decode_records(self.body)
