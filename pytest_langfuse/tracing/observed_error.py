"""Errors on observations: their message and traceback pass through the application's `mask`, as its input does."""

from __future__ import annotations

import traceback
from typing import Any

from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE
from opentelemetry.trace import Span

from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.langfuse_internals import mask_of

#: What the SDK shows where the mask has failed (span.py, langfuse 4.5 and 5.0).
MASK_FAILED = "<fully masked due to failed mask function>"


def masked(text: str, observation: object) -> str:
    """Return the text as the mask of the observation's client has it; it never raises."""
    mask = mask_of(observation)
    if mask is None:
        return text
    try:
        found: Any = mask(data=text)
        return found if isinstance(found, str) else str(found)
    except Exception as error:  # noqa: BLE001 - the application's mask
        # Without its text, which may have what was to be masked.
        failures.report("masking an error", RuntimeError(f"the mask raised {type(error).__name__}"))
        return MASK_FAILED


def record_exception(span: Span, error: BaseException, observation: object) -> None:
    """Add an error to the span of an observation as OpenTelemetry does, masked."""
    if mask_of(observation) is None:
        span.record_exception(error)
        return
    trace = "".join(traceback.format_exception(error))
    attributes = {
        EXCEPTION_MESSAGE: masked(str(error), observation),
        EXCEPTION_STACKTRACE: masked(trace, observation),
    }
    span.record_exception(error, attributes)
