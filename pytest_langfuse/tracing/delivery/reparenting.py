"""The exporter that mends trees: what is below a span that Langfuse does not get moves to its nearest ancestor."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.exported_ancestor import ExportedAncestors
from pytest_langfuse.tracing.langfuse_internals import IS_APP_ROOT, with_parent
from pytest_langfuse.tracing.wrapping_exporter import WrappingExporter

#: The attribute that keeps the parent as the application made it: 16 hexadecimal digits.
FILTERED_PARENT = "pytest_langfuse.filtered_parent_id"


class Reparenting(WrappingExporter):
    """Gives each span of a batch the parent that it has in Langfuse, then passes the batch on.

    The latest moment at which that can be decided: an ancestor's last attributes may be what its filter goes by. The
    spans themselves stay as they are, for the application's other exporters.
    """

    def __init__(self, inner: SpanExporter, ancestors: ExportedAncestors, ledger: SpanLedger) -> None:
        super().__init__(inner)
        self._ancestors, self._ledger = ancestors, ledger

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans below their nearest exported ancestors."""
        unsure = self._ancestors.is_unsure
        return self.sends_through.export(
            [span if (parent := span.parent) is None or not unsure(parent) else self._mended(span) for span in spans]
        )

    def _mended(self, span: ReadableSpan) -> ReadableSpan:
        before, parent = span.parent, self._ancestors.resolved(span.parent)
        if before is None or (parent is not None and parent.span_id == before.span_id):
            return span
        self._ledger.reparented()
        attributes = dict(span.attributes or {})
        attributes[FILTERED_PARENT] = trace.format_span_id(before.span_id)
        if parent is not None and not parent.is_remote:
            # The SDK took it for the first observation of the application, because its parent is not one.
            attributes.pop(IS_APP_ROOT, None)
        return with_parent(span, parent, attributes)
