"""The nearest ancestor of a span that Langfuse gets: the parent that its observation has there.

Spans that the filter drops stand between observations: a web framework's, an HTTP client's, the application's own. A
parent that never arrives leaves a trace in pieces. One rule finds the parent, for what is exported (`reparenting.py`)
and for the headers that name it to another service:

- a span that has ended counts as the filter judges it now; so does an open one, for as long as it is open;
- spans of another tracer provider, and those that the tail sampler has dropped, never get to Langfuse;
- a parent in another process counts as exported, unless that process says who stands for it (`caller_state.py`).
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any

from langfuse.span_filter import is_default_export_span, is_known_llm_instrumentor, is_langfuse_span
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext

from pytest_langfuse.tracing import caller_state
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.langfuse_internals import FILTER_IS_ASKED_AT_START, follow_provider_of, set_parent

if TYPE_CHECKING:
    from opentelemetry.context import Context

Filter = Callable[[ReadableSpan], bool]

#: So many spans are remembered that the filter turned down when they ended, though not when they started.
MOST_LATE = 10_000
_MOST_SCOPES = 1_000


class UnsureParent(SpanContext):
    """A parent that Langfuse may not get. It is equal to the plain one, and holds the span for as long as it is needed.

    The copies of a span have it, too: the one that is queued when the span ends, the one that a sampler makes.
    """

    span: ReadableSpan | DroppedSpan

    @classmethod
    def of(cls, parent: SpanContext, span: ReadableSpan | DroppedSpan) -> UnsureParent:
        """Return `parent`, which is the context of `span`."""
        self = cls(parent.trace_id, parent.span_id, parent.is_remote, parent.trace_flags, parent.trace_state)
        object.__setattr__(self, "span", span)
        return self


class DroppedSpan:
    """A span that is known to be dropped, below `parent`."""

    __slots__ = ("parent",)

    def __init__(self, parent: SpanContext | None) -> None:
        self.parent = parent


class _Remembered(weakref.ref[Span]):
    __slots__ = ("is_foreign", "span_id")
    span_id: int
    is_foreign: bool


class _ForeignSpans(SpanProcessor):
    """Follows the spans of another tracer provider, which Langfuse never gets."""

    def __init__(self, ancestors: ExportedAncestors) -> None:
        self._ancestors = ancestors

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """A span started there."""
        self._ancestors.foreign_started(span)


class ExportedAncestors:
    """Follows the spans that Langfuse may not get, and finds who is above them. Thread-safe without a lock.

    A span that is certain to be exported, below one that is, costs a few look-ups at its start and nothing at its end.
    """

    def __init__(self) -> None:
        self._filter: Filter = is_default_export_span
        self._custom = False
        self._public_key: str | None = None
        #: Whether spans of an instrumentation scope are certain to be exported, by the scope's identity.
        self._scopes: dict[int, tuple[bool, Any]] = {}
        #: Spans that may not be exported, as long as anything refers to them.
        self._unsure: dict[int, _Remembered] = {}
        #: Parents of spans that were turned down only when they ended.
        self._late: OrderedDict[int, SpanContext | None] = OrderedDict()
        self._follower = _ForeignSpans(self)

    def use(self, should_export_span: Filter | None, public_key: str | None = None) -> Filter | None:
        """Ask the filter of the client that is installed; `None` is Langfuse's default.

        Returns the filter to give to the client.
        """
        self._filter, self._custom = should_export_span or is_default_export_span, should_export_span is not None
        self._public_key = public_key
        self._scopes.clear()
        self._late.clear()
        return self._watched if self._custom else None

    def started(self, span: Span, parent_context: Context | None, open_spans: Container[int]) -> None:
        """A span started. `open_spans` are the ids of those that are open, in the same provider."""
        parent = span.parent
        if parent is not None:
            if self._unsure and (above := self._remembered(parent.span_id)) is not None:
                set_parent(span, UnsureParent.of(parent, above))
            elif parent.span_id not in open_spans and not parent.is_remote:
                self._started_below_unknown(span, parent, parent_context)
        scope = span.instrumentation_scope
        known = self._scopes.get(id(scope))
        if not (known[0] if known is not None and known[1] is scope else self._is_sure(span)) or (
            # Version 5 asks it itself, see `_watched`.
            self._custom and not FILTER_IS_ASKED_AT_START and not self._passes(span)
        ):
            self._remember(span, parent_context)

    def _started_below_unknown(self, span: Span, parent: SpanContext, parent_context: Context | None) -> None:
        """Its parent has ended, is another provider's, or was made up to carry an id (`trace_context=`)."""
        current = trace.get_current_span(parent_context)
        if isinstance(current, ReadableSpan) and current.resource is not span.resource:
            set_parent(span, UnsureParent.of(parent, DroppedSpan(current.parent)))
            # What is between two observations from now on is followed, too.
            follow_provider_of(current, self._follower)

    def nearest(self, span: trace.Span) -> SpanContext | None:
        """Return the context of `span` if it is exported, else of its nearest ancestor that is; `None` without any."""
        context = span.get_span_context()
        return self.resolved(UnsureParent.of(context, span) if isinstance(span, ReadableSpan) else context)

    def nearest_span(self, span: trace.Span) -> trace.Span:
        """Return `span` if it is exported, else its nearest ancestor in this process that is; `span` without any."""
        above: Any = span
        while isinstance(above, ReadableSpan) and not self.is_exported(above):
            above = above.parent.span if isinstance(above.parent, UnsureParent) else None
        return above if isinstance(above, Span) else span

    def resolved(self, parent: SpanContext | None) -> SpanContext | None:
        """Return `parent` if it is exported, else its nearest ancestor that is; `None` if there is none."""
        while parent is not None:
            if isinstance(parent, UnsureParent):
                if self.is_exported(parent.span):
                    break
                parent = parent.span.parent
            elif (above := self._remembered(parent.span_id)) is not None:
                parent = UnsureParent.of(parent, above)
            elif parent.span_id in self._late:
                parent = self._late[parent.span_id]
            else:
                return caller_state.nearest_of(parent)
        return parent

    def is_unsure(self, parent: SpanContext) -> bool:
        """Return whether `resolved` may return anything else."""
        return isinstance(parent, UnsureParent) or parent.span_id in self._late or caller_state.says_more(parent)

    def is_exported(self, span: ReadableSpan | DroppedSpan) -> bool:
        """Return whether Langfuse gets a span of the installed client's provider, as far as its filter decides."""
        if isinstance(span, DroppedSpan) or (is_langfuse_span(span) and not self._is_of_project(span)):
            return False
        return self._passes(span)

    def _passes(self, span: ReadableSpan) -> bool:
        try:
            return bool(self._filter(span))
        except Exception as error:  # noqa: BLE001 - the application's filter; Langfuse drops a span that it fails on
            failures.report("asking should_export_span", error)
            return False

    def _watched(self, span: ReadableSpan) -> bool:
        """The application's filter, as the client asks it."""
        passes = False
        try:
            passes = bool(self._filter(span))
        finally:
            if not passes:
                self._turned_down(span)
        return passes

    def _turned_down(self, span: ReadableSpan) -> None:
        if span.end_time is None:
            if isinstance(span, Span):
                self._remember(span, None)
            return
        context = span.get_span_context()
        if context is not None and context.span_id not in self._unsure:
            self._late[context.span_id] = span.parent
            if len(self._late) > MOST_LATE:
                self._late.popitem(last=False)

    def _is_sure(self, span: Span) -> bool:
        """Return whether the filter can turn down no span of this scope (but for one of the application's own)."""
        sure = self._is_of_project(span) if is_langfuse_span(span) else is_known_llm_instrumentor(span) or self._custom
        if len(self._scopes) >= _MOST_SCOPES:
            self._scopes.clear()
        self._scopes[id(span.instrumentation_scope)] = (sure, span.instrumentation_scope)
        return sure

    def _is_of_project(self, span: ReadableSpan) -> bool:
        scope = span.instrumentation_scope
        attributes = scope.attributes if scope is not None else None
        return self._public_key is None or (attributes or {}).get("public_key") == self._public_key

    def _remember(self, span: Span, parent_context: Context | None) -> None:
        if (parent := span.parent) is not None and not isinstance(parent, UnsureParent):
            current = trace.get_current_span(parent_context)
            if isinstance(current, ReadableSpan) and current.get_span_context() == parent:
                set_parent(span, UnsureParent.of(parent, current))
        self._keep(span, is_foreign=False)

    def foreign_started(self, span: Span) -> None:
        """A span of another tracer provider started."""
        if (parent := span.parent) is not None and (above := self._remembered(parent.span_id)) is not None:
            set_parent(span, UnsureParent.of(parent, above))
        self._keep(span, is_foreign=True)

    def _keep(self, span: Span, *, is_foreign: bool) -> None:
        remembered = _Remembered(span, self._forget)
        remembered.span_id, remembered.is_foreign = span.get_span_context().span_id, is_foreign
        self._unsure[remembered.span_id] = remembered

    def _forget(self, remembered: _Remembered) -> None:
        if self._unsure.get(remembered.span_id) is remembered:
            del self._unsure[remembered.span_id]

    def _remembered(self, span_id: int) -> Span | DroppedSpan | None:
        remembered = self._unsure.get(span_id)
        if remembered is None or (span := remembered()) is None:
            return None
        return DroppedSpan(span.parent) if remembered.is_foreign else span


#: Of this process; follows the installed client.
exported_ancestors = ExportedAncestors()
