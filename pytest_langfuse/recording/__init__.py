"""What a test recorded, as Langfuse would show it.

Everything here is loaded when it is first used, so that a run in which nothing is captured imports neither `langfuse`
nor `opentelemetry`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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

_HOMES = {
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
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
