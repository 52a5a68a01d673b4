"""The examples of the page for Prometheus and OTLP run as they are, and show what the table says."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from pytest_langfuse.standin.http.free_ports import free_port
from tests.helpers.loopback_langfuse import Collector, Reply
from tests.helpers.paths import DOCS

PAGE = (DOCS / "tracing.md").read_text()
METRICS = PAGE.partition("\n### Metrics\n")[2].partition("\n## ")[0]

#: After the example: two spans that Langfuse takes and one that it refuses.
WORK = """
from pytest_langfuse.tracing import get_langfuse_client, tracing_health
client = get_langfuse_client()
for name in ("one", "two", "refused"):
    client.start_observation(name=name).end()
    client.flush()
assert (tracing_health().exported, dict(tracing_health().dropped)) == (2, {"http_400": 1})
"""


def example(word: str) -> str:
    """Return the example of the page that has this word."""
    (found,) = [block for block in re.findall(r"```python\n(.*?)```", METRICS, flags=re.DOTALL) if word in block]
    return found


def run(code: str, collector: Collector, tmp_path: Path, **variables: str) -> str:
    """Run it in a process that sends to `collector`, and return what it printed."""
    script = tmp_path / "service.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={
            "LANGFUSE_PUBLIC_KEY": "pk-lf-test",
            "LANGFUSE_SECRET_KEY": "sk-lf-test",
            "LANGFUSE_BASE_URL": collector.url,
            "PYTHONPATH": str(DOCS.parent),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def choosy(collector):
    """A Langfuse that refuses one of the three."""
    collector.reply = lambda seen: Reply(400) if "refused" in seen.spans else Reply()
    return collector


@pytest.mark.slow
def test_prometheus(choosy, tmp_path):
    code = example("PrometheusMetricReader")
    assert "port=9464" in code
    code = code.replace("start_http_server(port=9464", "server, _ = start_http_server(port=0")
    scrape = """
import urllib.request
print(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics").read().decode())
"""
    answer = run(code + WORK + scrape, choosy, tmp_path)
    values = {}
    for name, labels, value in re.findall(r"^(\w+)\{(.*?)\} (\S+)$", answer, flags=re.MULTILINE):
        reason = re.search(r'error_type="(\w+)"', labels)
        values[name, reason[1] if reason else None] = float(value)

    named = set(re.findall(r"`(otel_\w+|langfuse_\w+)`", METRICS.partition("\n\n```python")[0]))
    # It has a value for each reason by which a trace was kept or dropped, and nothing is sampled here.
    assert named - {"langfuse_traces_sampled_total"} <= {name for name, _ in values}
    assert values["otel_sdk_exporter_span_exported_total", None] == 2
    assert values["otel_sdk_exporter_span_exported_total", "http_400"] == 1
    assert values["otel_sdk_exporter_span_inflight", None] == 0
    assert values["langfuse_spans_ended_total", None] == 3
    assert values["langfuse_spans_unaccounted", None] == 0
    assert values["langfuse_healthy", None] == 0
    assert values["langfuse_breaker_state", None] == 0
    assert 0 <= values["langfuse_last_success_age_seconds", None] < 60


class Receiver(BaseHTTPRequestHandler):
    """Takes OTLP metrics."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        self.server.received.append(ExportMetricsServiceRequest.FromString(body))
        answer = ExportMetricsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


@pytest.mark.slow
def test_otlp(choosy, tmp_path):
    server = HTTPServer(("127.0.0.1", free_port()), Receiver)
    server.received = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        run(
            example("OTLPMetricExporter") + WORK + "reader.force_flush()\n",
            choosy,
            tmp_path,
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"http://127.0.0.1:{server.server_port}/v1/metrics",
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    values = {}
    for resource in server.received[0].resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in (metric.sum or metric.gauge).data_points or metric.gauge.data_points:
                    reasons = [a.value.string_value for a in point.attributes if a.key == "error.type"]
                    values[metric.name, *reasons] = point.as_int or point.as_double

    assert values["otel.sdk.exporter.span.exported",] == 2
    assert values["otel.sdk.exporter.span.exported", "http_400"] == 1
    assert values["langfuse.spans.ended",] == 3
    assert values["langfuse.spans.unaccounted",] == 0
    assert values["langfuse.healthy",] == 0
