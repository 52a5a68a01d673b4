"""Logfire, sent to nowhere: what five of its spans cost."""

import logfire
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from work import NullExporter, each_test

logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[BatchSpanProcessor(NullExporter())])


@each_test
def test_spans(number: int) -> None:
    """Five spans."""
    span = logfire.span
    with span("answer"), span("plan"), span("search"), span("rank"), span("llm"):
        pass
