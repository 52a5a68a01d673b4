"""Why a span that was recorded has not been exported: what was seen, and "not known" where nothing was."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from pytest_langfuse.recording.recorded_span import Reason, RecordedSpan, SpanKey

#: The name of an observation of a request: `GET /items/{i}`, and `GET` while the route is not known.
_REQUEST: Final = re.compile(r"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)(?: |$)")
_REQUEST_HINT: Final = (
    "; a request ends when its response was read or closed, which Flask's test client leaves to the test"
)
SAME_ID: Final = "another observation has the same id: the application seeds `random`"
NO_PROCESSOR: Final = "its tracer provider has no Langfuse span processor"
_UNTOLD: Final = "its Langfuse span processor was not told that it ended, and why is not known"
_LOST: Final = "a span processor took it and no exporter got it, and why is not known"


class Explains(Protocol):
    """Looks at what the SDK holds now, to say what became of a span. `None`: that shows nothing."""

    def why_untold(self, recorded: RecordedSpan) -> tuple[Reason, str] | None:
        """Return why no Langfuse span processor took the ended span or turned it down."""

    def why_lost(self, recorded: RecordedSpan) -> str | None:
        """Return why the span has reached no exporter since a processor took it."""

    def providers(self, spans: Sequence[RecordedSpan]) -> Mapping[str, Sequence[RecordedSpan]]:
        """Return, by project, a span of each tracer provider that exports to it, where several do."""

    def goes_nowhere(self, recorded: RecordedSpan) -> bool:
        """Return whether nothing but a console gets the spans of its tracer provider."""

    def masks_of(self, recorded: RecordedSpan) -> Sequence[str]:
        """Return the names of the masks that the client of a span's project has."""

    def leaves_out(self, recorded: RecordedSpan) -> bool:
        """Return whether the span's exporter leaves out what OpenTelemetry's protocol has no form for."""

    def length_limits(self, spans: Sequence[RecordedSpan]) -> Mapping[SpanKey, int]:
        """Return the number of characters at which spans cut the texts of their attributes, for those that do."""


class NothingKnown:
    """Explains nothing."""

    def why_untold(self, _recorded: RecordedSpan) -> tuple[Reason, str] | None:
        """Return `None`."""
        return None

    def why_lost(self, _recorded: RecordedSpan) -> str | None:
        """Return `None`."""
        return None

    def providers(self, _spans: Sequence[RecordedSpan]) -> Mapping[str, Sequence[RecordedSpan]]:
        """Return nothing."""
        return {}

    def goes_nowhere(self, _recorded: RecordedSpan) -> bool:
        """Return `False`."""
        return False

    def masks_of(self, _recorded: RecordedSpan) -> Sequence[str]:
        """Return none."""
        return ()

    def leaves_out(self, _recorded: RecordedSpan) -> bool:
        """Return that this is not known."""
        return False

    def length_limits(self, _spans: Sequence[RecordedSpan]) -> Mapping[SpanKey, int]:
        """Return none."""
        return {}


def why_not_exported(recorded: RecordedSpan, explain: Explains) -> tuple[Reason, str]:
    """Return why a span was recorded and not exported."""
    if not recorded.is_recording:
        return "sampled_out", "sampled out"
    if recorded.end_ns is None:
        return "unended", f"it never ended{_REQUEST_HINT if _REQUEST.match(recorded.name) else ''}"
    if not recorded.queued and recorded.rejection is not None:
        return recorded.rejection.reason, recorded.rejection.detail
    context = recorded.span.get_span_context()
    if context is not None and not context.trace_flags.sampled:
        return "sampled_out", "sampled out"
    if not recorded.queued:
        return explain.why_untold(recorded) or ("dropped", _UNTOLD)
    return "dropped", SAME_ID if recorded.repeats_id else _why_lost(recorded, explain)


def why_not_accepted(recorded: RecordedSpan, refusals: Sequence[str], explain: Explains) -> str:
    """Return why a span was not delivered while exports really leave the process; `refusals` are what they met."""
    if not recorded.exports:
        return _why_lost(recorded, explain)
    met = f" ({', '.join(refusals)})" if refusals else ""
    return f"{recorded.exports[-1][0]} did not accept it{met}"


def _why_lost(recorded: RecordedSpan, explain: Explains) -> str:
    return recorded.dropped or explain.why_lost(recorded) or _LOST
