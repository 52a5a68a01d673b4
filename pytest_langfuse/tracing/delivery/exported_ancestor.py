"""The nearest observation that Langfuse is going to have, for those who need to name a parent to another service.

The span that is current may be one that Langfuse never gets: a server's or HTTP client's span of another
instrumentation, which its filter drops. A parent that never arrives leaves the trace in pieces.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from langfuse.span_filter import is_default_export_span, is_langfuse_span
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span

from pytest_langfuse.tracing.failures import failures

if TYPE_CHECKING:
    from opentelemetry.context import Context

Filter = Callable[[ReadableSpan], bool]


class ExportedAncestors:
    """Remembers the parents of spans that Langfuse may not get, for as long as these are referred to."""

    def __init__(self) -> None:
        self._parents: weakref.WeakKeyDictionary[trace.Span, trace.Span] = weakref.WeakKeyDictionary()
        self._filter: Filter = is_default_export_span
        self._may_drop_any = False

    def use(self, should_export_span: Filter | None) -> None:
        """Ask the filter of the client that is installed; `None` is Langfuse's default."""
        self._filter = should_export_span or is_default_export_span
        self._may_drop_any = should_export_span is not None

    def started(self, span: Span, parent_context: Context | None) -> None:
        """A span started."""
        if self._may_drop_any or not is_langfuse_span(span):
            parent = trace.get_current_span(parent_context)
            if parent.get_span_context().is_valid:
                self._parents[span] = parent

    def nearest(self, span: trace.Span) -> trace.SpanContext:
        """The context of `span`, under the id of its nearest ancestor that Langfuse gets, if there is one.

        A span of another process counts as one that Langfuse gets.
        """
        own, ancestor = span.get_span_context(), span
        while isinstance(ancestor, ReadableSpan) and not self._is_exported(ancestor):
            parent = self._parents.get(ancestor)
            if parent is None:
                return own
            ancestor = parent
        found = ancestor.get_span_context()
        return trace.SpanContext(found.trace_id, found.span_id, own.is_remote, own.trace_flags, own.trace_state)

    def _is_exported(self, span: ReadableSpan) -> bool:
        try:
            return bool(self._filter(span))
        except Exception as error:  # noqa: BLE001 - the application's filter; Langfuse drops a span that it fails on
            failures.report("asking should_export_span", error)
            return False


#: Of this process; follows the installed client.
exported_ancestors = ExportedAncestors()
