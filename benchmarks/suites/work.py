"""The observations of one test, and how many tests there are."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from langfuse import Langfuse
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

TESTS = int(os.environ["BENCHMARK_TESTS"])
each_test = pytest.mark.parametrize("number", range(TESTS))


class NullExporter(SpanExporter):
    """Takes every span and forgets it."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Forget them."""
        return SpanExportResult.SUCCESS


def five_observations(langfuse: Langfuse) -> None:
    """Five nested observations."""
    start = langfuse.start_as_current_observation
    with start(name="answer"), start(name="plan"), start(name="search", as_type="retriever"), start(name="rank"):  # noqa: SIM117
        with start(name="llm", as_type="generation", model="gpt-4o"):
            pass


def five_spans(tracer: Tracer) -> None:
    """Five nested spans of plain OpenTelemetry."""
    start = tracer.start_as_current_span
    with start("answer"), start("plan"), start("search"), start("rank"), start("llm"):
        pass
