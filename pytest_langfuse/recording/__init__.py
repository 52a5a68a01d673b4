"""Record what a test sends to Langfuse, and read it as Langfuse would show it.

Everything here is loaded when it is first used, so that a run in which nothing is captured imports neither `langfuse`
nor `opentelemetry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.lazy import lazy_exports

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.otlp.decode import decode_otlp, decode_records
    from pytest_langfuse.recording.otlp.decode_error import DecodeError
    from pytest_langfuse.recording.server_view import observe
    from pytest_langfuse.recording.span_record import SpanRecord, from_readable_span
    from pytest_langfuse.recording.trace import Trace, build_traces, link

__all__ = [
    "DecodeError",
    "Observation",
    "SpanRecord",
    "Trace",
    "build_traces",
    "decode_otlp",
    "decode_records",
    "from_readable_span",
    "link",
    "observe",
]

# Type checkers read the imports above, and so report a name that is not exported.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "DecodeError": "pytest_langfuse.recording.otlp.decode_error",
            "Observation": "pytest_langfuse.recording.observation",
            "SpanRecord": "pytest_langfuse.recording.span_record",
            "Trace": "pytest_langfuse.recording.trace",
            "build_traces": "pytest_langfuse.recording.trace",
            "decode_otlp": "pytest_langfuse.recording.otlp.decode",
            "decode_records": "pytest_langfuse.recording.otlp.decode",
            "from_readable_span": "pytest_langfuse.recording.span_record",
            "link": "pytest_langfuse.recording.trace",
            "observe": "pytest_langfuse.recording.server_view",
        },
    )
