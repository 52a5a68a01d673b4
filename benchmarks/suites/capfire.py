"""Logfire's own fixture."""

import logfire
from logfire.testing import CaptureLogfire
from work import each_test


@each_test
def test_spans(number: int, capfire: CaptureLogfire) -> None:
    """Five spans, counted."""
    span = logfire.span
    with span("answer"), span("plan"), span("search"), span("rank"), span("llm"):
        pass
    # Each span is exported twice: when it starts, and when it ends.
    assert len(capfire.exporter.exported_spans) == 10
