"""A trace as a rule of sampling sees it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_langfuse.tracing.lazy import exported_by

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

# Read by the server; the SDK's own names come first (langfuse 5.0.4, attributes.py).
_NAME = ("langfuse.trace.name",)
_USER = ("user.id", "langfuse.user.id")
_SESSION = ("session.id", "langfuse.session.id")
_TAGS = ("langfuse.trace.tags", "langfuse.tags")
_METADATA = "langfuse.trace.metadata."

_NANOSECONDS = 1_000_000_000


@exported_by("pytest_langfuse.tracing")
class SampledTrace:
    """A trace whose last span in this process has ended, as a rule sees it. Values that were not set are `None`.

    It is the part of the trace that ran in this process. Where it is decided early, for want of memory or at the end
    of the process, it is what there is so far.
    """

    def __init__(self, trace_id: int, root: ReadableSpan, spans: Sequence[ReadableSpan]) -> None:
        self._id = trace_id
        #: The span that started first in this process; its parent may be a caller's.
        self.root = root
        #: The spans for Langfuse that have ended.
        self.spans = spans

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return f"{self._id:032x}"

    @functools.cached_property
    def name(self) -> str:
        """The name that the application gave the trace, else the root's."""
        return self._text(_NAME) or self.root.name

    @functools.cached_property
    def user_id(self) -> str | None:
        """The user."""
        return self._text(_USER)

    @functools.cached_property
    def session_id(self) -> str | None:
        """The session."""
        return self._text(_SESSION)

    @functools.cached_property
    def tags(self) -> tuple[str, ...]:
        """The tags of all spans."""
        values = (attributes.get(key) for attributes in self._attributes() for key in _TAGS)
        return tuple(dict.fromkeys(tag for value in values if isinstance(value, list | tuple) for tag in value))

    @functools.cached_property
    def metadata(self) -> dict[str, Any]:
        """The trace's metadata (`propagate_attributes(metadata=…)`, `request_context`), values as text."""
        found: dict[str, Any] = {}
        for attributes in self._attributes():
            for key, value in dict(attributes).items():
                if key.startswith(_METADATA):
                    found.setdefault(key[len(_METADATA) :], value)
        return found

    @property
    def duration(self) -> float:
        """Seconds from the first start to the last end."""
        ended = [span for span in (self.root, *self.spans) if span.end_time is not None]
        if not ended:
            return 0.0
        first, last = min(span.start_time or 0 for span in ended), max(span.end_time or 0 for span in ended)
        return max(last - first, 0) / _NANOSECONDS

    def _attributes(self) -> Iterator[Mapping[str, Any]]:
        for span in (self.root, *self.spans):
            if attributes := span.attributes:
                yield attributes

    def _text(self, keys: Iterable[str]) -> str | None:
        for attributes in self._attributes():
            for key in keys:
                value = attributes.get(key)
                if isinstance(value, str) and value:
                    return value
        return None
