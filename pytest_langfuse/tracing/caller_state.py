"""The member of `tracestate` by which a process tells another who stands for a parent that Langfuse does not get.

`traceparent` of another instrumentation names its own span (an HTTP client's, a message producer's), and has to: the
other backends of the application count on it. Where that span is not exported to Langfuse, the member
`pytest-langfuse=PARENT-NEAREST` says so: ids in 16 hexadecimal digits, and zeros for "no ancestor is exported".
`tracestate` is handed on from span to span, so the member holds for the parent that it names and no other.
"""

from __future__ import annotations

import re

from opentelemetry import trace
from opentelemetry.trace import SpanContext

_MEMBER = "pytest-langfuse"
_VALUE = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})")


def with_nearest(parent: SpanContext, nearest: SpanContext | None) -> SpanContext:
    """Return `parent` with a state that says who stands for it."""
    stands_for = trace.format_span_id(nearest.span_id if nearest is not None else 0)
    value = f"{trace.format_span_id(parent.span_id)}-{stands_for}"
    state = parent.trace_state
    state = state.update(_MEMBER, value) if _MEMBER in state else state.add(_MEMBER, value)
    return SpanContext(parent.trace_id, parent.span_id, parent.is_remote, parent.trace_flags, state)


def says_more(parent: SpanContext) -> bool:
    """Return whether a caller has said who stands for `parent`."""
    return parent.is_remote and _MEMBER in parent.trace_state


def nearest_of(parent: SpanContext) -> SpanContext | None:
    """Return who stands for a remote parent: itself, an ancestor, or `None` for nobody."""
    found = _VALUE.fullmatch(parent.trace_state.get(_MEMBER, "")) if parent.is_remote else None
    if found is None or int(found[1], 16) != parent.span_id:
        return parent
    nearest = int(found[2], 16)
    if not nearest:
        return None
    return SpanContext(parent.trace_id, nearest, parent.is_remote, parent.trace_flags, parent.trace_state)
