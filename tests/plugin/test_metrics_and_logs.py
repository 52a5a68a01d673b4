"""Metrics and logs that the application exports beside its spans: those of captured tests are sent to nobody."""

import pytest

from tests.helpers.loopback_langfuse import Collector
from tests.plugin.sealed.folder_of_suite import folder_of_suite, real

__all__ = ["real"]

APP = """
    import os

    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
    import logging

    in_memory = InMemoryMetricReader()
    exporter = OTLPMetricExporter(endpoint=os.environ["LANGFUSE_BASE_URL"] + "/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3e6)
    meters = MeterProvider(metric_readers=[reader, in_memory])
    counter = meters.get_meter("app").create_counter("questions")
    logs = LoggerProvider()
    for processor in (BatchLogRecordProcessor, SimpleLogRecordProcessor):
        logs.add_log_record_processor(
            processor(OTLPLogExporter(endpoint=f"{os.environ['LANGFUSE_BASE_URL']}/{processor.__name__}"))
        )
    log = logging.Logger("app")
    log.addHandler(LoggingHandler(logger_provider=logs))


    def flushed():
        return logs.force_flush() and meters.force_flush()
"""

SUITE = """
    from observed import counter, flushed, in_memory, log, meters

    def test_free_before(request):
        log.error("one")

    def test_captured(langfuse_spans):
        counter.add(1)
        log.error("captured")
        assert flushed()
        log.error("captured")
        assert in_memory.get_metrics_data().resource_metrics

    def test_free():
        log.error("two")
        assert flushed()
"""


@pytest.fixture
def folder(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: Collector) -> pytest.Pytester:
    return folder_of_suite(pytester, monkeypatch, real, observed=APP)


def sent(real: Collector) -> dict[str, list[str]]:
    """The log records that arrived, in their order, by path."""
    found: dict[str, list[str]] = {}
    for request in real.requests:
        words = [word for word in ("one", "two", "captured") if word.encode() in request.body]
        found.setdefault(request.path, []).extend(words)
    return found


@pytest.mark.slow
def test_by_fixture_the_others_arrive(folder, real):
    folder.makepyfile(SUITE)
    folder.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=3)
    # The sum of the metrics is nobody's: it is sent by whoever flushes, and at exit.
    assert sent(real) == {
        "/BatchLogRecordProcessor": ["one", "two"],
        "/SimpleLogRecordProcessor": ["one", "two"],
        "/v1/metrics": [],
    }


@pytest.mark.slow
def test_by_option_nothing_arrives(folder, real):
    folder.makepyfile(SUITE)
    folder.runpytest_subprocess("-p", "no:randomly", "--langfuse-capture").assert_outcomes(passed=3)
    assert real.requests == []
