"""An export that the stand-in accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.server_view.javascript import truthy
from pytest_langfuse.recording.server_view.loss import LostRecord, split
from pytest_langfuse.recording.sources.source import Unexported
from pytest_langfuse.recording.span_record import SpanRecord


@dataclass(frozen=True, eq=False)
class ReceivedExport:
    """An export that the stand-in accepted. Reading it never raises an error.

    Attributes:
        base_path: The path of the base URL that it was sent to; empty for a base URL without a path.
        body: The OTLP body, decompressed.
        is_json: Whether the body is OTLP/JSON instead of protobuf.
    """

    base_path: str
    body: bytes
    is_json: bool = False

    @property
    def records(self) -> Sequence[SpanRecord]:
        """The spans that Langfuse shows of it. Decoded once."""
        return self._contents[0]

    @property
    def lost(self) -> Sequence[LostRecord]:
        """The spans that Langfuse accepts and then loses: none or all. Decoded once."""
        return self._contents[1]

    @property
    def arrived(self) -> Iterator[SpanRecord]:
        """All spans, whether or not Langfuse shows them."""
        yield from self.records
        yield from (lost.record for lost in self.lost)

    def missing(self) -> list[Unexported]:
        """Return the spans that are lost, as failure messages list them."""
        return [Unexported(observe(record), "dropped", reason) for record, reason in self.lost]

    @cached_property
    def _contents(self) -> tuple[list[SpanRecord], list[LostRecord]]:
        try:
            return split(self._decoded())
        except DecodeError as error:
            unknown = SpanRecord("", "", None, "an export that cannot be read")
            return [], [LostRecord(unknown, f"Langfuse accepts it and then loses it: {error}")]

    def _decoded(self) -> list[list[SpanRecord]]:
        if not self.is_json:
            from pytest_langfuse.recording.otlp.from_protobuf import records_from_protobuf

            return [records_from_protobuf(self.body)]
        from pytest_langfuse.recording.otlp.from_json import exports_from_documents
        from pytest_langfuse.recording.otlp.json_check import field_of
        from pytest_langfuse.recording.otlp.json_documents import json_documents

        documents = json_documents(self.body)
        # Langfuse answers an export of nothing with 200.
        return exports_from_documents([one for one in documents if truthy(field_of(one, "resourceSpans"))])
