"""The exporter that never waits for the network: it encodes, buffers and returns."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Mapping, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pytest_langfuse.tracing.delivery import span_encoder
from pytest_langfuse.tracing.delivery.buffer import MemoryBuffer
from pytest_langfuse.tracing.delivery.export_body import encode
from pytest_langfuse.tracing.delivery.intake import QueuedSpans
from pytest_langfuse.tracing.delivery.owner import Owner
from pytest_langfuse.tracing.delivery.sender import Sender
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.langfuse_internals import SDK_VERSION

#: langfuse/_client/span_processor.py (4.5.1, 5.0.4).
TRACES_PATH = "/api/public/otel/v1/traces"


def langfuse_headers(public_key: str, secret_key: str, additional: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the headers that Langfuse expects with each export; the SDK adds none to an exporter that it is given."""
    token = base64.b64encode(f"{public_key}:{secret_key}".encode()).decode("ascii")
    return {
        "Authorization": f"Basic {token}",
        "x-langfuse-sdk-name": "python",
        "x-langfuse-sdk-version": SDK_VERSION,
        "x-langfuse-public-key": public_key,
        "x-langfuse-ingestion-version": "4",
        **(additional or {}),
    }


class StoreForwardExporter(SpanExporter):
    """Encodes spans into `buffer`, from where the thread of `sender` sends them.

    OpenTelemetry's processor calls `export` in the thread in which it also empties its bounded queue, and forgets what
    does not fit meanwhile: an exporter that waits for a slow server loses spans there, unseen.
    """

    #: For test harnesses: a success of `export` is not a delivery yet.
    delivers_later = True

    def __init__(self, *, buffer: MemoryBuffer, sender: Sender, ledger: SpanLedger) -> None:
        self._buffer, self._sender, self._ledger = buffer, sender, ledger
        sinks = [route.sink for route in sender.routes]
        self._largest = min(sink.largest_body for sink in sinks)
        self._by_trace = any(sink.by_trace for sink in sinks)
        #: From where spans come.
        self.queued: QueuedSpans | None = None
        #: Spans that reached this exporter.
        self.received = 0
        self._shut_down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Accept the spans. Success means that they are accounted for from here on, not that they were sent."""
        self.received += len(spans)
        if self._shut_down:
            self._drop("after_shutdown", len(spans))
            return SpanExportResult.FAILURE
        bodies, bad = encode(spans, largest=self._largest, by_trace=self._by_trace)
        self._drop("encode_failed", bad)
        for body in bodies:
            self._buffer.put(body, moved=functools.partial(self._handed_over, body.spans))
        self._sender.notify()
        return SpanExportResult.SUCCESS

    def _drop(self, reason: str, spans: int) -> None:
        with self._ledger.lock:
            self._ledger.dropped(reason, spans)
            self._handed_over(spans)

    def _handed_over(self, spans: int) -> None:
        if self.queued is not None:
            self.queued.handed_over(spans)

    @staticmethod
    def as_sent(span: ReadableSpan) -> ReadableSpan:
        """Return a span as Langfuse gets it. For test harnesses."""
        return span_encoder.as_sent(span)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until all accepted spans were sent, unless the breaker is open."""
        return self._sender.flush(timeout_millis / 1000)

    def settle(self, timeout: float) -> None:
        """Wait, for at most so many seconds, until what was taken over was sent or tried at least once.

        For test harnesses: unlike `force_flush`, it does not wait for an outage to end.
        """
        self._sender.settle(timeout)

    def discard(self, belongs: Callable[[Owner | None], bool] = lambda _: True) -> None:
        """Drop what was taken over of owners that `belongs` and is not sent yet, counted as "discarded".

        For test harnesses: what one test made must not be sent in the next, nor after the last.
        """
        self._sender.discard(belongs)

    def shutdown(self) -> None:
        """Accept no more spans."""
        self._shut_down = True
