"""The exporter to Langfuse's OTLP endpoint, with an account of what it did."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from pytest_langfuse.tracing._sdk import SDK_VERSION
from pytest_langfuse.tracing.ledger import Ledger

#: langfuse/_client/span_processor.py (4.5.1, 5.0.4).
TRACES_PATH = "/api/public/otel/v1/traces"


def headers(public_key: str, secret_key: str, additional: Mapping[str, str] | None = None) -> dict[str, str]:
    """What Langfuse wants to see with each export; a client that is given an exporter makes none itself."""
    token = base64.b64encode(f"{public_key}:{secret_key}".encode()).decode("ascii")
    return {
        "Authorization": f"Basic {token}",
        "x-langfuse-sdk-name": "python",
        "x-langfuse-sdk-version": SDK_VERSION,
        "x-langfuse-public-key": public_key,
        "x-langfuse-ingestion-version": "4",
        **(additional or {}),
    }


class LedgerExporter(OTLPSpanExporter):
    """OpenTelemetry's exporter, which counts what was accepted and what was not."""

    def __init__(self, *, base_url: str, sent_headers: Mapping[str, str], timeout: float, ledger: Ledger) -> None:
        super().__init__(
            endpoint=base_url + TRACES_PATH,
            headers=dict(sent_headers),
            timeout=timeout,
            compression=Compression.Gzip,
        )
        self.ledger = ledger

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export, and count the outcome."""
        try:
            result = super().export(spans)
        except Exception:
            self.ledger.dropped("export_failed", len(spans))
            raise
        if result is SpanExportResult.SUCCESS:
            self.ledger.exported(len(spans))
        else:
            self.ledger.dropped("export_failed", len(spans))
        return result
